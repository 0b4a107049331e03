//! The worker's end of a connection: its control stream, and the blobs it fetches and uploads.

use std::path::Path;

use quinn::{Connection, RecvStream, SendStream};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::chunks::{Source, expect_end, fill, receive_rest};
use super::endpoint::within;
use super::error::{CloseCode, LinkError};
use super::file::{PartialBlob, blocking};
use super::limits::{ANSWER_MS, CHUNK_BYTES};
use super::peer::{LinkStats, close, stats};
use super::stream::{ControlReceiver, ControlSender, recv_frame, send_frame};
use super::transfer::Blob;
use crate::hash::Digest;
use crate::ids::{CoordinatorId, Nonce, TaskId};
use crate::wire::message::{TransferReply, TransferRequest};

/// The coordinator, at a worker. Clones are the same connection, which closes when the last is dropped.
#[derive(Debug, Clone)]
pub struct Link {
    connection: Connection,
    coordinator: CoordinatorId,
    pub(super) stall_ms: u64,
}

impl Link {
    pub(super) fn new(connection: Connection, coordinator: CoordinatorId, stall_ms: u64) -> Self {
        Self { connection, coordinator, stall_ms }
    }

    /// Who it is: it has proved to hold this key.
    pub fn coordinator(&self) -> CoordinatorId {
        self.coordinator
    }

    /// The control stream. Call it once, before any transfer, and send the first message: the coordinator learns of the
    /// stream by it.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn open_control<Out: Serialize, In: Serialize + DeserializeOwned>(
        &self,
    ) -> Result<(ControlSender<Out>, ControlReceiver<In>), LinkError> {
        let (send, receive) = self.connection.open_bi().await?;
        if send.id().index() != 0 {
            return Err(LinkError::Unexpected("second control stream"));
        }
        // Fails only if the stream is gone.
        let _ = send.set_priority(1);
        Ok((ControlSender::new(send, self.stall_ms), ControlReceiver::new(receive)))
    }

    /// A stream for one transfer; waits while as many are open as the coordinator allows.
    pub(super) async fn open_transfer(&self) -> Result<(SendStream, RecvStream), LinkError> {
        Ok(within(ANSWER_MS, "a transfer stream", self.connection.open_bi()).await??)
    }

    /// Closes the connection at once: what was not delivered is lost.
    pub fn close(&self, code: CloseCode, reason: &str) {
        close(&self.connection, code, reason);
    }

    /// Waits until the connection has ended, and says why.
    pub async fn closed(&self) -> LinkError {
        self.connection.closed().await.into()
    }

    /// How the connection fares.
    pub fn stats(&self) -> LinkStats {
        stats(&self.connection)
    }
}

/// What a fetch brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// Length of the blob.
    pub bytes: u64,
    /// Bytes of it that came over the network this time.
    pub bytes_received: u64,
}

impl Link {
    /// Fetches a small blob into memory.
    ///
    /// # Errors
    /// [`LinkError::TooLarge`] before anything over `bytes_max` is read, [`LinkError::DigestMismatch`] if it is not the blob.
    pub async fn fetch(&self, digest: Digest, bytes_max: u64) -> Result<Vec<u8>, LinkError> {
        let (mut receive, bytes) = self.begin_fetch(digest, 0, bytes_max).await?;
        // Zeroed memory costs nothing until it is written, so this spends what arrives, not what was announced.
        let mut blob = vec![0; bytes as usize];
        for chunk in blob.chunks_mut(CHUNK_BYTES) {
            let want = chunk.len() as u64;
            let (_, ended) = fill(&mut receive, chunk, want, self.stall_ms).await;
            ended?;
        }
        expect_end(&mut receive, bytes, self.stall_ms).await?;
        let got = Digest::of(&blob);
        if got == digest { Ok(blob) } else { Err(LinkError::DigestMismatch { want: digest, got }) }
    }

