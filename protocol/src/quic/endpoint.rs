//! Endpoints: the coordinator's, which accepts, and the worker's, which dials out (so it works behind NAT).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Endpoint, EndpointConfig, TokioRuntime, TransportConfig, VarInt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::error::{CloseCode, LinkError};
use super::identity;
use super::limits::{ADDRESSES_MAX, ClientLimits, FAREWELL_MS, HANDSHAKE_MS, STAGGER_MS, ServerLimits};
use super::link::Link;
use super::peer::Peer;
use super::reset;
use crate::ids::CoordinatorId;
use crate::limits::WIRE_VERSION;
use crate::sign::NodeKey;
use crate::wire::address::CoordinatorAddress;
use crate::wire::error::Verdict;

/// TLS wants a server name; a raw public key has none, and it is not sent.
const SERVER_NAME: &str = "coordinator.fedroll";

/// A free port on every interface.
const ANY: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

/// The coordinator's endpoint.
#[derive(Debug)]
pub struct Server {
    endpoint: Endpoint,
    id: CoordinatorId,
    limits: ServerLimits,
    handshakes: Arc<Semaphore>,
    budget: Budget,
}

/// What all peers of one server share: how many transfers run at once, and so how much memory they take.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    pub(super) uploads: Arc<Semaphore>,
    pub(super) fetches: Arc<Semaphore>,
    /// Bytes of receive window that no upload has taken.
    pub(super) windows: Arc<Mutex<u64>>,
}

impl Server {
    /// Listens on a UDP address (port 0 takes a free one). Needs a tokio runtime.
    ///
    /// # Errors
    /// [`LinkError::Socket`] if the port is taken or may not be used.
    pub fn bind(address: SocketAddr, key: &Arc<NodeKey>, limits: ServerLimits) -> Result<Self, LinkError> {
        let crypto = QuicServerConfig::try_from(identity::server_config(key)?)
            .map_err(|error| LinkError::Config(error.to_string()))?;
        let mut transport = limits.link.transport()?;
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(1 + limits.transfers_per_peer))
            // A peer may fill this much before it is admitted to an upload; see `Peer`.
            .receive_window(VarInt::from_u32(limits.idle_window_bytes));
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config
            .transport_config(Arc::new(transport))
            .migration(true)
            .max_incoming(limits.handshakes)
            // Nothing but a handshake has reason to come before the connection is accepted.
            .incoming_buffer_size(16 * 1024)
            .incoming_buffer_size_total(limits.handshakes as u64 * 16 * 1024);

        let socket = socket(address, limits.link.udp_buffer_bytes)?;
        let endpoint_config = limits.link.endpoint(reset::endpoint_config(key))?;
        let endpoint = Endpoint::new(endpoint_config, Some(config), socket, Arc::new(TokioRuntime))
            .map_err(|source| LinkError::Socket { address, source })?;
        let budget = Budget {
            uploads: Arc::new(Semaphore::new(limits.uploads)),
            fetches: Arc::new(Semaphore::new(limits.fetches)),
            windows: Arc::new(Mutex::new(limits.upload_windows_bytes)),
        };
        let handshakes = Arc::new(Semaphore::new(limits.handshakes));
        Ok(Self { endpoint, id: CoordinatorId(key.id().0), limits, handshakes, budget })
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// If the system cannot tell.
    pub fn local_address(&self) -> Result<SocketAddr, LinkError> {
        self.endpoint.local_addr().map_err(|source| LinkError::Socket { address: ANY, source })
    }

    /// Who it is: what workers pin.
    pub fn id(&self) -> CoordinatorId {
        self.id
    }

    /// Connections, those in handshake and those just closing included.
    pub fn connections(&self) -> usize {
        self.endpoint.open_connections()
    }

    /// The next handshake; `None` once the server is closed.
    ///
    /// A full server refuses. Above [`ServerLimits::retry_above`] handshakes in flight, an address must first prove that
    /// it can receive (a Retry packet, which costs the server no memory), so that forged addresses fill nothing.
    pub async fn accept(&self) -> Option<Handshake> {
        loop {
            // Waiting here lets the rest queue in the endpoint, which refuses them past its own limit.
            let permit = self.handshakes.clone().acquire_owned().await.ok()?;
            let incoming = self.endpoint.accept().await?;
            let in_flight = self.limits.handshakes - self.handshakes.available_permits();
            if self.endpoint.open_connections() >= self.limits.connections {
                incoming.refuse();
            } else if in_flight > self.limits.retry_above && incoming.may_retry() {
                // Fails only if it may not retry, and then the attempt is dropped: the client repeats it.
                let _ = incoming.retry();
            } else {
                let budget = self.budget.clone();
                return Some(Handshake { incoming, limits: self.limits, budget, _permit: permit });
            }
        }
    }

