//! The node agent: it runs the pods of one machine in containers of its own making.
//!
//! Start with [`image::ImageStore`] for images and [`runtime::Runtime`] for containers.

mod beneath;
pub mod image;
pub mod runtime;

pub use runtime::shim_main;