    /// Fetches a blob into a file, from where an earlier attempt broke off; `partial` and `stored` are in one file system.
    ///
    /// # Errors
    /// As [`Self::fetch`]; [`LinkError::Busy`] if another fetch writes the same partial file. A partial file stays if trying
    /// again can use it.
    pub async fn fetch_to_file(
        &self,
        digest: Digest,
        partial: &Path,
        stored: &Path,
        bytes_max: u64,
    ) -> Result<Fetched, LinkError> {
        let (partial, stored) = (partial.to_owned(), stored.to_owned());
        let blob = blocking(move || PartialBlob::open(partial, bytes_max, ())).await?;
        let offset = blob.written();
        let (mut receive, bytes) = self.begin_fetch(digest, offset, bytes_max).await?;
        let blob = receive_rest(&mut receive, blob, bytes, self.stall_ms).await?;
        blocking(move || blob.store(digest, &stored, true)).await?;
        Ok(Fetched { bytes, bytes_received: bytes - offset })
    }

    async fn begin_fetch(
        &self,
        digest: Digest,
        offset: u64,
        bytes_max: u64,
    ) -> Result<(RecvStream, u64), LinkError> {
        let (mut send, mut receive) = self.open_transfer().await?;
        send_frame(&mut send, &TransferRequest::Fetch { digest, offset }, self.stall_ms).await?;
        // Fails only if the stream is finished or reset already.
        let _ = send.finish();
        match recv_frame(&mut receive, ANSWER_MS).await? {
            TransferReply::Sending { bytes } if bytes > bytes_max => {
                let _ = receive.stop(0u32.into());
                Err(LinkError::TooLarge { got: bytes, limit: bytes_max })
            }
            TransferReply::Sending { bytes } if bytes >= offset => Ok((receive, bytes)),
            TransferReply::Refused(reason) => Err(LinkError::Refused(reason)),
            _ => Err(LinkError::Unexpected("answer to a fetch")),
        }
    }

    /// Uploads a task's result, from where an earlier attempt broke off; returns the bytes sent. Done means that the
    /// coordinator has stored it.
    ///
    /// # Errors
    /// [`LinkError::Refused`] with the coordinator's reason; anything else: the verdict says whether to try again.
    pub async fn upload(
        &self,
        task: TaskId,
        nonce: Nonce,
        digest: Digest,
        blob: Blob,
    ) -> Result<u64, LinkError> {
        let source = Source::open(blob).await?;
        let bytes = source.length();
        let (mut send, mut receive) = self.open_transfer().await?;
        let request = TransferRequest::Upload { task, nonce, digest, bytes };
        send_frame(&mut send, &request, self.stall_ms).await?;
        let offset = match self.answer(&mut receive).await? {
            TransferReply::Ready { offset } if offset <= bytes => offset,
            TransferReply::Stored => return Ok(0),
            TransferReply::Refused(reason) => return Err(LinkError::Refused(reason)),
            _ => return Err(LinkError::Unexpected("answer to an upload")),
        };
        match source.send(&mut send, offset, self.stall_ms).await {
            // The coordinator stops reading when it refuses: its answer says why.
            Ok(()) | Err(LinkError::Abandoned { .. }) => {}
            Err(error) => return Err(error),
        }
        // Fails only if the coordinator has stopped reading.
        let _ = send.finish();
        match self.answer(&mut receive).await? {
            TransferReply::Stored => Ok(bytes - offset),
            TransferReply::Refused(reason) => Err(LinkError::Refused(reason)),
            _ => Err(LinkError::Unexpected("answer to an upload")),
        }
    }

    /// An answer, and the stream's end if it is the last: leaving before it would tell the coordinator that the answer
    /// was not wanted.
    async fn answer(&self, receive: &mut RecvStream) -> Result<TransferReply, LinkError> {
        let answer = recv_frame(receive, ANSWER_MS).await?;
        if !matches!(answer, TransferReply::Ready { .. }) {
            // What comes instead of the end does not matter any more.
            let _ = within(self.stall_ms, "the end of a transfer", receive.read(&mut [0])).await;
        }
        Ok(answer)
    }
}
