//! Resource quantities: `250m`, `64Mi`, `1e3`.
