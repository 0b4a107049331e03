//! A receipt is accepted only for an assignment that really reached its worker, and at the spec's price.

use protocol::ids::TaskId;
use protocol::job::Work;

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
    let ended = oracle.ended.get(&nonce);
    require(ended.is_none(), PROPERTY, || format!("task {task} is accepted after it was {ended:?}"))?;
    require(!oracle.closed.contains(&(task.job, task.settlement)), PROPERTY, || {
        format!("task {task} is accepted after its settlement closed")
    })?;
    let price = oracle.spec(task.job).map(|spec| match &spec.work {
        Work::Train(_) => (spec.price, accepted.examples > 0),
        Work::Infer(infer) => {
            let at = (task.settlement * infer.group_tasks + task.slot) as usize;
            let items = infer.inputs.get(at).map_or(0, |input| u64::from(input.items));
            (spec.price * items, accepted.examples == items)
        }
    });
    require(price == Some((accepted.owed, true)), PROPERTY, || {
        format!(
            "task {task} earns {} for {} examples, its price is {price:?}",
            accepted.owed, accepted.examples
        )
    })
}
