//! The coordinator's side of transfers: blobs, each on a stream of its own, named by their blake3 digest and resumable.
//!
//! Fetch: `Fetch{digest, offset}` → `Sending{bytes}`, then the bytes from `offset` on. Upload: `Upload{task, nonce, digest,
//! bytes}` → `Ready{offset}` → the bytes from `offset` on → `Stored`. The coordinator may answer `Refused` instead at any
//! point. Nothing is held in memory but two chunks of 128 KiB and QUIC's windows: a slow disk holds back the network.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::chunks::{Source, receive_rest};
use super::error::LinkError;
use super::file::{PartialBlob, blocking};
use super::limits::{CHUNK_BYTES, FAREWELL_MS};
use super::peer::Shared;
use super::stream::{delivered, send_frame};
use crate::hash::Digest;
use crate::ids::{Nonce, TaskId};
use crate::job::Reason;
use crate::wire::error::Verdict;
use crate::wire::message::TransferReply;

/// Checks a blob while it arrives: sees every byte once, in order, from the first, also those that an interrupted
/// transfer left behind. Runs on a blocking thread.
pub trait Inspect: Send + 'static {
    /// The next bytes.
    ///
    /// # Errors
    /// Why the blob is not acceptable, in words: the transfer ends, what arrived is thrown away, the peer is told.
    fn chunk(&mut self, bytes: &[u8]) -> Result<(), String>;

    /// The blob is complete and its digest is right.
    ///
    /// # Errors
    /// As [`Self::chunk`].
    fn finish(&mut self) -> Result<(), String>;
}

