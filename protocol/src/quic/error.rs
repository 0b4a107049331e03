//! What can go wrong on a link, as data.

use std::io;
use std::net::SocketAddr;

use crate::ids::CoordinatorId;
use crate::job::Reason;
use crate::limits::WIRE_VERSION;
use crate::wire::error::{Verdict, WireError};

/// Why a program closes a connection: the application error code of QUIC's CONNECTION_CLOSE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// Nothing more to say.
    Done,
    /// The other side broke the protocol.
    Misbehaved,
    /// The worker is not let in.
    NotAllowed,
    /// The same key has connected again.
    Replaced,
    /// The program is about to stop; its next start will be there again.
    ShuttingDown,
    /// The closing side has a fault of its own.
    Internal,
    /// The other side took too long.
    TooSlow,
    /// A code from a program that knows more of them.
    Unknown(u64),
}

impl CloseCode {
    pub(super) const fn from_wire(code: u64) -> Self {
        match code {
            0 => Self::Done,
            1 => Self::Misbehaved,
            2 => Self::NotAllowed,
            3 => Self::Replaced,
            4 => Self::ShuttingDown,
            5 => Self::Internal,
            6 => Self::TooSlow,
            other => Self::Unknown(other),
        }
    }

    pub(super) fn to_wire(self) -> quinn::VarInt {
        let code = match self {
            Self::Done => 0,
            Self::Misbehaved => 1,
            Self::NotAllowed => 2,
            Self::Replaced => 3,
            Self::ShuttingDown => 4,
            Self::Internal => 5,
            Self::TooSlow => 6,
            Self::Unknown(other) => other,
        };
        quinn::VarInt::from_u64(code).unwrap_or(quinn::VarInt::MAX)
    }
}

