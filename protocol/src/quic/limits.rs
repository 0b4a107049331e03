//! The link's own bounds, with their units: what one peer, and all of them together, can cost.
//!
//! | what | bound |
//! | --- | --- |
//! | an idle peer's unread bytes | `idle_window_bytes` |
//! | a peer's unread bytes while it uploads | `idle_window_bytes` + its declared size, at most `window_bytes` each |
//! | all uploads | `uploads` × (`window_bytes` + two chunks) |
//! | all fetches of files | `fetches` × `send_window_bytes`; blobs served from memory are shared |

use std::time::Duration;

use quinn::{IdleTimeout, TransportConfig, VarInt};

use super::error::LinkError;

/// Milliseconds a handshake may take.
pub(super) const HANDSHAKE_MS: u64 = 10_000;
/// Milliseconds until the first frame of a stream must be there.
pub(super) const FIRST_FRAME_MS: u64 = 10_000;
/// Milliseconds to wait for an answer that depends on others: a turn to upload, a large file flushed to disk.
pub(super) const ANSWER_MS: u64 = 30 * 60_000;
/// Milliseconds to wait until the peer has heard the last words.
pub(super) const FAREWELL_MS: u64 = 3_000;
/// Milliseconds between the tries of a host's addresses.
pub(super) const STAGGER_MS: u64 = 250;
/// Addresses of one host name that are tried.
pub(super) const ADDRESSES_MAX: usize = 8;
/// Bytes of a transfer that are handled at once.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;
/// Bytes of a frame on a transfer stream: requests and answers, a reason of 300 characters at most.
pub(super) const TRANSFER_FRAME_BYTES_MAX: u32 = 4 * 1024;

/// What both ends of a link bound.
#[derive(Debug, Clone, Copy)]
pub struct LinkLimits {
    /// Milliseconds of silence after which a connection counts as lost.
    pub idle_timeout_ms: u64,
    /// Bytes a peer may send ahead of what has been read.
    pub window_bytes: u32,
    /// Bytes sent to a peer and not acknowledged.
    pub send_window_bytes: u32,
    /// Milliseconds one chunk of a transfer (256 KiB), or one control frame, may take: 30 s is 70 kbit/s.
    pub stall_ms: u64,
    /// Bytes the kernel is asked to buffer for the socket, each way.
    pub udp_buffer_bytes: u32,
}

impl Default for LinkLimits {
    fn default() -> Self {
        Self {
            idle_timeout_ms: 30_000,
            window_bytes: 4 * 1024 * 1024,
            send_window_bytes: 4 * 1024 * 1024,
            stall_ms: 30_000,
            udp_buffer_bytes: 4 * 1024 * 1024,
        }
    }
}

impl LinkLimits {
    /// For few peers on fast links: more memory each.
    pub fn fast() -> Self {
        Self { window_bytes: 16 * 1024 * 1024, send_window_bytes: 32 * 1024 * 1024, ..Self::default() }
    }

    pub(super) fn transport(&self) -> Result<TransportConfig, LinkError> {
        let idle = IdleTimeout::try_from(Duration::from_millis(self.idle_timeout_ms))
            .map_err(|_| LinkError::Config("the idle timeout is too long".to_owned()))?;
        let mut transport = TransportConfig::default();
        transport
            .max_idle_timeout(Some(idle))
            .stream_receive_window(VarInt::from_u32(self.window_bytes))
            .send_window(self.send_window_bytes.into())
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None);
        Ok(transport)
    }
}

/// What a coordinator bounds.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// Each connection.
    pub link: LinkLimits,
    /// Connections at once.
    pub connections: usize,
    /// Handshakes at once; as many more wait in the endpoint.
    pub handshakes: usize,
    /// Handshakes at once above which an address must prove that it can receive.
    pub retry_above: usize,
    /// Transfer streams a peer may have open at once.
    pub transfers_per_peer: u32,
    /// Bytes a peer may send ahead of what has been read while it has not been admitted to an upload.
    pub idle_window_bytes: u32,
    /// Uploads that run at once; the others wait for their turn in order.
    pub uploads: usize,
    /// Fetches that run at once; the others wait for their turn in order.
    pub fetches: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            link: LinkLimits::default(),
            connections: 10_000,
            handshakes: 512,
            retry_above: 128,
            transfers_per_peer: 4,
            idle_window_bytes: 64 * 1024,
            uploads: 16,
            fetches: 32,
        }
    }
}

/// What a worker bounds.
#[derive(Debug, Clone, Copy)]
pub struct ClientLimits {
    /// Each connection.
    pub link: LinkLimits,
    /// Milliseconds between keep-alives; NAT tables forget a UDP flow after 30 s or more.
    pub keep_alive_ms: u64,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self { link: LinkLimits::default(), keep_alive_ms: 10_000 }
    }
}
