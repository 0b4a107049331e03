//! Blobs over a stream in chunks of 128 KiB: while one is on the network the next is on the disk.

use core::fmt;

use bytes::Bytes;
use quinn::{RecvStream, SendStream};

use super::endpoint::within;
use super::error::LinkError;
use super::file::{FileReader, PartialBlob, blocking};
use super::limits::CHUNK_BYTES;
use super::transfer::{Blob, Inspect};

/// A blob opened for sending.
pub(super) enum Source {
    Memory(Bytes),
    File(FileReader, u64),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({} bytes)", self.length())
    }
}

impl Source {
    /// Opens a blob.
    pub(super) async fn open(blob: Blob) -> Result<Self, LinkError> {
        match blob {
            Blob::Memory(bytes) => Ok(Self::Memory(bytes)),
            Blob::File(path) => {
                let (reader, length) = blocking(move || FileReader::open(&path)).await?;
                Ok(Self::File(reader, length))
            }
        }
    }

    /// Its length in bytes.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, length) => *length,
        }
    }

    /// Sends everything from `offset` on; reads the next chunk of a file while one is on its way.
    pub(super) async fn send(
        self,
        stream: &mut SendStream,
        offset: u64,
        stall_ms: u64,
    ) -> Result<(), LinkError> {
        match self {
            Self::Memory(bytes) => {
                let mut rest = bytes.slice(offset as usize..);
                while !rest.is_empty() {
                    send_chunk(stream, rest.split_to(rest.len().min(CHUNK_BYTES)), stall_ms).await?;
                }
            }
            Self::File(reader, length) => {
                let mut reader = blocking(move || reader.seek(offset)).await?;
                let mut left = length - offset;
                let mut ready = Bytes::new();
                while left > 0 || !ready.is_empty() {
                    let count = left.min(CHUNK_BYTES as u64) as usize;
                    let (read, sent) = tokio::join!(
                        blocking(move || reader.next(count)),
                        send_chunk(stream, ready, stall_ms)
                    );
                    sent?;
                    (reader, ready) = read?;
                    left -= count as u64;
                }
            }
        }
        Ok(())
    }
}

async fn send_chunk(stream: &mut SendStream, chunk: Bytes, stall_ms: u64) -> Result<(), LinkError> {
    if chunk.is_empty() {
        return Ok(());
    }
    Ok(within(stall_ms, "a chunk of a transfer", stream.write_chunk(chunk)).await??)
}

/// Receives what is missing of a blob of `bytes` bytes; one chunk is hashed, inspected and written while the next arrives.
pub(super) async fn receive_rest<I: Inspect>(
    stream: &mut RecvStream,
    mut blob: PartialBlob<I>,
    bytes: u64,
    stall_ms: u64,
) -> Result<PartialBlob<I>, LinkError> {
    let mut missing = bytes - blob.written();
    let size = missing.min(CHUNK_BYTES as u64) as usize;
    let (mut full, mut spare) = (vec![0; size], vec![0; size]);
    let (mut count, mut ended) = fill(stream, &mut full, missing, stall_ms).await;
    while count > 0 {
        missing -= count as u64;
        let write = blocking(move || Ok((blob.append(&full[..count])?, full)));
        // If the stream has ended early, what arrived is still worth keeping.
        let next = async {
            if ended.is_ok() { fill(stream, &mut spare, missing, stall_ms).await } else { (0, ended) }
        };
        let (written, filled) = tokio::join!(write, next);
        (blob, full) = written?;
        (count, ended) = filled;
        std::mem::swap(&mut full, &mut spare);
    }
    ended?;
    expect_end(stream, bytes, stall_ms).await?;
    Ok(blob)
}

/// Fills a buffer from a stream, up to `missing` bytes: how many came, and what ended it early.
pub(super) async fn fill(
    stream: &mut RecvStream,
    buffer: &mut [u8],
    missing: u64,
    stall_ms: u64,
) -> (usize, Result<(), LinkError>) {
    let want = missing.min(buffer.len() as u64) as usize;
    let mut count = 0;
    let filled = within(stall_ms, "a chunk of a transfer", async {
        while count < want {
            match stream.read(&mut buffer[count..want]).await? {
                Some(more) => count += more,
                None => return Err(LinkError::Length { want: missing, got: count as u64 }),
            }
        }
        Ok(())
    })
    .await;
    (count, filled.and_then(|filled| filled))
}

/// The stream must end here.
pub(super) async fn expect_end(stream: &mut RecvStream, bytes: u64, stall_ms: u64) -> Result<(), LinkError> {
    match within(stall_ms, "the end of a transfer", stream.read(&mut [0])).await?? {
        None => Ok(()),
        Some(_) => Err(LinkError::Length { want: bytes, got: bytes + 1 }),
    }
}
