//! Chunks in blobs (EIP-4844): the second place where a batch's bytes may stand. The twin in Solidity is `Blobs`.
//!
//! A blob is 4,096 field elements of 32 bytes, of which the low 31 count here: the highest is written as 0 and not
//! read. A chunk is 8 of them, 248 bytes: `state root after it 32 ‖ credits declared before it u32 ‖ declared u8 ‖
//! length u8 ‖ ops`. Chunks fill the blobs in order, 512 a blob; how many there are, the posting call says. Any blob is
//! readable: a length over the room is read as the room, and what follows the ops means nothing.
//!
//! Posting checks nothing of it. So a chunk also states how many credits come before it: wrong counts are then seen in
//! two chunks side by side, and proven (`fraud::misfit`).

use core::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hash::{Keccak, Tag, tagged};
use crate::ledger::batch::Chunk;

/// Bytes of a blob.
pub const BLOB_BYTES: usize = 131_072;
/// Blobs that one transaction carries at most (osaka's rules).
pub const BLOBS_MAX: usize = 6;
/// Chunks in a blob.
pub const BLOB_CHUNKS: usize = 512;
/// Bytes of ops in such a chunk.
pub const BLOB_OPS_BYTES_MAX: usize = 210;
/// Field elements of a chunk.
pub const CHUNK_ELEMENTS: usize = 8;
/// Gas of a blob, at the blob base fee.
pub const BLOB_GAS: u64 = 131_072;

const ELEMENT_BYTES: usize = 32;
const USED_BYTES: usize = 31;
const HEAD_BYTES: usize = 38;
const CONTENT_BYTES: usize = HEAD_BYTES + BLOB_OPS_BYTES_MAX;
/// The order of the field, big-endian: elements are below it.
const MODULUS: [u8; 32] = [
    0x73, 0xed, 0xa7, 0x53, 0x29, 0x9d, 0x7d, 0x48, 0x33, 0x39, 0xd8, 0x08, 0x09, 0xa1, 0xd8, 0x05, 0x53,
    0xbd, 0xa4, 0x02, 0xff, 0xfe, 0x5b, 0xfe, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x01,
];

/// What the base layer knows a blob by: a hash of its KZG commitment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VersionedHash(pub [u8; 32]);

crate::ids::hex_text!(VersionedHash, 32);

/// The bytes of a blob, all elements below the field's order. Clones share them.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob(Arc<[u8]>);

/// Why bytes are no blob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// Too many or too few.
    #[error("a blob has {BLOB_BYTES} bytes, not {got}")]
    Length {
        /// How many there are.
        got: usize,
    },
    /// A number that is not in the field.
    #[error("element {index} of the blob is not below the field's order")]
    Element {
        /// The first such.
        index: usize,
    },
}

impl Blob {
    /// Reads a blob.
    pub fn new(bytes: &[u8]) -> Result<Self, BlobError> {
        if bytes.len() != BLOB_BYTES {
            return Err(BlobError::Length { got: bytes.len() });
        }
        match bytes.chunks_exact(ELEMENT_BYTES).position(|element| element >= &MODULUS[..]) {
            Some(index) => Err(BlobError::Element { index }),
            None => Ok(Self(bytes.into())),
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The chunk at `place`, below [`BLOB_CHUNKS`], and the credits that it says come before it.
    fn chunk(&self, place: usize) -> StatedChunk {
        let mut content = [0; CONTENT_BYTES];
        let elements = self.0[place * CHUNK_ELEMENTS * ELEMENT_BYTES..].chunks_exact(ELEMENT_BYTES);
        for (used, element) in content.chunks_exact_mut(USED_BYTES).zip(elements) {
            used.copy_from_slice(&element[1..]);
        }
        let (head, ops) = content.split_at(HEAD_BYTES);
        let (post_root, rest) = head.split_first_chunk().expect("38 bytes hold 32");
        let (first_credit, rest) = rest.split_first_chunk().expect("6 bytes hold 4");
        let length = usize::from(rest[1]).min(BLOB_OPS_BYTES_MAX);
        StatedChunk {
            first_credit: u32::from_be_bytes(*first_credit),
            chunk: Chunk { bytes: ops[..length].to_vec(), declared: rest[0], post_root: Keccak(*post_root) },
        }
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Blob(…)")
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes = <Vec<u8>>::deserialize(from)?;
        Self::new(&bytes).map_err(serde::de::Error::custom)
    }
}

/// A chunk, and how many credits it says come before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatedChunk {
    /// The credits before it.
    pub first_credit: u32,
    /// The chunk.
    pub chunk: Chunk,
}

/// A batch's bytes in blobs, with what its posting call says of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InBlobs {
    /// Chunks there are.
    pub count: u32,
    /// Credits in them.
    pub credits: u32,
    /// What the posting transaction names the blobs by.
    pub hashes: Vec<VersionedHash>,
    /// The blobs; whoever fetched them has compared them with the hashes. Where one was not to be had, those before it.
    pub blobs: Vec<Blob>,
}

impl InBlobs {
    /// The chunks. Where `count` is over what the blobs hold, which no posting call can say, the rest is missing.
    pub fn chunks(&self) -> Vec<StatedChunk> {
        let places = self.blobs.iter().flat_map(|blob| (0..BLOB_CHUNKS).map(move |place| blob.chunk(place)));
        places.take(self.count as usize).collect()
    }

    /// What the contract binds: the number of chunks and the blobs.
    pub fn root(&self) -> Keccak {
        root(self.count, &self.hashes)
    }
}