/// Why something on a link did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The bytes were not what the protocol says.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The two programs speak different versions of the protocol.
    #[error(
        "the coordinator speaks another protocol version (this program speaks {WIRE_VERSION}): update the older one"
    )]
    OtherVersion,
    /// Somebody else answers at the coordinator's address.
    #[error("the program at this address is not coordinator {pinned}, it is {}", .presented.map_or("without a usable key".to_owned(), |id| id.to_string()))]
    WrongCoordinator {
        /// The key the worker was told to expect.
        pinned: CoordinatorId,
        /// The key that was shown, if it was one.
        presented: Option<CoordinatorId>,
    },
    /// The coordinator takes no more connections.
    #[error("the coordinator has no room for another connection")]
    Full,
    /// The host name has no address.
    #[error("cannot find '{host}': {source}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The UDP socket cannot be had: a busy port, no permission.
    #[error("cannot use UDP address {address}: {source}")]
    Socket {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The other side closed the connection.
    #[error("the other side closed the connection ({code:?}): {reason}")]
    Closed {
        /// The kind of reason.
        code: CloseCode,
        /// The reason in words; empty if none was given.
        reason: Reason,
    },
    /// This side closed the connection.
    #[error("the connection was closed by this side")]
    ClosedHere,
    /// The connection is gone: no answer, a restart of the other side.
    #[error("the connection is lost: {0}")]
    Lost(String),
    /// The other side broke QUIC or TLS.
    #[error("the other side broke the transport protocol: {0}")]
    Transport(String),
    /// One step took longer than it may while the connection itself lived.
    #[error("the other side stalled: {what} took more than {limit_ms} ms")]
    Stalled {
        /// The step.
        what: &'static str,
        /// Milliseconds allowed.
        limit_ms: u64,
    },
    /// The other side gave up one stream.
    #[error("the other side abandoned the stream (code {code})")]
    Abandoned {
        /// Its application code.
        code: u64,
    },
    /// A stream ended too early, or went on after its end.
    #[error("a transfer of {want} bytes ended after {got}")]
    Length {
        /// Bytes announced.
        want: u64,
        /// Bytes seen; at least that many.
        got: u64,
    },
    /// The coordinator refused a transfer.
    #[error("refused: {0}")]
    Refused(Reason),
    /// A blob larger than this side takes; nothing of it was read.
    #[error("a blob of {got} bytes is over the limit of {limit}")]
    TooLarge {
        /// Bytes announced.
        got: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The bytes that arrived are not those that were announced; they were thrown away.
    #[error("what arrived has digest {got}, not {want}")]
    DigestMismatch {
        /// Announced.
        want: crate::hash::Digest,
        /// Computed.
        got: crate::hash::Digest,
    },
    /// The content was refused while it arrived; it was thrown away.
    #[error("the content is not acceptable: {0}")]
    Rejected(String),
    /// The same partial file is being written by another transfer.
    #[error("this blob is already being received")]
    Busy,
    /// The other side opened a stream that the protocol does not foresee, or in the wrong order.
    #[error("unexpected {0}")]
    Unexpected(&'static str),
    /// A file could not be read or written (the disk is full, for example).
    #[error("{what}: {source}")]
    File {
        /// What was attempted, with the path.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The TLS or QUIC library refused the configuration.
    #[error("the link cannot be configured: {0}")]
    Config(String),
}

impl LinkError {
    /// What to do about it.
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Wire(error) => error.verdict(),
            Self::OtherVersion | Self::WrongCoordinator { .. } | Self::Socket { .. } | Self::Config(_) => {
                Verdict::Stop
            }
            // Another process runs with the same key: each would throw the other out for ever.
            Self::Closed { code: CloseCode::Replaced, .. } => Verdict::Stop,
            Self::Transport(_)
            | Self::Length { .. }
            | Self::TooLarge { .. }
            | Self::DigestMismatch { .. }
            | Self::Rejected(_)
            | Self::Unexpected(_) => Verdict::Misbehaved,
            Self::Full
            | Self::Resolve { .. }
            | Self::Closed { .. }
            | Self::ClosedHere
            | Self::Lost(_)
            | Self::Stalled { .. }
            | Self::Abandoned { .. }
            | Self::Refused(_)
            | Self::Busy
            | Self::File { .. } => Verdict::Retry,
        }
    }
}

impl From<quinn::ConnectionError> for LinkError {
    fn from(error: quinn::ConnectionError) -> Self {
        use quinn::ConnectionError as E;
        // RFC 7301, section 3.2: the alert of a server that knows none of the offered protocol names.
        const NO_APPLICATION_PROTOCOL: u8 = 120;
        match error {
            E::ApplicationClosed(close) => Self::Closed {
                code: CloseCode::from_wire(close.error_code.into_inner()),
                reason: String::from_utf8_lossy(&close.reason).into_owned().into(),
            },
            E::ConnectionClosed(close)
                if close.error_code == quinn::TransportErrorCode::crypto(NO_APPLICATION_PROTOCOL) =>
            {
                Self::OtherVersion
            }
            E::ConnectionClosed(close)
                if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED =>
            {
                Self::Full
            }
            E::ConnectionClosed(close) => Self::Lost(close.to_string()),
            E::VersionMismatch => Self::OtherVersion,
            E::TransportError(error) => Self::Transport(error.to_string()),
            E::LocallyClosed => Self::ClosedHere,
            E::Reset | E::TimedOut | E::CidsExhausted => Self::Lost(error.to_string()),
        }
    }
}

impl From<quinn::ReadError> for LinkError {
    fn from(error: quinn::ReadError) -> Self {
        match error {
            quinn::ReadError::Reset(code) => Self::Abandoned { code: code.into_inner() },
            quinn::ReadError::ConnectionLost(error) => error.into(),
            other => Self::Lost(other.to_string()),
        }
    }
}

impl From<quinn::WriteError> for LinkError {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::Stopped(code) => Self::Abandoned { code: code.into_inner() },
            quinn::WriteError::ConnectionLost(error) => error.into(),
            other => Self::Lost(other.to_string()),
        }
    }
}
