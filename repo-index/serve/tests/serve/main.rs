//! The server over HTTP, each promise by itself.

mod access;
mod discovery;
mod fixture;
mod index;
mod management;
mod museum;
mod pages;
mod pull;
mod push;
mod requirements;
mod stopping;
