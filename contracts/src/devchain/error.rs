//! What stops the development chain, and what it answers to a request it cannot serve.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the development chain did not start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevChainError {
    /// An address that others could reach: everyone who reaches it owns all of its money.
    #[error("the development chain listens on loopback only, not on {addr}")]
    NotLoopback {
        /// What was asked for.
        addr: SocketAddr,
    },
    /// Another process listens there.
    #[error("cannot listen on {addr}: {source} (is something else running there? choose another port)")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Another process works on the directory.
    #[error("{} is in use by another development chain", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The journal is not ours, or damaged before its last line.
    #[error("{} line {line} cannot be read: {detail}", path.display())]
    Journal {
        /// The journal.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        detail: String,
    },
    /// Running the journal again gave another state: it was written by another version.
    #[error(
        "{} line {line}: running it again gives another state ({got}, not {want}); it was written by another version \
         of fedroll",
        path.display()
    )]
    Replay {
        /// The journal.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The digest recorded.
        want: String,
        /// The digest now.
        got: String,
    },
    /// The HTTP server failed.
    #[error("serving JSON-RPC failed: {0}")]
    Serve(io::Error),
}

/// A JSON-RPC error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: i64,
    pub(super) message: String,
    pub(super) data: Option<String>,
}

impl Refusal {
    /// Something about the transaction or the state (EIP-1474's server error).
    pub(super) fn server(message: impl Into<String>) -> Self {
        Self { code: -32000, message: message.into(), data: None }
    }

    /// Parameters that do not parse.
    pub(super) fn params(message: impl Into<String>) -> Self {
        Self { code: -32602, message: message.into(), data: None }
    }

    /// More than one answer may hold.
    pub(super) fn limit(message: impl Into<String>) -> Self {
        Self { code: -32005, message: message.into(), data: None }
    }

    /// A call that reverted, as geth says it.
    pub(super) fn reverted(output: &[u8]) -> Self {
        let text = alloy::sol_types::decode_revert_reason(output);
        let message =
            text.map_or("execution reverted".to_owned(), |text| format!("execution reverted: {text}"));
        Self { code: 3, message, data: Some(alloy::hex::encode_prefixed(output)) }
    }
}
