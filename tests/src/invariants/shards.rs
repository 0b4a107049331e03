//! A round has no shard twice: nobody is given one that it has an update of, and nobody is given one twice at a time.

use std::collections::BTreeSet;

use protocol::hash::Digest;
use protocol::ids::{JobId, TaskId, WorkerId};
use protocol::job::{TaskData, Work};

use super::{Checked, require};
use crate::oracle::Oracle;

const PROPERTY: &str = "no shard is in a round twice";

/// The round and the shard of a task.
fn shard_of(oracle: &Oracle, task: TaskId) -> Option<(u32, Digest)> {
    let Work::Train(train) = &oracle.spec(task.job)?.work else { return None };
    let (opened, place) = oracle.round_of(task)?;
    match train.task_data(opened.round, place) {
        TaskData::Local(_) => None,
        TaskData::Shard(shard) => Some((opened.round, shard.digest)),
    }
}

/// A worker has been given a task on a shard.
///
/// # Errors
/// If the shard is done, or is the worker's already, or is at more workers than the spec asks.
pub fn assigned(oracle: &Oracle, task: TaskId, worker: WorkerId) -> Checked {
    let Some(own) = shard_of(oracle, task) else {
        return require(false, PROPERTY, || format!("task {task} is given out, and its round never began"));
    };
    let same = |other: &TaskId| other.job == task.job && shard_of(oracle, *other) == Some(own);
    let done = oracle.accepted.keys().any(same);
    require(!done, PROPERTY, || format!("task {task} is given out, and its shard is done"))?;
    let others: Vec<WorkerId> =
        oracle.live.values().filter(|(other, _)| same(other)).map(|(_, holder)| *holder).collect();
    require(!others.contains(&worker), PROPERTY, || {
        format!("{worker:?} is given the shard of {task} twice")
    })?;
    let over = match oracle.spec(task.job).map(|spec| &spec.work) {
        Some(Work::Train(train)) => train.round.over_select.div_ceil(train.round.workers),
        _ => 0,
    };
    require(others.len() as u32 <= over, PROPERTY, || {
        format!("the shard of {task} is at {} workers already, {over} may stand in", others.len())
    })
}

/// A round is done.
///
/// # Errors
/// If it has an update of one shard twice.
pub fn done(oracle: &Oracle, job: JobId, round: u32) -> Checked {
    let mut seen = BTreeSet::new();
    let accepted = oracle.accepted.keys().filter(|task| task.job == job);
    for (of, shard) in accepted.filter_map(|task| shard_of(oracle, *task)).filter(|(of, _)| *of == round) {
        require(seen.insert(shard.0), PROPERTY, || format!("round {of} of job {job} has {shard:?} twice"))?;
    }
    Ok(())
}
