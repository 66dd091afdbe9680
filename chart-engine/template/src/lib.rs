//! Go templates with the functions that charts use.
