//! Fetching, pushing and verifying charts.
