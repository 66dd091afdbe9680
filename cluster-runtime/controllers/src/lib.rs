//! Controllers: deployments, replica sets, endpoints, garbage collection and the rest.
