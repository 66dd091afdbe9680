//! The API over HTTPS, as its clients use it: plain HTTP, `kubectl` and `helm`.

mod helm;
mod http;
mod kubectl;
mod program;
mod server;
mod streams;
