//! What can be wrong with bytes from another program, as data, and what the caller should do about it.

use super::address::AddressError;

/// What the receiver of an error should do: the only thing callers match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The peer broke the protocol: close the connection and hold it against the peer.
    Misbehaved,
    /// Nobody's fault (a lost link, a full queue): try again later, with back-off.
    Retry,
    /// Trying again cannot help until a person changes something: say what, and stop.
    Stop,
}

/// Bytes that are not what the protocol says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A frame header announces more than the receiver takes; nothing was buffered for it.
    #[error("a frame of {got} bytes is over the limit of {limit}")]
    FrameTooLarge {
        /// Bytes announced.
        got: u32,
        /// Bytes allowed.
        limit: u32,
    },
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame, after {held} of its bytes")]
    FrameTruncated {
        /// Bytes of the unfinished frame that had arrived, header included.
        held: usize,
    },
    /// Encoded bytes are longer than such a value may be; they were not parsed.
    #[error("a message of {got} bytes is over the limit of {limit}")]
    MessageTooLarge {
        /// Bytes given.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The bytes are no value of the expected type.
    #[error("malformed message: {0}")]
    Malformed(#[source] postcard::Error),
    /// A whole value, and then more.
    #[error("{count} bytes follow the end of the message")]
    TrailingBytes {
        /// Bytes left over.
        count: usize,
    },
    /// A value, but not in the one encoding it has.
    #[error("the message is not in canonical form (first at byte {at})")]
    NotCanonical {
        /// Offset of the first byte that differs from the canonical encoding.
        at: usize,
    },
    /// A coordinator's address that cannot be understood.
    #[error(transparent)]
    Address(#[from] AddressError),
}

impl WireError {
    /// What to do about it.
    pub const fn verdict(&self) -> Verdict {
        match self {
            // A link may be lost at any byte.
            Self::FrameTruncated { .. } => Verdict::Retry,
            Self::Address(_) => Verdict::Stop,
            Self::FrameTooLarge { .. }
            | Self::MessageTooLarge { .. }
            | Self::Malformed(_)
            | Self::TrailingBytes { .. }
            | Self::NotCanonical { .. } => Verdict::Misbehaved,
        }
    }
}
