//! A batch as it is posted: chunks, payload, header, and the commitment to all of it.

use serde::{Deserialize, Serialize};

use crate::hash::{Keccak, Tag, keccak, tagged};
use crate::ids::{Address, BatchId};
use crate::ledger::blob::{self, Blob, VersionedHash};
use crate::ledger::results::{ResultLeaf, results_root, results_tree};
use crate::ledger::state::StateParts;
use crate::limits::{BATCH_BYTES_MAX, CHUNK_BYTES_MAX};
use crate::merkle::StaticTree;

/// Bytes the payload spends on a chunk beside its ops: length 2, declared credits 1, post root 32.
pub const CHUNK_FRAME_BYTES: usize = 35;

/// A run of ops between two committed state roots: what a fraud proof will open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The ops, one after another: 1 to [`CHUNK_BYTES_MAX`] bytes.
    pub bytes: Vec<u8>,
    /// Credits in them; if they carry another number, the chunk applies nothing.
    pub declared: u8,
    /// The state root after them.
    pub post_root: Keccak,
}

impl Chunk {
    /// The chunk's leaf at place `index`, where the batch's credits before it number `first_credit`.
    pub fn leaf(&self, index: u32, pre_root: Keccak, first_credit: u32) -> Keccak {
        tagged(
            Tag::ChunkLeaf,
            &[
                &index.to_be_bytes(),
                &pre_root.0,
                &self.post_root.0,
                &first_credit.to_be_bytes(),
                &keccak(&[&self.bytes]).0,
                &[self.declared],
            ],
        )
    }
}

/// Why a payload is not a sequence of chunks: the contract refuses these, so none can be on the base layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A payload over the limit.
    #[error("a payload of {got} bytes is over the limit of {BATCH_BYTES_MAX}")]
    TooLarge {
        /// Its bytes.
        got: usize,
    },
    /// A chunk of no bytes, or of too many.
    #[error("chunk {index} has {got} bytes, not 1 to {CHUNK_BYTES_MAX}")]
    ChunkLength {
        /// Which chunk.
        index: usize,
        /// Its bytes.
        got: usize,
    },
    /// The payload ends within a chunk.
    #[error("the payload ends within chunk {index}")]
    Truncated {
        /// Which chunk.
        index: usize,
    },
}

/// The payload that carries these chunks: for each `length ‖ declared ‖ bytes ‖ post root`.
///
/// # Panics
/// If a chunk is longer than 65,535 bytes; the sealer stops at [`CHUNK_BYTES_MAX`].
pub fn encode_payload(chunks: &[Chunk]) -> Vec<u8> {
    let mut payload = Vec::new();
    for chunk in chunks {
        let length = u16::try_from(chunk.bytes.len()).expect("a sealed chunk has at most 512 bytes");
        payload.extend(length.to_be_bytes());
        payload.push(chunk.declared);
        payload.extend(&chunk.bytes);
        payload.extend(chunk.post_root.0);
    }
    payload
}

/// Reads a payload strictly: every byte belongs to a chunk of allowed length.
pub fn decode_payload(payload: &[u8]) -> Result<Vec<Chunk>, FramingError> {
    if payload.len() > BATCH_BYTES_MAX {
        return Err(FramingError::TooLarge { got: payload.len() });
    }
    let mut chunks = Vec::new();
    let mut rest = payload;
    while !rest.is_empty() {
        let index = chunks.len();
        let truncated = FramingError::Truncated { index };
        let ([high, low, declared], after) = rest.split_first_chunk().ok_or(truncated.clone())?;
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length == 0 || length > CHUNK_BYTES_MAX {
            return Err(FramingError::ChunkLength { index, got: length });
        }
        let (bytes, after) = after.split_at_checked(length).ok_or(truncated.clone())?;
        let (post_root, after) = after.split_first_chunk::<32>().ok_or(truncated)?;
        chunks.push(Chunk { bytes: bytes.to_vec(), declared: *declared, post_root: Keccak(*post_root) });
        rest = after;
    }
    Ok(chunks)
}

/// What the contract computes from a payload while it is posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunksSummary {
    /// The chunk tree's root, bound to the number of chunks.
    pub root: Keccak,
    /// Credits declared in all chunks together.
    pub credit_count: u32,
    /// The last chunk's post root; the batch's pre root if there is no chunk.
    pub post_root: Keccak,
}

/// Hashes the chunks of a batch that starts at `pre_root`.
///
/// # Panics
/// With over 2^24 chunks, which no payload can hold.
pub fn summarise(pre_root: Keccak, chunks: &[Chunk]) -> ChunksSummary {
    let tree = chunks_tree(pre_root, chunks);
    ChunksSummary {
        root: tagged(Tag::Chunks, &[&tree.count().to_be_bytes(), &tree.root().0]),
        credit_count: chunks.iter().map(|chunk| u32::from(chunk.declared)).sum(),
        post_root: chunks.last().map_or(pre_root, |chunk| chunk.post_root),
    }
}

/// The tree over the chunks of a batch that starts at `pre_root`, for proofs of single chunks.
///
/// # Panics
/// With over 2^24 chunks, which no payload can hold.
pub fn chunks_tree(pre_root: Keccak, chunks: &[Chunk]) -> StaticTree {
    let (mut root, mut credit_count) = (pre_root, 0);
    let mut leaves = Vec::with_capacity(chunks.len());
    for (index, chunk) in (0..).zip(chunks) {
        leaves.push(chunk.leaf(index, root, credit_count));
        root = chunk.post_root;
        credit_count += u32::from(chunk.declared);
    }
    StaticTree::new(&leaves).expect("a payload holds fewer than 2^24 chunks")
}

