//! Logs and commands, on a node made up for the test.
