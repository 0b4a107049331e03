//! What it takes to run a task again stays until its credit is final.

use std::collections::{BTreeMap, BTreeSet};

use coordinator::core::batches::SealedBatch;
use protocol::hash::Digest;
use protocol::ids::JobId;
use protocol::job::{TaskWork, Work};
use protocol::ledger::{Op, parse_chunk};

use super::{Checked, require};
use crate::oracle::Oracle;

const PROPERTY: &str = "what a task can be run again from stays until its credit is final";

/// Which settlements batches close, and which of them are final.
#[derive(Debug, Default)]
pub struct Credited {
    by_batch: BTreeMap<u64, Vec<(JobId, u32)>>,
    is_final: BTreeSet<(JobId, u32)>,
}

impl Credited {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { by_batch: BTreeMap::new(), is_final: BTreeSet::new() }
    }

    /// A batch was sealed, or has taken the place of one.
    pub fn sealed(&mut self, batch: &SealedBatch) {
        let ops = batch.chunks.iter().flat_map(|chunk| parse_chunk(&chunk.bytes).ops);
        let closed = ops.filter_map(|op| match op {
            Op::Credits(group) => group.last.then_some((group.job, group.settlement)),
            Op::Register { .. } | Op::Queue { .. } => None,
        });
        self.by_batch.insert(batch.header.number.0, closed.collect());
    }

    /// A batch, and all before it, is final.
    pub fn finalised(&mut self, number: u64) {
        self.is_final.extend(self.by_batch.range(..=number).flat_map(|(_, closed)| closed));
    }
}

/// A blob is thrown away.
///
/// # Errors
/// If a task whose credit is not final needs it.
pub fn discarded(oracle: &Oracle, digest: &Digest) -> Checked {
    for (task, accepted) in &oracle.accepted {
        if oracle.credited.is_final.contains(&(task.job, task.settlement)) {
            continue;
        }
        let is_result = accepted.result == *digest;
        let spec = oracle.spec(task.job).map(|spec| &spec.work);
        let place = oracle.round_of(*task).filter(|_| matches!(spec, Some(Work::Train(_))));
        let base = place.and_then(|(opened, _)| oracle.bases.get(&(task.job, opened.round)));
        let shard =
            place.zip(spec).and_then(|((opened, place), work)| work.task(opened.round, place, *digest));
        let shard = shard.map_or(Vec::new(), |work: TaskWork| work.blobs().split_off(1));
        require(!is_result && base != Some(digest) && !shard.contains(digest), PROPERTY, || {
            format!("{digest} is thrown away, and task {task} needs it")
        })?;
    }
    Ok(())
}
