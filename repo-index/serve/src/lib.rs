//! Hosting charts and images.
