//! SPDY/3.1, as much of it as port forwarding speaks: streams with headers, data, pings.
//!
//! Kubernetes' clients tunnel it through a WebSocket, as old as it is.

mod frame;
mod headers;

pub(super) use frame::{Frame, FrameReader, SpdyError};
pub(super) use headers::{HeaderReader, HeaderWriter};
