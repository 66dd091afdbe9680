//! Pod networks, service balancing and cluster DNS of a node.
