//! Digests: blake3 for bytes that only fedroll reads, keccak-256 for what the base layer must recompute.
//!
//! Every keccak preimage opens with one byte from [`Tag`], so that no two kinds of object can share a digest.

use core::fmt;

use serde::{Deserialize, Serialize};
use sha3::{Digest as _, Keccak256};

/// A blake3 digest: names a blob (model, update, input, answer, spec evidence) by its content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

/// A keccak-256 hash, as the EVM computes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Keccak(pub [u8; 32]);

impl Keccak {
    /// The all-zero word: an empty leaf, an absent parent.
    pub const ZERO: Self = Self([0; 32]);
}

crate::ids::hex_text!(Digest, 32);
crate::ids::hex_text!(Keccak, 32);

/// What a keccak preimage is the preimage of: its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Tag {
    /// An account leaf of the state tree.
    Account = 0x01,
    /// A job leaf of the state tree.
    Job = 0x02,
    /// The state root over accounts, jobs and counters.
    State = 0x03,
    /// A leaf of a batch's chunk tree.
    ChunkLeaf = 0x04,
    /// The chunk tree's root with its count.
    Chunks = 0x05,
    /// A leaf of a batch's results tree.
    ResultLeaf = 0x06,
    /// The results tree's root with its count.
    Results = 0x07,
    /// A batch commitment.
    Batch = 0x08,
    /// An item of the base layer's queue.
    QueueItem = 0x09,
    /// The chunks of a batch in blobs: their count and the blobs' hashes.
    BlobChunks = 0x0a,
    /// The canonical bytes of a job spec.
    Spec = 0x0b,
    /// A training's state after a step (a leaf of its trace).
    TrainingState = 0x0c,
    /// What an operator of a training made (the same).
    Outputs = 0x0d,
    /// Where a training's numbers ran away (the same).
    Wild = 0x0e,
    /// What a training returned (the same).
    Returned = 0x0f,
}

/// keccak-256 of `parts`, one after another.
pub fn keccak(parts: &[&[u8]]) -> Keccak {
    let mut hasher = Keccak256::new();
    for part in parts {
        hasher.update(part);
    }
    Keccak(hasher.finalize().into())
}

/// keccak-256 of a tagged preimage.
pub fn tagged(tag: Tag, parts: &[&[u8]]) -> Keccak {
    let mut hasher = Keccak256::new();
    hasher.update([tag as u8]);
    for part in parts {
        hasher.update(part);
    }
    Keccak(hasher.finalize().into())
}

/// An inner node of every tree: `keccak(left ‖ right)`.
///
/// It needs no tag: it is the only preimage of exactly 64 bytes.
pub fn node(left: &Keccak, right: &Keccak) -> Keccak {
    keccak(&[&left.0, &right.0])
}

impl fmt::LowerHex for Keccak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keccak_agrees_with_the_known_hash_of_nothing() {
        assert_eq!(
            keccak(&[]).to_string(),
            "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
        );
    }

    #[test]
    fn parts_and_the_whole_hash_alike_and_a_tag_changes_it() {
        assert_eq!(keccak(&[b"ab", b"c"]), keccak(&[b"abc"]));
        assert_eq!(tagged(Tag::Job, &[b"abc"]), keccak(&[&[0x02], b"abc"]));
        assert_ne!(tagged(Tag::Job, &[b"abc"]), tagged(Tag::Account, &[b"abc"]));
    }
}
