//! The node agent: pods, containers, images and logs.
