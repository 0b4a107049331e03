//! Fraud proofs: what makes the contract look into a batch and see for itself that it is wrong.
//!
//! A batch can lie in few ways only, since any bytes are valid ops. A chunk's posted root may not be where its bytes
//! lead: a [`ChunkFraud`] opens that chunk and carries what its ops read of the state. A leaf of the results tree may
//! not be about its credit: a [`ResultFraud`] opens the leaf and the chunk with the credit. In blobs, whose bytes the
//! contract never sees, the chunks may not fit together: a [`Misfit`] opens one beside the one before it.
//!
//! | file | holds |
//! | --- | --- |
//! | `fraud.rs` | the first wrong chunk, and its proof |
//! | [`witness`] | what a chunk's ops read, in the order in which they read it |
//! | [`results`] | the first wrong result, and its proof |

mod results;
mod witness;

use core::fmt;

use serde::Serialize;

use crate::hash::{Keccak, keccak};
use crate::ids::Address;
use crate::ledger::batch::{Chunk, chunks_tree};
use crate::ledger::blob::{BLOB_CHUNKS, Blob, StatedChunk, VersionedHash};
use crate::ledger::derive::{Deriver, PostedBatch};
use crate::ledger::state::StateParts;
use crate::merkle::Proof;
use crate::sign::eip712::{address_word, word};

pub(super) use results::first_wrong;
pub use results::{ResultFraud, ResultOpening, wrong_result};
pub use witness::{Witness, replay};

/// One chunk of a posted batch with the proof that it stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkOpening {
    /// Its place in the batch, from 0.
    pub index: u32,
    /// Chunks in the batch.
    pub count: u32,
    /// The root before it, as posted.
    pub pre_root: Keccak,
    /// Credits that the chunks before it declare.
    pub first_credit: u32,
    /// The chunk, with the root after it as posted.
    pub chunk: Chunk,
    /// What binds it to the batch's chunks root.
    pub stand: Stand,
}

/// Where a chunk stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// In calldata: from its leaf to the root of the chunk tree.
    Tree(Proof),
    /// In blobs.
    Blobs {
        /// What the batch's blobs are known by.
        hashes: Vec<VersionedHash>,
        /// The blob that holds it.
        own: Blob,
        /// The blob that holds the chunk before it; `None` for the first.
        before: Option<Blob>,
    },
}

/// That a batch in blobs does not fit together where the contract would have refused a payload: a chunk does not count
/// on from those before it, or the last one does not end as was stated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The commitment of the batch.
    pub commitment: Keccak,
    /// The chunk.
    pub opening: ChunkOpening,
}

impl Misfit {
    /// What whoever proves it commits to in an earlier block: what the chunk says, which only who has read it knows.
    pub fn subject(&self) -> Keccak {
        let opening = &self.opening;
        let (index, first) = (word(opening.index.into()), word(opening.first_credit.into()));
        keccak(&[&self.commitment.0, &index, &opening.chunk.post_root.0, &first])
    }
}

/// That a chunk was posted with a root to which its bytes do not lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkFraud {
    /// The commitment of the batch.
    pub commitment: Keccak,
    /// The chunk.
    pub opening: ChunkOpening,
    /// The state before it.
    pub pre: StateParts,
    /// What its ops read of that state.
    pub witness: Witness,
    /// The state to which it leads.
    pub post: StateParts,
}

impl ChunkFraud {
    /// What whoever proves the fraud commits to in an earlier block. The right root is part of it, so only who applied
    /// the chunk can commit, and a commitment to every batch in advance is worth nothing.
    pub fn subject(&self) -> Keccak {
        let index = word(self.opening.index.into());
        keccak(&[&self.commitment.0, &index, &self.post.root().0])
    }
}

/// A proof that a posted batch is wrong, of whichever kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fraud {
    /// A chunk does not lead to its root.
    Chunk(Box<ChunkFraud>),
    /// A chunk in a blob does not go on from the one before it, or does not end as the batch says.
    Misfit(Box<Misfit>),
    /// A result is not about its credit.
    Result(Box<ResultFraud>),
}

impl Fraud {
    /// What a batch's bytes show to be wrong; `None` if nothing is. `deriver` must hold the state before the batch, as
    /// it does after [`Deriver::batch`] found the fault.
    pub fn of(deriver: &Deriver, posted: &PostedBatch) -> Option<Self> {
        let in_chunk = wrong_chunk(deriver, posted).map(|fraud| Self::Chunk(Box::new(fraud)));
        in_chunk.or_else(|| misfit(posted).map(|misfit| Self::Misfit(Box::new(misfit))))
    }

