//! The link between workers and a coordinator: QUIC with TLS 1.3, a node's ed25519 key as its TLS identity.
//!
//! A worker dials out and keeps one connection. Its first stream is the control stream; every transfer has a stream of
//! its own, opened by the worker, with a typed first frame (`docs/PROTOCOL.md`). This room is the only door to tokio
//! and quinn in this crate, and holds no decision: who is let in and what is paid is the application's.

mod chunks;
pub mod endpoint;
pub mod error;
mod file;
pub mod identity;
pub mod key_file;
pub mod limits;
pub mod link;
pub mod peer;
mod reset;
pub mod stream;
pub mod transfer;

#[cfg(test)]
mod tests;

pub use endpoint::{Client, Handshake, Server};
pub use error::{CloseCode, LinkError};
pub use limits::{ClientLimits, LinkLimits, ServerLimits};
pub use link::{Fetched, Link};
pub use peer::{IncomingTransfer, LinkStats, Peer};
pub use stream::{ControlReceiver, ControlSender};
pub use transfer::{Blob, FetchRequest, Inspect, Received, Spool, Transfer, UploadRequest};
