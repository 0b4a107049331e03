//! Fraud proofs: what makes the contract look into a batch and see for itself that it is wrong.
//!
//! A batch can lie in two ways only, since any bytes are valid ops. A chunk's posted root may not be where its bytes
//! lead: a [`ChunkFraud`] opens that chunk and carries what its ops read of the state. A leaf of the results tree may
//! not be about its credit: a [`ResultFraud`] opens the leaf and the chunk with the credit.
//!
//! | file | holds |
//! | --- | --- |
//! | `fraud.rs` | the first wrong chunk, and its proof |
//! | [`witness`] | what a chunk's ops read, in the order in which they read it |
//! | [`results`] | the first wrong result, and its proof |

mod results;
mod witness;

use crate::hash::{Keccak, keccak};
use crate::ids::Address;
use crate::ledger::batch::{BatchMode, Chunk, chunks_tree, decode_payload, summarise};
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
    /// From its leaf to the root of the chunk tree.
    pub proof: Proof,
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
    let chunks = decode_payload(&posted.payload).ok()?;
    let context = deriver.context(posted).ok()?;
    let mut state = deriver.state().clone();
    for (index, chunk) in chunks.iter().enumerate() {
        let pre = state.parts();
        let witness = replay(&mut state, &chunk.bytes, chunk.declared, &context);
        let post = state.parts();
        if post.root() != chunk.post_root {
            let opening = open(posted.header.pre_root, &chunks, index)?;
            return Some(ChunkFraud { commitment: commitment(posted, &chunks), opening, pre, witness, post });
        }
    }
    None
}

/// Opens chunk `index` of a batch that starts at `pre_root`; `None` if there are fewer.
pub(in crate::ledger) fn open(pre_root: Keccak, chunks: &[Chunk], index: usize) -> Option<ChunkOpening> {
    let chunk = chunks.get(index)?.clone();
    let before = &chunks[..index];
    let tree = chunks_tree(pre_root, chunks);
    let index = u32::try_from(index).ok()?;
    Some(ChunkOpening {
        index,
        count: tree.count(),
        pre_root: before.last().map_or(pre_root, |chunk| chunk.post_root),
        first_credit: before.iter().map(|chunk| u32::from(chunk.declared)).sum(),
        chunk,
        proof: tree.proof(index)?,
    })
}

fn commitment(posted: &PostedBatch, chunks: &[Chunk]) -> Keccak {
    let summary = summarise(posted.header.pre_root, chunks);
    posted.header.commitment(posted.proposer, &summary, BatchMode::Calldata)
}