    /// The commitment of the batch.
    pub const fn commitment(&self) -> Keccak {
        match self {
            Self::Chunk(fraud) => fraud.commitment,
            Self::Misfit(misfit) => misfit.commitment,
            Self::Result(fraud) => fraud.commitment,
        }
    }

    /// What of the batch is wrong.
    pub const fn part(&self) -> Part {
        match self {
            Self::Chunk(fraud) => Part::Chunk(fraud.opening.index),
            Self::Misfit(misfit) => Part::Misfit(misfit.opening.index),
            Self::Result(fraud) => Part::Result(fraud.result.index),
        }
    }

    /// What whoever proves it commits to in an earlier block.
    pub fn subject(&self) -> Keccak {
        match self {
            Self::Chunk(fraud) => fraud.subject(),
            Self::Misfit(misfit) => misfit.subject(),
            Self::Result(fraud) => fraud.subject(),
        }
    }
}

/// The part of a batch that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// A chunk does not lead to its root.
    Chunk(u32),
    /// A chunk in a blob does not go on from the one before it, or does not end as the batch says.
    Misfit(u32),
    /// A result is not about its credit.
    Result(u32),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chunk(index) => write!(f, "chunk {index}"),
            Self::Misfit(index) => write!(f, "the fit of chunk {index}"),
            Self::Result(index) => write!(f, "result {index}"),
        }
    }
}

/// The commitment that earns the whole reward for proving `subject` in a later block: nobody can read from it what will
/// be proven, and nobody else can use it.
pub fn challenge_hash(subject: Keccak, beneficiary: Address, salt: &[u8; 32]) -> Keccak {
    keccak(&[&subject.0, &address_word(beneficiary), salt])
}

/// The proof against the first wrong chunk of a posted batch; `None` if every chunk leads to its root, or if the batch
/// does not build on the deriver's state.
///
/// `deriver` must hold the state before the batch, as it does after [`Deriver::batch`] found the fault.
pub fn wrong_chunk(deriver: &Deriver, posted: &PostedBatch) -> Option<ChunkFraud> {
    let chunks = posted.chunks().ok()?;
    let context = deriver.context(posted).ok()?;
    let mut state = deriver.state().clone();
    for (index, StatedChunk { chunk, .. }) in chunks.iter().enumerate() {
        let pre = state.parts();
        let witness = replay(&mut state, &chunk.bytes, chunk.declared, &context);
        let post = state.parts();
        if post.root() != chunk.post_root {
            let (commitment, opening) = (posted.expected_commitment().ok()?, open(posted, index)?);
            return Some(ChunkFraud { commitment, opening, pre, witness, post });
        }
    }
    None
}

/// The proof that a batch in blobs does not fit together; `None` if it does, or if it is not in blobs.
pub fn misfit(posted: &PostedBatch) -> Option<Misfit> {
    let blobs = posted.blobs.as_ref()?;
    let chunks = blobs.chunks();
    let mut credits = 0;
    let last = (blobs.count as usize).checked_sub(1)?;
    let index = chunks.iter().enumerate().position(|(index, StatedChunk { first_credit, chunk })| {
        let counts_on = *first_credit == credits;
        credits += u32::from(chunk.declared);
        let ends = chunk.post_root == posted.header.post.root() && credits == blobs.credits;
        !counts_on || (index == last && !ends)
    })?;
    Some(Misfit { commitment: posted.expected_commitment().ok()?, opening: open(posted, index)? })
}

/// Opens chunk `index` of a batch; `None` if there are fewer.
pub(in crate::ledger) fn open(posted: &PostedBatch, index: usize) -> Option<ChunkOpening> {
    let stated = posted.chunks().ok()?;
    let StatedChunk { first_credit, chunk } = stated.get(index)?.clone();
    let before = index.checked_sub(1);
    let pre_root = posted.header.pre_root;
    let place = u32::try_from(index).ok()?;
    let stand = match &posted.blobs {
        None => {
            let chunks: Vec<_> = stated.iter().map(|stated| stated.chunk.clone()).collect();
            Stand::Tree(chunks_tree(pre_root, &chunks).proof(place)?)
        }
        Some(blobs) => {
            let holding = |index: usize| blobs.blobs.get(index / BLOB_CHUNKS).cloned();
            Stand::Blobs {
                hashes: blobs.hashes.clone(),
                own: holding(index)?,
                before: before.and_then(holding),
            }
        }
    };
    Some(ChunkOpening {
        index: place,
        count: posted.blobs.as_ref().map_or(u32::try_from(stated.len()).ok()?, |blobs| blobs.count),
        pre_root: before.map_or(pre_root, |before| stated[before].chunk.post_root),
        first_credit,
        chunk,
        stand,
    })
}
