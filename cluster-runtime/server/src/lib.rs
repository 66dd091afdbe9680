//! A node of the bundled cluster: certificates, wiring, start and stop.
