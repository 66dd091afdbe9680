//! The node agent: it runs the pods of one machine in containers of its own making.
//!
//! Start with [`image::ImageStore`] for images.

pub mod image;