    /// Closes every connection with this reason and waits (3 s at most) until the peers know.
    pub async fn close(&self, code: CloseCode, reason: &str) {
        close(&self.endpoint, code, reason).await;
    }
}

/// A connection that is being made; counts against [`ServerLimits::handshakes`] while it lives.
#[derive(Debug)]
pub struct Handshake {
    incoming: quinn::Incoming,
    limits: ServerLimits,
    budget: Budget,
    _permit: OwnedSemaphorePermit,
}

impl Handshake {
    /// The address it comes from; not proved yet.
    pub fn remote_address(&self) -> SocketAddr {
        self.incoming.remote_address()
    }

    /// Waits (10 s at most) until the worker has proved its key.
    ///
    /// # Errors
    /// If it did not; nobody needs to act on it.
    pub async fn finish(self) -> Result<Peer, LinkError> {
        let connecting = self.incoming.accept()?;
        let connection = within(HANDSHAKE_MS, "the handshake", connecting).await??;
        let worker = identity::worker_of(&connection).ok_or(LinkError::Unexpected("peer without a key"))?;
        Ok(Peer::new(connection, worker, self.limits, self.budget))
    }
}

/// The worker's endpoint: one UDP socket for all its connections.
#[derive(Debug)]
pub struct Client {
    dialer: Dialer,
    udp_buffer_bytes: u32,
}

/// What it takes to dial one address.
#[derive(Debug, Clone)]
struct Dialer {
    endpoint: Endpoint,
    key: Arc<NodeKey>,
    transport: Arc<TransportConfig>,
    stall_ms: u64,
    version: u16,
}

impl Client {
    /// An endpoint on a free port of every interface. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`LinkError::Socket`] if the system gives no UDP socket.
    pub fn new(key: Arc<NodeKey>, limits: ClientLimits) -> Result<Self, LinkError> {
        let mut transport = limits.link.transport()?;
        transport
            .keep_alive_interval(Some(Duration::from_millis(limits.keep_alive_ms)))
            // The coordinator opens no streams.
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .receive_window(VarInt::from_u32(limits.link.window_bytes));
        let udp_buffer_bytes = limits.link.udp_buffer_bytes;
        let endpoint = Endpoint::new(
            limits.link.endpoint(EndpointConfig::default())?,
            None,
            any_socket(udp_buffer_bytes)?,
            Arc::new(TokioRuntime),
        )
        .map_err(|source| LinkError::Socket { address: ANY, source })?;
        let (transport, stall_ms) = (Arc::new(transport), limits.link.stall_ms);
        let dialer = Dialer { endpoint, key, transport, stall_ms, version: WIRE_VERSION };
        Ok(Self { dialer, udp_buffer_bytes })
    }

