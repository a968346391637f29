//! What a run leaves, and how it is told.

pub mod spec;
pub mod summary;