/// Any content will do.
impl Inspect for () {
    fn chunk(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// A blob to send.
#[derive(Debug, Clone)]
pub enum Blob {
    /// In memory, shared by all who fetch it: nothing is copied per peer.
    Memory(Bytes),
    /// In a file, read in chunks.
    File(PathBuf),
}

/// Where a blob that arrives goes.
#[derive(Debug, Clone)]
pub struct Spool {
    /// The file that grows. Nobody else may be able to write to it: its name holds the peer and the digest.
    pub partial: PathBuf,
    /// Its name once it is whole and right; in the same file system.
    pub stored: PathBuf,
    /// The largest blob taken, in bytes.
    pub bytes_max: u64,
    /// Whether it must survive a power cut before it counts as stored.
    pub sync: bool,
}

/// What a worker asks for.
#[derive(Debug)]
pub enum Transfer {
    /// It wants a blob.
    Fetch(FetchRequest),
    /// It has a task's result.
    Upload(UploadRequest),
}

/// A worker wants a blob: answer with [`serve`](Self::serve) or [`refuse`](Self::refuse).
#[derive(Debug)]
pub struct FetchRequest {
    pub(super) send: SendStream,
    pub(super) shared: Arc<Shared>,
    pub(super) digest: Digest,
    pub(super) offset: u64,
}

impl FetchRequest {
    /// Which blob.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The first byte wanted.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Waits for its turn, sends the blob, waits until the worker has it; returns the bytes sent.
    ///
    /// # Errors
    /// If the worker is gone or too slow, or the file cannot be read; the worker has been told then.
    pub async fn serve(mut self, blob: Blob) -> Result<u64, LinkError> {
        let sent = self.send_whole(blob).await;
        if let Err(error) = &sent {
            // A header may be out already: an abrupt end of the stream is the one answer that fits.
            let _ = self.send.reset(0u32.into());
            tracing::debug!(digest = %self.digest, %error, "fetch failed");
        }
        sent
    }

    async fn send_whole(&mut self, blob: Blob) -> Result<u64, LinkError> {
        let _turn = turn(&self.shared, &self.shared.budget.fetches).await?;
        let source = Source::open(blob).await?;
        let bytes = source.length();
        if self.offset > bytes {
            let reason = format!("byte {} is past the end of the blob ({bytes} bytes)", self.offset);
            answer_refused(&mut self.send, reason.into()).await;
            return Err(LinkError::Length { want: self.offset, got: bytes });
        }
        let stall_ms = self.shared.limits.link.stall_ms;
        send_frame(&mut self.send, &TransferReply::Sending { bytes }, stall_ms).await?;
        source.send(&mut self.send, self.offset, stall_ms).await?;
        // Fails only if the stream is finished or reset already.
        let _ = self.send.finish();
        let unacknowledged_chunks = u64::from(self.shared.limits.link.send_window_bytes) / CHUNK_BYTES as u64;
        delivered(&mut self.send, stall_ms * (1 + unacknowledged_chunks)).await?;
        Ok(bytes - self.offset)
    }

    /// Says no.
    pub async fn refuse(mut self, reason: Reason) {
        answer_refused(&mut self.send, reason).await;
    }
}

/// A worker has a task's result: answer with one of the methods.
#[derive(Debug)]
pub struct UploadRequest {
    pub(super) send: SendStream,
    pub(super) receive: RecvStream,
    pub(super) shared: Arc<Shared>,
    pub(super) task: TaskId,
    pub(super) nonce: Nonce,
    pub(super) digest: Digest,
    pub(super) bytes: u64,
}

impl UploadRequest {
    /// For which task.
    pub fn task(&self) -> TaskId {
        self.task
    }

    /// Under which assignment.
    pub fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// The result's digest, as announced.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its length in bytes, as announced.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Waits for its turn, then receives the blob into the spool, from where an earlier attempt broke off.
    ///
    /// # Errors
    /// Whatever went wrong, the worker has been told: a refusal is for good, and where trying again can help (this
    /// side's disk is full, another transfer of the blob is not over) the stream is abandoned instead, so that nobody
    /// throws its work away. A partial file stays if trying again can use it, and is thrown away if its content was
    /// wrong.
    pub async fn receive<I: Inspect>(mut self, spool: Spool, inspect: I) -> Result<Received, LinkError> {
        match self.receive_whole(spool, inspect).await {
            Ok(bytes_received) => Ok(Received { send: self.send, bytes_received }),
            Err(error) if error.verdict() == Verdict::Retry => {
                self.abandon();
                Err(error)
            }
            Err(error) => {
                self.refuse(error.to_string().into()).await;
                Err(error)
            }
        }
    }

    async fn receive_whole<I: Inspect>(&mut self, spool: Spool, inspect: I) -> Result<u64, LinkError> {
        if self.bytes > spool.bytes_max {
            return Err(LinkError::TooLarge { got: self.bytes, limit: spool.bytes_max });
        }
        let _turn = turn(&self.shared, &self.shared.budget.uploads).await?;
        let (partial, bytes) = (spool.partial, self.bytes);
        let blob = blocking(move || PartialBlob::open(partial, bytes, inspect)).await?;
        let (offset, missing) = (blob.written(), self.bytes - blob.written());
        let _window = self.shared.widen(missing.min(self.shared.limits.link.window_bytes.into()));
        let stall_ms = self.shared.limits.link.stall_ms;
        send_frame(&mut self.send, &TransferReply::Ready { offset }, stall_ms).await?;
        let blob = receive_rest(&mut self.receive, blob, self.bytes, stall_ms).await?;
        let digest = self.digest;
        blocking(move || blob.store(digest, &spool.stored, spool.sync)).await?;
        Ok(missing)
    }

    /// Says that the result is here already: an earlier answer was lost.
    ///
    /// # Errors
    /// If the worker cannot be told.
    pub async fn already_stored(mut self) -> Result<(), LinkError> {
        answer(&mut self.send, TransferReply::Stored).await
    }

    /// Gives up without a word about the result: this side has a fault of its own, and the worker may try again.
    pub fn abandon(mut self) {
        // Both fail only if the stream is over.
        let _ = self.receive.stop(0u32.into());
        let _ = self.send.reset(0u32.into());
    }

    /// Says no, for good.
    pub async fn refuse(mut self, reason: Reason) {
        // Fails only if everything has been read.
        let _ = self.receive.stop(0u32.into());
        if self.shared.connection.close_reason().is_none() {
            answer_refused(&mut self.send, reason).await;
        }
    }
}

/// An upload that lies whole and right under its final name, and about which the worker has not been told.
#[derive(Debug)]
#[must_use = "the worker waits for the answer"]
pub struct Received {
    send: SendStream,
    bytes_received: u64,
}

impl Received {
    /// Bytes that came over this stream; less than the blob if it was resumed.
    pub fn bytes_received(&self) -> u64 {
        self.bytes_received
    }

    /// Tells the worker that its result is stored. After that its receipt may come at any moment.
    ///
    /// # Errors
    /// If the worker cannot be told; it will ask again.
    pub async fn confirm(mut self) -> Result<(), LinkError> {
        answer(&mut self.send, TransferReply::Stored).await
    }

    /// Gives up without a word about the result, as [`UploadRequest::abandon`] does.
    pub fn abandon(mut self) {
        // Fails only if the stream is over.
        let _ = self.send.reset(0u32.into());
    }
}

/// Waits for a place among the transfers that run at once, as long as the connection lives.
async fn turn(shared: &Shared, places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, LinkError> {
    tokio::select! {
        place = places.clone().acquire_owned() => place.map_err(|_| LinkError::ClosedHere),
        error = shared.connection.closed() => Err(error.into()),
    }
}

async fn answer(stream: &mut SendStream, reply: TransferReply) -> Result<(), LinkError> {
    send_frame(stream, &reply, FAREWELL_MS).await?;
    // Fails only if the stream is finished or reset already.
    let _ = stream.finish();
    delivered(stream, FAREWELL_MS).await
}

async fn answer_refused(stream: &mut SendStream, reason: Reason) {
    if let Err(error) = answer(stream, TransferReply::Refused(reason)).await {
        tracing::debug!(%error, "a refusal did not arrive");
    }
}
