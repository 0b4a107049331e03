//! A results tree that is not about its batch's credits.

use super::{ChunkOpening, open};
use crate::hash::{Keccak, keccak};
use crate::ids::JobId;
use crate::ledger::batch::Chunk;
use crate::ledger::derive::PostedBatch;
use crate::ledger::op::{Credit, Op, parse_chunk};
use crate::ledger::results::{ResultLeaf, results_root, results_tree};
use crate::merkle::Proof;
use crate::sign::eip712::word;

/// One leaf of a batch's results tree with the proof that it stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultOpening {
    /// Its place, from 0.
    pub index: u32,
    /// Leaves in the tree.
    pub count: u32,
    /// The leaf.
    pub leaf: ResultLeaf,
    /// From the leaf to the root of the results tree.
    pub proof: Proof,
}

/// That leaf i of a batch's results tree is not about the batch's credit i, or that there is no such credit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultFraud {
    /// The commitment of the batch.
    pub commitment: Keccak,
    /// The chunk that declares the credit; any chunk if the number of leaves alone is wrong.
    pub opening: ChunkOpening,
    /// The leaf.
    pub result: ResultOpening,
}

impl ResultFraud {
    /// What whoever proves the fraud commits to in an earlier block. The leaf's hash is part of it: only who was shown
    /// the results knows it.
    pub fn subject(&self) -> Keccak {
        let index = word(self.result.index.into());
        keccak(&[&self.commitment.0, &index, &self.result.leaf.hash(self.result.index).0])
    }
}

/// The proof against the first wrong leaf of a batch's results; `None` if all are about their credits, or if `leaves`
/// are not what the batch committed to. A batch without a chunk cannot be opened; one that commits to no leaf for its
/// credits is refused when it is posted.
pub fn wrong_result(posted: &PostedBatch, leaves: &[ResultLeaf]) -> Option<ResultFraud> {
    let tree = results_tree(leaves).ok()?;
    if results_root(&tree) != posted.header.results_root {
        return None;
    }
    let chunks: Vec<_> = posted.chunks().ok()?.into_iter().map(|stated| stated.chunk).collect();
    let (index, chunk) = first_wrong(&chunks, leaves)?;
    let place = u32::try_from(index).ok()?;
    let leaf = *leaves.get(index)?;
    let result = ResultOpening { index: place, count: tree.count(), leaf, proof: tree.proof(place)? };
    let opening = open(posted, chunk)?;
    Some(ResultFraud { commitment: posted.expected_commitment().ok()?, opening, result })
}

/// The first leaf that is not about its credit, and the chunk that declares the credit.
pub(in crate::ledger) fn first_wrong(chunks: &[Chunk], leaves: &[ResultLeaf]) -> Option<(usize, usize)> {
    let declared: usize = chunks.iter().map(|chunk| usize::from(chunk.declared)).sum();
    if leaves.len() != declared {
        return Some((0, 0));
    }
    let mut first = 0;
    for (at, chunk) in chunks.iter().enumerate() {
        let credits = credits_of(chunk);
        for place in 0..usize::from(chunk.declared) {
            let leaf = leaves.get(first + place)?;
            let about = credits.get(place);
            if !about.is_some_and(|(job, settlement, credit)| leaf.is_about(*job, *settlement, credit)) {
                return Some((first + place, at));
            }
        }
        first += usize::from(chunk.declared);
    }
    None
}

/// A chunk's credits in their order, whether or not they hold.
fn credits_of(chunk: &Chunk) -> Vec<(JobId, u32, Credit)> {
    let mut credits = Vec::new();
    for op in parse_chunk(&chunk.bytes).ops {
        if let Op::Credits(op) = op {
            credits.extend(op.credits.iter().map(|credit| (op.job, op.settlement, *credit)));
        }
    }
    credits
}