/// The commitment to `count` chunks in the blobs with these hashes.
pub fn root(count: u32, hashes: &[VersionedHash]) -> Keccak {
    let hashes: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
    tagged(Tag::BlobChunks, &[&count.to_be_bytes(), &hashes])
}

/// How many blobs so many chunks take.
pub const fn blobs_of(chunks: usize) -> usize {
    chunks.div_ceil(BLOB_CHUNKS)
}

/// Whether these chunks can stand in one transaction's blobs.
pub fn fit(chunks: &[Chunk]) -> bool {
    !chunks.is_empty()
        && blobs_of(chunks.len()) <= BLOBS_MAX
        && chunks.iter().all(|chunk| chunk.bytes.len() <= BLOB_OPS_BYTES_MAX)
}

/// The blobs that carry these chunks.
///
/// # Panics
/// If a chunk's ops have over [`BLOB_OPS_BYTES_MAX`] bytes.
pub fn encode(chunks: &[Chunk]) -> Vec<Blob> {
    let mut credits = 0;
    let stated = chunks.iter().map(|chunk| {
        let first_credit = credits;
        credits += u32::from(chunk.declared);
        StatedChunk { first_credit, chunk: chunk.clone() }
    });
    encode_stated(&stated.collect::<Vec<_>>())
}

/// The same with whatever counts they state.
///
/// # Panics
/// If a chunk's ops have over [`BLOB_OPS_BYTES_MAX`] bytes.
pub fn encode_stated(chunks: &[StatedChunk]) -> Vec<Blob> {
    let blobs = chunks.chunks(BLOB_CHUNKS).map(|chunks| {
        let mut blob = vec![0; BLOB_BYTES];
        for (StatedChunk { first_credit, chunk }, place) in
            chunks.iter().zip(blob.chunks_exact_mut(CHUNK_ELEMENTS * ELEMENT_BYTES))
        {
            let length = chunk.bytes.len();
            assert!(length <= BLOB_OPS_BYTES_MAX, "a chunk of a blob has at most 210 bytes of ops");
            let mut content = Vec::with_capacity(CONTENT_BYTES);
            content.extend(chunk.post_root.0);
            content.extend(first_credit.to_be_bytes());
            content.push(chunk.declared);
            content.push(length as u8);
            content.extend(&chunk.bytes);
            for (used, element) in content.chunks(USED_BYTES).zip(place.chunks_exact_mut(ELEMENT_BYTES)) {
                element[1..=used.len()].copy_from_slice(used);
            }
        }
        Blob(blob.into())
    });
    blobs.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunk(length: usize, declared: u8) -> Chunk {
        Chunk { bytes: vec![7; length], declared, post_root: Keccak([length as u8; 32]) }
    }

    fn within(chunks: &[Chunk]) -> InBlobs {
        let (blobs, credits) = (encode(chunks), chunks.iter().map(|chunk| u32::from(chunk.declared)).sum());
        let hashes = vec![VersionedHash([1; 32]); blobs.len()];
        InBlobs { count: chunks.len() as u32, credits, hashes, blobs }
    }

    #[test]
    fn chunks_come_back_from_their_blobs_with_their_counts() {
        let chunks: Vec<_> = (0..BLOB_CHUNKS + 3).map(|at| chunk(at % 211, (at % 16) as u8)).collect();
        let posted = within(&chunks);
        assert_eq!(posted.blobs.len(), 2);
        let mut credits = 0;
        for (stated, chunk) in posted.chunks().iter().zip(&chunks) {
            assert_eq!((stated.first_credit, &stated.chunk), (credits, chunk));
            credits += u32::from(chunk.declared);
        }
        assert_eq!((posted.chunks().len(), credits), (chunks.len(), posted.credits));
        assert!(fit(&chunks) && !fit(&[]) && !fit(&[chunk(211, 0)]));
        assert!(!fit(&vec![chunk(1, 0); BLOBS_MAX * BLOB_CHUNKS + 1]));
    }

    #[test]
    fn what_is_no_blob_is_refused_in_words() {
        assert_eq!(Blob::new(&[0; 5]), Err(BlobError::Length { got: 5 }));
        let mut bytes = vec![0; BLOB_BYTES];
        bytes[64..96].copy_from_slice(&MODULUS);
        assert_eq!(Blob::new(&bytes), Err(BlobError::Element { index: 2 }));
        bytes[95] = 0;
        assert!(Blob::new(&bytes).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_elements_are_chunks(fill in prop::collection::vec(any::<u8>(), 256), count in 0u32..600) {
            let mut bytes: Vec<u8> = fill.iter().copied().cycle().take(BLOB_BYTES).collect();
            bytes.iter_mut().step_by(ELEMENT_BYTES).for_each(|high| *high %= 0x73);
            let blob = Blob::new(&bytes).unwrap();
            let posted = InBlobs { count, credits: 0, hashes: vec![], blobs: vec![blob] };
            let chunks = posted.chunks();
            prop_assert_eq!(chunks.len(), (count as usize).min(BLOB_CHUNKS));
            for stated in &chunks {
                prop_assert!(stated.chunk.bytes.len() <= BLOB_OPS_BYTES_MAX);
            }
            // What the highest bytes and the rooms' ends say is lost, and nothing else.
            let again = InBlobs { blobs: encode_stated(&chunks), ..posted.clone() };
            prop_assert_eq!(again.chunks(), chunks);
        }
    }
}
