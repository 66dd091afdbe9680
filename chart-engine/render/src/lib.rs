//! Charts and values rendered into manifests, hooks and notes.
