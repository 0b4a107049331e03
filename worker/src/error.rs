//! What stops the process.

use std::io;
use std::path::PathBuf;

use protocol::job::Reason;
use protocol::quic::LinkError;
use protocol::quic::key_file::KeyFileError;
use protocol::sign::SignError;
use protocol::wire::message::DataSetsError;

use crate::config::ConfigError;
use crate::core::RestoreError;
use crate::node::data::LoadError;
use crate::node::store::StoreError;

/// What stops a worker.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory.
    #[error("cannot use the directory {}: {source}", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process works in the directory.
    #[error("another fedroll-worker is running in {}", .0.display())]
    Locked(PathBuf),
    /// The identity.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The key for statements to a registry of stakes.
    #[error("{}: {source}", .path.display())]
    Signer {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        source: SignError,
    },
    /// The facts.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The facts contradict each other.
    #[error("the log contradicts itself: {0}")]
    Restore(#[from] RestoreError),
    /// The examples.
    #[error(transparent)]
    Data(#[from] LoadError),
    /// The tags.
    #[error(transparent)]
    Tags(#[from] DataSetsError),
    /// The network.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The worker does not work on these terms.
    #[error("{0}")]
    Refused(Reason),
    /// The system gives no randomness.
    #[error("the system gives no randomness: {0}")]
    Randomness(String),
    /// The runtime could not be built, or signals cannot be heard.
    #[error("the system refused: {0}")]
    System(io::Error),
    /// The answer could not be written.
    #[error("cannot write the answer: {0}")]
    Output(io::Error),
    /// A log filter that makes no sense.
    #[error("--log: {0}")]
    LogFilter(String),
}

impl NodeError {
    /// Whether the reader of the answer has gone away.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
