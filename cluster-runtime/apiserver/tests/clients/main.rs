//! The API over HTTPS, as its clients use it: plain HTTP, `kubectl` and `helm`.

#![expect(clippy::print_stdout, reason = "what clients said belongs to a failed test")]

mod helm;
mod http;
mod kubectl;
mod program;
mod server;
mod streams;
