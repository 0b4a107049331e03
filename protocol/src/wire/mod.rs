//! The wire.

pub mod address;
pub mod codec;
pub mod error;
pub mod frame;
pub mod message;
