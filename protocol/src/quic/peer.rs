//! The coordinator's end of a connection, and what its transfers may cost.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::{Connection, RecvStream, SendStream, VarInt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::endpoint::{Budget, within};
use super::error::{CloseCode, LinkError};
use super::limits::{FIRST_FRAME_MS, ServerLimits, UPLOAD_WINDOW_BYTES_LEAST};
use super::stream::{ControlReceiver, ControlSender, recv_frame};
use super::transfer::{FetchRequest, Transfer, UploadRequest};
use crate::ids::WorkerId;
use crate::limits::REASON_CHARS_MAX;
use crate::wire::message::TransferRequest;

/// How a connection fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkStats {
    /// The round trip, as QUIC estimates it.
    pub rtt: Duration,
    /// UDP payload bytes sent, repeats included.
    pub bytes_sent: u64,
    /// UDP payload bytes received.
    pub bytes_received: u64,
}

pub(super) fn stats(connection: &Connection) -> LinkStats {
    let stats = connection.stats();
    LinkStats { rtt: connection.rtt(), bytes_sent: stats.udp_tx.bytes, bytes_received: stats.udp_rx.bytes }
}

pub(super) fn close(connection: &Connection, code: CloseCode, reason: &str) {
    let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
    connection.close(code.to_wire(), reason.as_bytes());
}

/// A worker, at the coordinator. Clones are the same connection, which closes when the last is dropped.
#[derive(Debug, Clone)]
pub struct Peer {
    shared: Arc<Shared>,
    worker: WorkerId,
}

/// What a peer's transfers need of it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) connection: Connection,
    pub(super) limits: ServerLimits,
    pub(super) budget: Budget,
    /// Bytes by which admitted uploads have widened the connection's receive window.
    widened: Mutex<u64>,
}

impl Peer {
    pub(super) fn new(
        connection: Connection,
        worker: WorkerId,
        limits: ServerLimits,
        budget: Budget,
    ) -> Self {
        Self { shared: Arc::new(Shared { connection, limits, budget, widened: Mutex::new(0) }), worker }
    }

    /// Who it is: it has proved to hold this key.
    pub fn worker(&self) -> WorkerId {
        self.worker
    }

    /// Where it is; changes when it moves to another network.
    pub fn remote_address(&self) -> SocketAddr {
        self.shared.connection.remote_address()
    }

    /// The control stream, which the worker opens first. Call it once, before [`Self::accept_transfer`].
    ///
    /// # Errors
    /// [`LinkError::Stalled`] if the worker says nothing for 10 s.
    pub async fn accept_control<Out: Serialize, In: Serialize + DeserializeOwned>(
        &self,
    ) -> Result<(ControlSender<Out>, ControlReceiver<In>), LinkError> {
        let accepted = within(FIRST_FRAME_MS, "the control stream", self.shared.connection.accept_bi());
        let (send, receive) = accepted.await??;
        if send.id().index() != 0 {
            return Err(LinkError::Unexpected("second control stream"));
        }
        // A few bytes of control must not wait behind megabytes of model. Fails only if the stream is gone.
        let _ = send.set_priority(1);
        Ok((ControlSender::new(send, self.shared.limits.link.stall_ms), ControlReceiver::new(receive)))
    }

    /// The next transfer the worker opens. Spawn what follows: it may take long, and others must not wait.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn accept_transfer(&self) -> Result<IncomingTransfer, LinkError> {
        let (send, receive) = self.shared.connection.accept_bi().await?;
        Ok(IncomingTransfer { send, receive, shared: self.shared.clone() })
    }

    /// Closes the connection at once: what was not delivered is lost.
    pub fn close(&self, code: CloseCode, reason: &str) {
        close(&self.shared.connection, code, reason);
    }

    /// Waits until the connection has ended, and says why.
    pub async fn closed(&self) -> LinkError {
        self.shared.connection.closed().await.into()
    }

    /// How the connection fares.
    pub fn stats(&self) -> LinkStats {
        stats(&self.shared.connection)
    }
}

impl Shared {
    /// Lets the peer send further ahead until the result is dropped: by `wanted` bytes, if the server's budget has four
    /// times as much left, else by its share.
    pub(super) fn widen(self: &Arc<Self>, wanted: u64) -> Widened {
        let mut left = self.budget.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = wanted.min(*left / 4);
        *left -= taken;
        drop(left);
        let bytes = taken.max(wanted.min(UPLOAD_WINDOW_BYTES_LEAST));
        self.add(bytes, 0);
        Widened { shared: self.clone(), bytes, taken }
    }

    fn add(&self, more: u64, less: u64) {
        let mut widened = self.widened.lock().unwrap_or_else(PoisonError::into_inner);
        *widened = *widened + more - less;
        let window = u64::from(self.limits.idle_window_bytes) + *widened;
        self.connection.set_receive_window(VarInt::from_u64(window).unwrap_or(VarInt::MAX));
    }
}

/// A widened receive window; narrows again when dropped.
#[derive(Debug)]
pub(super) struct Widened {
    shared: Arc<Shared>,
    bytes: u64,
    /// Bytes of it that came out of the server's budget.
    taken: u64,
}

impl Drop for Widened {
    fn drop(&mut self) {
        self.shared.add(0, self.bytes);
        *self.shared.budget.windows.lock().unwrap_or_else(PoisonError::into_inner) += self.taken;
    }
}

/// A transfer stream whose request has not been read.
#[derive(Debug)]
pub struct IncomingTransfer {
    send: SendStream,
    receive: RecvStream,
    shared: Arc<Shared>,
}

impl IncomingTransfer {
    /// Reads the request.
    ///
    /// # Errors
    /// [`LinkError::Stalled`] if it is not there within 10 s, [`LinkError::Wire`] if it is none.
    pub async fn read(mut self) -> Result<Transfer, LinkError> {
        let request = recv_frame(&mut self.receive, FIRST_FRAME_MS).await?;
        let Self { send, receive, shared } = self;
        Ok(match request {
            TransferRequest::Fetch { digest, offset } => {
                Transfer::Fetch(FetchRequest { send, shared, digest, offset })
            }
            TransferRequest::Upload { task, nonce, digest, bytes } => {
                Transfer::Upload(UploadRequest { send, receive, shared, task, nonce, digest, bytes })
            }
        })
    }
}