/// Where a batch's bytes stand on the base layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BatchMode {
    /// In the posting transaction's calldata.
    Calldata = 0,
    /// In blobs.
    Blobs = 1,
}

/// What the proposer states beside the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchHeader {
    /// The batch's number; the first is 1.
    pub number: BatchId,
    /// The state root it builds on.
    pub pre_root: Keccak,
    /// Unix seconds; not before the previous batch, not after the block that posts it.
    pub time: u64,
    /// The batch may consume the queue's items before this one.
    pub queue_end: u64,
    /// The queue's hash over those items.
    pub queue_hash: Keccak,
    /// The results root.
    pub results_root: Keccak,
    /// The state after the batch.
    pub post: StateParts,
}

impl BatchHeader {
    /// The batch commitment: what the contract stores.
    pub fn commitment(&self, proposer: Address, chunks: &ChunksSummary, mode: BatchMode) -> Keccak {
        tagged(
            Tag::Batch,
            &[
                &self.number.0.to_be_bytes(),
                &self.pre_root.0,
                &self.post.root().0,
                &self.time.to_be_bytes(),
                &proposer.0,
                &self.queue_end.to_be_bytes(),
                &self.queue_hash.0,
                &chunks.root.0,
                &chunks.credit_count.to_be_bytes(),
                &self.results_root.0,
                &[mode as u8],
            ],
        )
    }
}

/// A sealed batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// What is stated.
    pub header: BatchHeader,
    /// Who posts it.
    pub proposer: Address,
    /// The ops.
    pub chunks: Vec<Chunk>,
    /// For each credit, the work it pays for.
    pub results: Vec<ResultLeaf>,
    /// Where its chunks are to stand.
    pub mode: BatchMode,
}

impl Batch {
    /// The bytes to post as calldata.
    pub fn payload(&self) -> Vec<u8> {
        encode_payload(&self.chunks)
    }

    /// The blobs to post, for a batch that was sealed for them.
    ///
    /// # Panics
    /// If a chunk is too long for a blob: it was sealed for calldata.
    pub fn blobs(&self) -> Vec<Blob> {
        blob::encode(&self.chunks)
    }

    /// What the contract will compute from the payload.
    pub fn summary(&self) -> ChunksSummary {
        summarise(self.header.pre_root, &self.chunks)
    }

    /// The commitment the contract will store for it, posted as calldata.
    pub fn commitment(&self) -> Keccak {
        self.header.commitment(self.proposer, &self.summary(), BatchMode::Calldata)
    }

    /// The commitment the contract will store for it, posted in the blobs with these hashes.
    pub fn commitment_in_blobs(&self, hashes: &[VersionedHash]) -> Keccak {
        let count = u32::try_from(self.chunks.len()).expect("six blobs hold 3,072 chunks");
        let chunks = ChunksSummary { root: blob::root(count, hashes), ..self.summary() };
        self.header.commitment(self.proposer, &chunks, BatchMode::Blobs)
    }

    /// The results tree, for proofs of single results.
    ///
    /// # Panics
    /// With over 2^24 results, which no batch has: each belongs to a credit in the payload.
    pub fn results_tree(&self) -> StaticTree {
        results_tree(&self.results).expect("a batch holds fewer than 2^24 credits")
    }
}

/// The results root of these leaves; `None` with over 2^24 of them, which is no batch's.
pub fn root_of_results(leaves: &[ResultLeaf]) -> Option<Keccak> {
    results_tree(leaves).ok().map(|tree| results_root(&tree))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(length: usize) -> Chunk {
        Chunk { bytes: vec![7; length], declared: 3, post_root: Keccak([length as u8; 32]) }
    }

    #[test]
    fn a_payload_comes_back_as_its_chunks_and_nothing_else_does() {
        let chunks = vec![chunk(1), chunk(512), chunk(40)];
        let payload = encode_payload(&chunks);
        assert_eq!(payload.len(), 3 * CHUNK_FRAME_BYTES + 553);
        assert_eq!(decode_payload(&payload), Ok(chunks));
        assert_eq!(decode_payload(&[]), Ok(vec![]));
        for length in 1..36 {
            assert!(decode_payload(&payload[..length]).is_err(), "{length} bytes");
        }
        assert_eq!(decode_payload(&payload[..37]), Err(FramingError::Truncated { index: 1 }));
        assert_eq!(decode_payload(&[0, 0, 0]), Err(FramingError::ChunkLength { index: 0, got: 0 }));
        assert_eq!(decode_payload(&[2, 1, 0]), Err(FramingError::ChunkLength { index: 0, got: 513 }));
        let huge = vec![0; BATCH_BYTES_MAX + 1];
        assert_eq!(decode_payload(&huge), Err(FramingError::TooLarge { got: huge.len() }));
    }

    #[test]
    fn the_summary_chains_roots_and_ordinals() {
        let chunks = [chunk(1), chunk(2)];
        let summary = summarise(Keccak([9; 32]), &chunks);
        assert_eq!((summary.credit_count, summary.post_root), (6, chunks[1].post_root));
        let leaves = [chunks[0].leaf(0, Keccak([9; 32]), 0), chunks[1].leaf(1, chunks[0].post_root, 3)];
        let root = crate::hash::node(&leaves[0], &leaves[1]);
        assert_eq!(summary.root, tagged(Tag::Chunks, &[&2u32.to_be_bytes(), &root.0]));
        let none = summarise(Keccak([9; 32]), &[]);
        assert_eq!((none.credit_count, none.post_root), (0, Keccak([9; 32])));
        assert_eq!(none.root, tagged(Tag::Chunks, &[&[0; 4], &[0; 32]]));
    }
}