    /// Connects to the coordinator. The addresses of its host are tried one after another, a quarter of a second apart,
    /// and the first that answers wins (RFC 8305): a host whose IPv6 leads nowhere costs no more than that.
    ///
    /// # Errors
    /// The verdict says whether trying again can help: not with [`LinkError::WrongCoordinator`] or
    /// [`LinkError::OtherVersion`].
    pub async fn connect(&self, to: &CoordinatorAddress) -> Result<Link, LinkError> {
        let resolve = |source| LinkError::Resolve { host: to.host().to_owned(), source };
        let found = tokio::net::lookup_host((to.host(), to.port())).await.map_err(resolve)?;
        let mut failure = resolve(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        let mut addresses = found.take(ADDRESSES_MAX).peekable();
        let mut attempts = JoinSet::new();
        loop {
            if let Some(address) = addresses.next() {
                attempts.spawn(self.dialer.clone().dial(address, to.id()));
            }
            tokio::select! {
                ended = attempts.join_next() => match ended {
                    Some(Ok(Ok(link))) => return Ok(link),
                    // What a person must know about goes before what may pass.
                    Some(Ok(Err(error))) if failure.verdict() != Verdict::Stop => failure = error,
                    Some(_) => {}
                    None => return Err(failure),
                },
                () = tokio::time::sleep(Duration::from_millis(STAGGER_MS)), if addresses.peek().is_some() => {}
            }
        }
    }

    /// Moves every connection to a fresh socket, after the machine changed networks; they live on (QUIC migration).
    ///
    /// Without it a connection survives too if the system routes the old socket over the new network.
    ///
    /// # Errors
    /// [`LinkError::Socket`]; the old socket is kept.
    pub fn rebind(&self) -> Result<(), LinkError> {
        let socket = any_socket(self.udp_buffer_bytes)?;
        self.dialer.endpoint.rebind(socket).map_err(|source| LinkError::Socket { address: ANY, source })
    }

    /// Closes every connection with this reason and waits (3 s at most) until the coordinator knows.
    pub async fn close(&self, code: CloseCode, reason: &str) {
        close(&self.dialer.endpoint, code, reason).await;
    }

    /// A worker of another version, for tests.
    #[cfg(test)]
    pub(super) fn speaking(mut self, version: u16) -> Self {
        self.dialer.version = version;
        self
    }
}

impl Dialer {
    async fn dial(self, address: SocketAddr, pinned: CoordinatorId) -> Result<Link, LinkError> {
        let presented = Arc::new(OnceLock::new());
        let crypto = identity::client_config(&self.key, pinned, presented.clone(), self.version)?;
        let crypto =
            QuicClientConfig::try_from(crypto).map_err(|error| LinkError::Config(error.to_string()))?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(self.transport);
        let connecting = self
            .endpoint
            .connect_with(config, address, SERVER_NAME)
            .map_err(|error| LinkError::Lost(error.to_string()))?;
        match within(HANDSHAKE_MS, "the handshake", connecting).await? {
            Ok(connection) => Ok(Link::new(connection, pinned, self.stall_ms)),
            // Our own verifier ended it: say who was there instead.
            Err(quinn::ConnectionError::TransportError(_)) if presented.get() != Some(&pinned) => {
                Err(LinkError::WrongCoordinator { pinned, presented: presented.get().copied() })
            }
            Err(error) => Err(error.into()),
        }
    }
}

async fn close(endpoint: &Endpoint, code: CloseCode, reason: &str) {
    endpoint.close(code.to_wire(), reason.as_bytes());
    // A peer that is gone does not answer: the close was sent, that is enough.
    let _ = within(FAREWELL_MS, "the farewell", endpoint.wait_idle()).await;
}

/// `work`, or [`LinkError::Stalled`] if it takes longer.
pub(super) async fn within<T>(
    limit_ms: u64,
    what: &'static str,
    work: impl IntoFuture<Output = T>,
) -> Result<T, LinkError> {
    tokio::time::timeout(Duration::from_millis(limit_ms), work)
        .await
        .map_err(|_| LinkError::Stalled { what, limit_ms })
}

/// A socket on a free port that reaches IPv4 and, where the system has it, IPv6.
fn any_socket(buffer_bytes: u32) -> Result<UdpSocket, LinkError> {
    socket(ANY, buffer_bytes).or_else(|_| socket((Ipv4Addr::UNSPECIFIED, 0).into(), buffer_bytes))
}

/// A UDP socket with large buffers: with the usual ones, a burst of handshakes or a fast transfer loses packets in the
/// kernel (100 handshakes then take a second).
fn socket(address: SocketAddr, buffer_bytes: u32) -> Result<UdpSocket, LinkError> {
    let open = || {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        let wanted = buffer_bytes as usize;
        // Smaller buffers are slower, not wrong.
        let _ = socket.set_recv_buffer_size(wanted);
        let _ = socket.set_send_buffer_size(wanted);
        let (receive_bytes, send_bytes) = (socket.recv_buffer_size()?, socket.send_buffer_size()?);
        if receive_bytes.min(send_bytes) < wanted {
            tracing::warn!(
                wanted,
                receive_bytes,
                send_bytes,
                "small UDP buffers: raise net.core.rmem_max and net.core.wmem_max"
            );
        }
        socket.bind(&address.into())?;
        Ok(socket.into())
    };
    open().map_err(|source| LinkError::Socket { address, source })
}
