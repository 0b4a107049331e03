//! What stops the process, in words that name the fix.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use contracts::error::ChainError;
use protocol::ids::BatchId;
use protocol::quic::error::LinkError;
use protocol::quic::key_file::KeyFileError;

/// What stops the process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// Another coordinator has the data directory.
    #[error("another coordinator is running on {}: stop it, or give this one its own --data-dir", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The disk refused. Nothing that was acknowledged is lost: start again once there is room.
    #[error("{what}: {source}")]
    Disk {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The disk takes no more facts.
    #[error(
        "cannot write the store of facts: {source} (nothing that was acknowledged is lost: start again once the disk \
         takes writes)"
    )]
    Full {
        /// What the system said.
        source: io::Error,
    },
    /// The store of facts cannot be used.
    #[error("the store of facts: {detail}")]
    Store {
        /// Why.
        detail: String,
    },
    /// A port could not be had.
    #[error(
        "cannot listen for {what} on {address}: {source} (is the port busy? choose another, or 0 for any)"
    )]
    Listen {
        /// HTTP or workers.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The worker link could not be opened.
    #[error("the worker link: {0}")]
    Link(#[from] LinkError),
    /// A key file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// A file with a key that cannot be one.
    #[error("{}: {detail}", file.display())]
    BadKey {
        /// The file.
        file: PathBuf,
        /// Why not.
        detail: String,
    },
    /// The base layer, in a way that waiting does not mend.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The rollup takes batches of another key.
    #[error(
        "the rollup takes batches from {proposer}; the operator key is {operator}: use that key, or deploy another rollup"
    )]
    NotProposer {
        /// Who may post.
        proposer: protocol::ids::Address,
        /// Whose key we have.
        operator: protocol::ids::Address,
    },
    /// Somebody else posted a batch under our number.
    #[error(
        "batch {number} on the base layer is not the one sealed here: another coordinator uses the same key, or this \
         data directory is an old copy"
    )]
    OtherBatch {
        /// The batch.
        number: BatchId,
    },
    /// A setting.
    #[error("{0}")]
    Config(String),
}
