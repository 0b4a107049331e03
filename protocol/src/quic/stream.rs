//! Typed messages over a QUIC stream: canonical bytes in frames.

use core::marker::PhantomData;

use quinn::{RecvStream, SendStream};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::endpoint::within;
use super::error::LinkError;
use super::limits::{FAREWELL_MS, TRANSFER_FRAME_BYTES_MAX};
use crate::wire::codec;
use crate::wire::frame::{FrameDecoder, encode_frame};

/// Bytes taken from a stream at once.
const READ_BYTES: usize = 64 * 1024;

/// The sending half of a control stream.
#[derive(Debug)]
pub struct ControlSender<Out> {
    stream: SendStream,
    /// Frames, or the rest of one, that the stream has not taken.
    pending: Vec<u8>,
    sent: usize,
    stall_ms: u64,
    messages: PhantomData<fn(Out)>,
}

impl<Out: Serialize> ControlSender<Out> {
    pub(super) fn new(stream: SendStream, stall_ms: u64) -> Self {
        Self { stream, pending: Vec::new(), sent: 0, stall_ms, messages: PhantomData }
    }

    /// Sends a message; returns when QUIC has taken it, not when the peer has it.
    ///
    /// May be cancelled: the rest of a frame goes out with the next call, so the stream stays whole.
    ///
    /// # Errors
    /// [`LinkError::Stalled`] if the peer reads nothing for [`LinkLimits::stall_ms`](super::LinkLimits::stall_ms); [`LinkError::Wire`] if the message is larger than a frame
    /// (and nothing of it is sent).
    pub async fn send(&mut self, message: &Out) -> Result<(), LinkError> {
        let frame = encode_frame(&codec::encode(message))?;
        self.pending.drain(..self.sent);
        self.sent = 0;
        self.pending.extend_from_slice(&frame);
        within(self.stall_ms, "a control message", self.flush()).await?
    }

    async fn flush(&mut self) -> Result<(), LinkError> {
        while self.sent < self.pending.len() {
            self.sent += self.stream.write(&self.pending[self.sent..]).await?;
        }
        self.pending.clear();
        self.pending.shrink_to(4 * 1024);
        self.sent = 0;
        Ok(())
    }

    /// Ends the stream and waits (3 s at most) until the peer has all of it: before a close that must not swallow the
    /// last message.
    ///
    /// # Errors
    /// If the peer did not confirm in time.
    pub async fn finish(mut self) -> Result<(), LinkError> {
        within(self.stall_ms, "a control message", self.flush()).await??;
        // Fails only if the stream is finished or reset already.
        let _ = self.stream.finish();
        delivered(&mut self.stream, FAREWELL_MS).await
    }
}

/// The receiving half of a control stream.
#[derive(Debug)]
pub struct ControlReceiver<In> {
    stream: RecvStream,
    decoder: FrameDecoder,
    messages: PhantomData<fn() -> In>,
}

impl<In: Serialize + DeserializeOwned> ControlReceiver<In> {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, decoder: FrameDecoder::default(), messages: PhantomData }
    }

    /// The next message; `None` when the peer has ended the stream between two.
    ///
    /// May be cancelled: what has arrived of a frame is kept. Waits for ever while the connection lives.
    ///
    /// # Errors
    /// [`LinkError::Wire`] if the peer's bytes are no message: close the connection, the stream has no meaning any more.
    pub async fn recv(&mut self) -> Result<Option<In>, LinkError> {
        loop {
            if let Some(frame) = self.decoder.poll_frame()? {
                return Ok(Some(codec::decode(&frame)?));
            }
            match self.stream.read_chunk(READ_BYTES, true).await? {
                Some(chunk) => self.decoder.push(&chunk.bytes),
                None => {
                    self.decoder.finish()?;
                    return Ok(None);
                }
            }
        }
    }
}

/// Sends one frame of a transfer stream.
pub(super) async fn send_frame<T: Serialize>(
    stream: &mut SendStream,
    message: &T,
    limit_ms: u64,
) -> Result<(), LinkError> {
    let frame = encode_frame(&codec::encode(message))?;
    Ok(within(limit_ms, "a transfer's frame", stream.write_all(&frame)).await??)
}

/// Reads one frame of a transfer stream and nothing beyond it.
pub(super) async fn recv_frame<T: Serialize + DeserializeOwned>(
    stream: &mut RecvStream,
    limit_ms: u64,
) -> Result<T, LinkError> {
    let mut decoder = FrameDecoder::new(TRANSFER_FRAME_BYTES_MAX);
    within(limit_ms, "a transfer's frame", async {
        loop {
            if let Some(frame) = decoder.poll_frame()? {
                return Ok(codec::decode(&frame)?);
            }
            match stream.read_chunk(decoder.wanted(), true).await? {
                Some(chunk) => decoder.push(&chunk.bytes),
                None => {
                    decoder.finish()?;
                    return Err(LinkError::Unexpected("end of a transfer without an answer"));
                }
            }
        }
    })
    .await?
}

/// Waits until the peer has acknowledged everything on a finished stream.
pub(super) async fn delivered(stream: &mut SendStream, limit_ms: u64) -> Result<(), LinkError> {
    match within(limit_ms, "the acknowledgement of a stream", stream.stopped()).await? {
        Ok(None) => Ok(()),
        Ok(Some(code)) => Err(LinkError::Abandoned { code: code.into_inner() }),
        Err(quinn::StoppedError::ConnectionLost(error)) => Err(error.into()),
        Err(quinn::StoppedError::ZeroRttRejected) => Err(LinkError::Unexpected("0-RTT")),
    }
}
