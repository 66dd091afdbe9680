//! The Kubernetes API over HTTPS, on the store.
