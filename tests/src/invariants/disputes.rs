//! Whoever came to the right result does not lose a dispute, no verdict falls without a transcript that shows it, and
//! where every result is run again no wrong one is accepted.

use coordinator::core::Transcript;
use protocol::dispute::{Party, Verdict};
use protocol::hash::Digest;
use protocol::ids::TaskId;
use protocol::job::Receipt;

use super::{Checked, require};
use crate::oracle::{Accepted, Oracle};
use crate::sim::actors::tasks::result_of;

/// The property's name.
pub const PROPERTY: &str = "the right result wins its dispute";

/// A transcript is kept.
///
/// # Errors
/// If its verdict is against the coordinator, which runs tasks rightly here, or its task was never assigned.
pub fn kept(oracle: &Oracle, transcript: &Transcript) -> Checked {
    let Transcript { terms, verdict, .. } = transcript;
    require(oracle.assigned.contains_key(&terms.nonce), PROPERTY, || {
        format!("a dispute over task {}, which nobody has", terms.task)
    })?;
    let worker_lost = verdict.is_against(Party::Worker) && *verdict != Verdict::BothWrong;
    require(worker_lost, PROPERTY, || format!("task {}: {verdict:?}", terms.task))
}

/// A receipt whose answers were refused is kept.
///
/// # Errors
/// If its answers are right.
pub fn refused(oracle: &Oracle, receipt: &Receipt) -> Checked {
    require(right(oracle, receipt.task) != Some(receipt.result), PROPERTY, || {
        format!("the right answers to task {} are refused", receipt.task)
    })
}

/// A receipt has been accepted.
///
/// # Errors
/// If its result is wrong, although every result of its job is run again.
pub fn accepted(oracle: &Oracle, task: TaskId, accepted: &Accepted) -> Checked {
    let checked = oracle.spec(task.job).is_some_and(|spec| spec.checks.rate_bps == 10_000);
    require(!checked || right(oracle, task) == Some(accepted.result), PROPERTY, || {
        format!("task {task}, whose every result is run again, is accepted with a wrong one")
    })
}

/// What a task comes to, if anybody but its worker can know.
fn right(oracle: &Oracle, task: TaskId) -> Option<Digest> {
    let (opened, place) = oracle.round_of(task)?;
    let base = oracle.bases.get(&(task.job, opened.round)).copied().unwrap_or(Digest([0; 32]));
    result_of(&oracle.spec(task.job)?.work.task(opened.round, place, base)?)
}
