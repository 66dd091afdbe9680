//! Provenance files of charts: made and verified with OpenPGP keys.
