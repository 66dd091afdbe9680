//! Charts: metadata, files, loading from a folder or an archive, dependencies.
