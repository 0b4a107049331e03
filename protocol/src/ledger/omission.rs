//! Whether the ledger gave an account what its coordinator signed for, and the proof if it did not.
//!
//! A settlement's accounts ascend over all its chunks, and the job's leaf says how far it came. So there is one chunk
//! at most that goes past an account: what it credits to the account is all that the settlement ever will. The twin in
//! Solidity is `Omissions`; docs/decisions/0005 says why it is sound.

use crate::ids::{AccountIndex, JobId};
use crate::job::Acceptance;
use crate::ledger::apply::apply_chunk;
use crate::ledger::batch::Chunk;
use crate::ledger::derive::{Deriver, PostedBatch};
use crate::ledger::fraud::{ChunkOpening, open};
use crate::ledger::op::{Op, parse_chunk};
use crate::ledger::state::{Job, State, StateParts, StateProof};

/// Where a credit belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The job.
    pub job: JobId,
    /// Its settlement, from 0.
    pub settlement: u32,
    /// The account.
    pub account: AccountIndex,
}

impl From<&Acceptance> for Place {
    fn from(acceptance: &Acceptance) -> Self {
        Self { job: acceptance.job, settlement: acceptance.settlement, account: acceptance.account }
    }
}

impl Place {
    /// Whether the job has gone past this place: nothing will be credited there any more.
    pub const fn is_passed_by(self, job: &Job) -> bool {
        if job.next_settlement == self.settlement {
            job.open.last_account > self.account.0
        } else {
            job.next_settlement > self.settlement
        }
    }
}

/// A job as it stands in a state, opened from the state's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobInState {
    /// The preimage of the root.
    pub parts: StateParts,
    /// The job's number.
    pub id: JobId,
    /// Its leaf.
    pub job: Job,
    /// From the leaf to the jobs root.
    pub proof: StateProof,
}

impl JobInState {
    /// Opens a job; `None` if the state has no such job.
    pub fn open(state: &State, id: JobId) -> Option<Self> {
        Some(Self { parts: state.parts(), id, job: *state.job(id)?, proof: state.prove_job(id)? })
    }
}

/// The chunk in which a settlement went past an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The chunk.
    pub opening: ChunkOpening,
    /// The job before it.
    pub before: JobInState,
    /// The job after it.
    pub later: JobInState,
    /// Units that it credits to the account.
    pub credited: u64,
}

/// The chunk of a posted batch that goes past `place`; `None` if none does, or if the batch is not right up to there.
///
/// `deriver` must hold the state before the batch.
pub fn passage(deriver: &Deriver, posted: &PostedBatch, place: Place) -> Option<Passage> {
    let chunks: Vec<_> = posted.chunks().ok()?.into_iter().map(|stated| stated.chunk).collect();
    // Deriving a batch again is dear beside a look at its ops.
    chunks.iter().position(|chunk| names(chunk, place))?;
    let context = deriver.context(posted).ok()?;
    let mut state = deriver.state().clone();
    for (index, chunk) in chunks.iter().enumerate() {
        let before = JobInState::open(&state, place.job);
        apply_chunk(&mut state, &chunk.bytes, chunk.declared, &context);
        if state.root() != chunk.post_root {
            return None;
        }
        let Some(before) = before else { continue };
        if place.is_passed_by(&before.job) {
            return None;
        }
        let later = JobInState::open(&state, place.job)?;
        if place.is_passed_by(&later.job) {
            let opening = open(posted, index)?;
            let credited = credited_by(chunk, place);
            return Some(Passage { opening, before, later, credited });
        }
    }
    None
}

/// Whether a chunk may go past a place.
fn names(chunk: &Chunk, place: Place) -> bool {
    parse_chunk(&chunk.bytes).ops.iter().any(|op| {
        matches!(op, Op::Credits(credits) if (credits.job, credits.settlement) == (place.job, place.settlement))
    })
}

/// What the op that moved the job's leaf credits at `place`: the first that names the job, for job ids ascend.
fn credited_by(chunk: &Chunk, place: Place) -> u64 {
    let ops = parse_chunk(&chunk.bytes).ops;
    let first = ops.iter().find(|op| match op {
        Op::Credits(credits) => credits.job == place.job,
        Op::Queue { job } => *job == place.job,
        Op::Register { .. } => false,
    });
    let Some(Op::Credits(credits)) = first else { return 0 };
    credits.credits.iter().find(|credit| credit.account == place.account).map_or(0, |credit| credit.amount)
}
