//! Values of charts: YAML as Helm reads and writes it, --set, merging and coalescing.
