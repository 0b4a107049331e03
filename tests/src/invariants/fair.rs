//! Nobody loses a task without a cause: its worker declined it, was gone for too long, or took too long.

use coordinator::core::Outcome;
use protocol::ids::{Nonce, TaskId, WorkerId};
use protocol::job::Work;
use protocol::time::Millis;

use super::{Checked, Violation, require};
use crate::oracle::Oracle;

const PROPERTY: &str = "nobody loses a task without a cause";

/// An assignment has ended without a receipt.
///
/// # Errors
/// If there was no cause.
pub fn ended(oracle: &Oracle, at: Millis, task: TaskId, nonce: Nonce, outcome: Outcome) -> Checked {
    let Some((_, worker)) = oracle.assigned.get(&nonce).copied() else {
        return require(false, PROPERTY, || format!("task {task} ends under a nonce that was never given"));
    };
    match outcome {
        Outcome::Declined if oracle.drawn.contains(&nonce) => {
            let found = format!("{worker:?} gave task {task} up once its result was being run again");
            Err(Violation::new(PROPERTY, found))
        }
        Outcome::Declined => require(oracle.declined.contains(&(worker, task, nonce)), PROPERTY, || {
            format!("task {task} counts as declined by {worker:?}, who never said so")
        }),
        Outcome::Lost => {
            require(was_gone(oracle, worker, at) || took_too_long(oracle, task, nonce, at), PROPERTY, || {
                let link = oracle.links.get(&worker);
                format!(
                    "task {task} is taken from {worker:?} at {at}; its link: {link:?}, started: {}",
                    oracle.started
                )
            })
        }
        Outcome::Rejected | Outcome::Cancelled => Ok(()),
    }
}

fn was_gone(oracle: &Oracle, worker: WorkerId, at: Millis) -> bool {
    let patient = at >= oracle.started.plus(oracle.reconnect_grace_ms);
    match oracle.links.get(&worker) {
        // What came after the decision does not count against it.
        Some((_, since)) if *since >= at => true,
        Some((true, _)) => false,
        Some((false, since)) => patient && at >= since.plus(oracle.reconnect_grace_ms),
        None => patient,
    }
}

/// A round's clock starts when it opens, an inference task's when it is handed out; a restart gives time to come back.
fn took_too_long(oracle: &Oracle, task: TaskId, nonce: Nonce, at: Millis) -> bool {
    let Some(spec) = oracle.spec(task.job) else { return false };
    let (since, time_ms) = match &spec.work {
        Work::Train(train) => (oracle.round_of(task).map(|(opened, _)| opened.at), train.round.deadline_ms),
        Work::Infer(infer) => (oracle.given_at.get(&nonce).copied(), infer.deadline_ms),
    };
    let Some(since) = since else { return false };
    let back = if since < oracle.started { oracle.started.plus(oracle.reconnect_grace_ms) } else { since };
    at >= since.plus(time_ms) && at >= back
}
