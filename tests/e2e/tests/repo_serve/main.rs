//! Real clients on `tug repo serve`, and what is left after it was killed.

mod browser;
mod docker;
mod helm;
mod host;
mod killed;
mod museum;
mod skopeo;
mod tug;
