//! The link's own bounds, with their units: what one peer, and all of them together, can cost.
//!
//! | what | bound |
//! | --- | --- |
//! | an idle peer's unread bytes | `idle_window_bytes` |
//! | a peer's unread bytes while it uploads | `idle_window_bytes` + its declared size, at most `window_bytes` |
//! | all uploads | `upload_windows_bytes`, and `uploads` × (the least window + two chunks) |
//! | all fetches of files | `fetches` × `send_window_bytes`; blobs served from memory are shared |

use std::time::Duration;

use quinn::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

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
pub(super) const CHUNK_BYTES: usize = 128 * 1024;
/// Bytes every running upload may send ahead, however many there are: 20 Mbit/s at a round trip of 100 ms.
pub(super) const UPLOAD_WINDOW_BYTES_LEAST: u64 = 256 * 1024;
/// Bytes of a frame on a transfer stream: requests and answers, a reason of 300 characters at most.
pub(super) const TRANSFER_FRAME_BYTES_MAX: u32 = 4 * 1024;

/// More than Ethernet's 1,500, for local networks with jumbo frames and for loopback: it costs 40 % less processor
/// time there. Not 9,000, with which bursts overflow the socket buffers that Linux grants by default, and QUIC, taking
/// the loss for a path that swallows large packets, falls back to 1,200.
const PAYLOAD_BYTES_MAX: u16 = 4_096;

/// What both ends of a link bound.
#[derive(Debug, Clone, Copy)]
pub struct LinkLimits {
    /// Milliseconds of silence after which a connection counts as lost.
    pub idle_timeout_ms: u64,
    /// Bytes a peer may send ahead of what has been read.
    pub window_bytes: u32,
    /// Bytes sent to a peer and not acknowledged.
    pub send_window_bytes: u32,
    /// Milliseconds one chunk of a transfer (128 KiB), or one control frame, may take: 30 s is 35 kbit/s.
    pub stall_ms: u64,
    /// Bytes the kernel is asked to buffer for the socket, each way.
    pub udp_buffer_bytes: u32,
    /// The largest UDP payload, if the path takes it: what fits no packet is found out by probing (RFC 8899).
    pub payload_bytes_max: u16,
}

impl Default for LinkLimits {
    fn default() -> Self {
        Self {
            idle_timeout_ms: 30_000,
            window_bytes: 4 * 1024 * 1024,
            send_window_bytes: 4 * 1024 * 1024,
            stall_ms: 30_000,
            udp_buffer_bytes: 4 * 1024 * 1024,
            payload_bytes_max: PAYLOAD_BYTES_MAX,
        }
    }
}

impl LinkLimits {
    /// For few peers on fast links: more memory each.
    pub fn fast() -> Self {
        Self { window_bytes: 16 * 1024 * 1024, send_window_bytes: 32 * 1024 * 1024, ..Self::default() }
    }

    /// Sets what a peer of this endpoint may send.
    pub(super) fn endpoint(&self, mut config: EndpointConfig) -> Result<EndpointConfig, LinkError> {
        let refused = |_| LinkError::Config("payload_bytes_max is below 1,200".to_owned());
        config.max_udp_payload_size(self.payload_bytes_max).map_err(refused)?;
        Ok(config)
    }

    pub(super) fn transport(&self) -> Result<TransportConfig, LinkError> {
        let idle = IdleTimeout::try_from(Duration::from_millis(self.idle_timeout_ms))
            .map_err(|_| LinkError::Config("the idle timeout is too long".to_owned()))?;
        let mut mtu = MtuDiscoveryConfig::default();
        mtu.upper_bound(self.payload_bytes_max);
        let mut transport = TransportConfig::default();
        transport
            .mtu_discovery_config(Some(mtu))
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
    /// Uploads that run at once; the others wait for their turn in order. Many, since home links are slow.
    pub uploads: usize,
    /// Bytes that all uploads together may send ahead of what has been read, but for the least that each needs: the
    /// first get much, so that few fast peers run at full speed.
    pub upload_windows_bytes: u64,
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
            uploads: 64,
            upload_windows_bytes: 24 * 1024 * 1024,
            fetches: 64,
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
