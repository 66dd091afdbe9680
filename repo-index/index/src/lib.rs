//! The index of a chart repository, references to charts, and the resolving of dependencies; no IO.
