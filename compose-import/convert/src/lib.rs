//! Compose projects as Kubernetes objects and as charts.
