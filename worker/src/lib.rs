//! w
pub mod core;
