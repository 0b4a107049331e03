//! The ledger: who is owed what, and how anyone can check it from what stands on the base layer.
//!
//! | file | holds |
//! | --- | --- |
//! | [`state`] | accounts, jobs, counters; the two sparse trees; state proofs |
//! | [`queue`] | what requesters did on the base layer, as a hash chain |
//! | [`op`] | the operations and their bytes |
//! | [`apply`] | the total transition function |
//! | [`batch`] | chunks, payload, header, commitment |
//! | [`builder`] | the sealer: work into a batch |
//! | [`derive`] | the auditor: a batch back into state |
//! | [`results`] | the results tree |
//! | [`share`] | how a settlement's reward is divided |
//!
//! `docs/LEDGER.md` tells it in prose; `protocol/vectors/` holds golden cases that Solidity reads too.

pub mod apply;
pub mod batch;
pub mod builder;
pub mod derive;
pub mod op;
pub mod queue;
pub mod results;
pub mod share;
pub mod state;
#[cfg(test)]
mod tests;

pub use apply::{AppliedChunk, Context, Deployment, Effect, NoOp, OpOutcome, apply_chunk, approval_digest};
pub use batch::{Batch, BatchHeader, BatchMode, Chunk, FramingError};
pub use builder::{BatchBuilder, BatchStart, Progress, SealError, Settlement, SettlementCredit};
pub use derive::{Deriver, Fault, PostedBatch, ResultsFault, Verdict};
pub use op::{Approval, Credit, Credits, Op, parse_chunk};
pub use queue::{Queue, QueueAction, QueueItem};
pub use results::ResultLeaf;
pub use state::{Account, Job, JobKind, State, StateParts, StateProof, Terms};
