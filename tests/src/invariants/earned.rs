//! A receipt is accepted only for an assignment that really reached its worker, for a result that this worker itself
//! sent, and at the spec's price.

use protocol::ids::{JobId, TaskId};
use protocol::job::{Task, TaskData, Work};

use super::{Checked, require};
use crate::oracle::{Accepted, Oracle};

const PROPERTY: &str = "only work that was handed out is owed for, at the spec's price";

/// A receipt has been accepted.
///
/// # Errors
/// If nobody should be paid for it, or another sum.
pub fn accepted(oracle: &Oracle, task: TaskId, accepted: &Accepted) -> Checked {
    let (nonce, worker) = (accepted.nonce, accepted.worker);
    let given = oracle.assigned.get(&nonce);
    require(given == Some(&(task, worker)), PROPERTY, || {
        format!("task {task} is accepted from {worker:?}, its nonce was given for {given:?}")
    })?;
    require(oracle.reached.contains(&(worker, task, nonce)), PROPERTY, || {
        format!("task {task} is accepted from {worker:?}, whom it never reached")
    })?;
    require(oracle.uploaded.contains(&(worker, accepted.result)), PROPERTY, || {
        format!("task {task} is accepted from {worker:?}, who never sent its result {}", accepted.result)
    })?;
    let ended = oracle.ended.get(&nonce);
    require(ended.is_none(), PROPERTY, || format!("task {task} is accepted after it was {ended:?}"))?;
    require(!oracle.closed.contains(&(task.job, task.settlement)), PROPERTY, || {
        format!("task {task} is accepted after its settlement closed")
    })?;
    let price = price(oracle, task);
    let counts = match price {
        Some((_, Some(items))) => accepted.examples == items,
        _ => accepted.examples > 0,
    };
    require(price.map(|(units, _)| units) == Some(accepted.owed) && counts, PROPERTY, || {
        format!(
            "task {task} earns {} for {} examples, its price is {price:?}",
            accepted.owed, accepted.examples
        )
    })
}

/// A worker is told what a task is worth.
///
/// # Errors
/// If the spec says otherwise.
pub fn told(oracle: &Oracle, task: &Task) -> Checked {
    let price = price(oracle, task.id).map(|(units, _)| units);
    require(price == Some(task.price) && is_spec_of(oracle, task.id.job, task), PROPERTY, || {
        format!(
            "task {} is offered for {} units under {:?}; the spec says {price:?}",
            task.id, task.price, task.spec
        )
    })
}

fn is_spec_of(oracle: &Oracle, job: JobId, task: &Task) -> bool {
    oracle.jobs.get(&job) == Some(&task.spec)
}

/// What the spec pays for a task, and how many items, or examples of a shard, it has, if it is of that kind.
fn price(oracle: &Oracle, task: TaskId) -> Option<(u64, Option<u64>)> {
    let spec = oracle.spec(task.job)?;
    match &spec.work {
        Work::Train(train) => {
            let (opened, place) = oracle.round_of(task)?;
            let examples = match train.task_data(opened.round, place) {
                TaskData::Local(_) => None,
                TaskData::Shard(shard) => Some(shard.examples.into()),
            };
            Some((spec.price, examples))
        }
        Work::Infer(infer) => {
            let items = u64::from(infer.inputs.get(oracle.input_of(task)?)?.items);
            Some((spec.price * items, Some(items)))
        }
    }
}
