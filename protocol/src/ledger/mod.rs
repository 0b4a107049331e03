//! The ledger: who is owed what, and how anyone can check it from what stands on the base layer.
//!
//! | file | holds |
//! | --- | --- |
//! | [`state`] | accounts, jobs, counters; the two sparse trees; state proofs |
//! | [`queue`] | what requesters did on the base layer, as a hash chain |
//! | [`op`] | the operations and their bytes |
//! | [`apply`], [`outcome`] | the total transition function, and what became of each op |
//! | [`batch`] | chunks, payload, header, commitment |
//! | [`blob`] | the same chunks in blobs |
//! | [`builder`] | the sealer: work into a batch |
//! | [`derive`] | the auditor: a batch back into state |
//! | [`fraud`] | what shows the contract that a batch is wrong |
//! | [`results`] | the results tree |
//! | [`omission`] | whether a promise was kept, and the proof if not |
//! | [`share`] | how a settlement's reward is divided |
//!
//! `docs/LEDGER.md` tells it in prose; `protocol/vectors/` holds golden cases that Solidity reads too.

pub mod apply;
pub mod batch;
pub mod blob;
pub mod builder;
pub mod derive;
pub mod fraud;
pub mod omission;
pub mod op;
pub mod outcome;
pub mod queue;
pub mod results;
pub mod share;
pub mod state;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub use apply::{AppliedChunk, Context, Deployment, apply_chunk, approval_digest};
pub use batch::{Batch, BatchHeader, BatchMode, Chunk, FramingError};
pub use blob::{Blob, InBlobs, VersionedHash};
pub use builder::{BatchBuilder, BatchStart, Progress, SealError, Settlement, SettlementCredit};
pub use derive::{Deriver, Fault, Point, PostedBatch, ResultsFault, Verdict};
pub use op::{Approval, Credit, Credits, Op, parse_chunk};
pub use outcome::{Effect, NoOp, OpOutcome};
pub use queue::{Queue, QueueAction, QueueItem};
pub use results::ResultLeaf;
pub use state::{Account, Job, JobKind, State, StateParts, StateProof, Terms};
