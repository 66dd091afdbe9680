//! The scheduler: filters that say why, scores, bindings.
