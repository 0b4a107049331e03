//! Tasks go to workers that can do them, as many as they have slots for; a round takes one update a worker, or one a
//! shard, as many as the spec wants and no fewer than its quorum.

use protocol::ids::{JobId, TaskId, WorkerId};
use protocol::job::{Task, TaskWork, Work};
use protocol::time::Millis;

use super::{Checked, require, shards};
use crate::oracle::Oracle;

const PROPERTY: &str = "tasks go to whom the spec wants";

/// A worker has been given a task.
///
/// # Errors
/// If it should not have been.
pub fn assigned(oracle: &Oracle, at: Millis, task: TaskId, worker: WorkerId) -> Checked {
    let Some(offer) = oracle.offers.get(&worker) else {
        return require(false, PROPERTY, || format!("task {task} goes to {worker:?}, who never said hello"));
    };
    let held = oracle.live.values().filter(|(_, holder)| *holder == worker).count();
    let slots = offer.abilities.slots.max(1) as usize;
    require(held < slots, PROPERTY, || {
        format!("task {task} goes to {worker:?}, whose {slots} slots are taken")
    })?;
    let left = oracle.leaving.get(&worker);
    require(left.is_none_or(|left| *left >= at), PROPERTY, || {
        format!("task {task} goes to {worker:?}, who is leaving")
    })?;
    let Some(Work::Train(train)) = oracle.spec(task.job).map(|spec| &spec.work) else { return Ok(()) };
    let Some(tag) = train.data.tag() else { return shards::assigned(oracle, task, worker) };
    let examples = offer.abilities.data.examples(tag).unwrap_or(0);
    require(examples > 0, PROPERTY, || format!("task {task} goes to {worker:?}, who has no such data"))?;
    let round_of = |task: &TaskId| oracle.round_of(*task).map(|(opened, _)| opened.round);
    let Some(round) = round_of(&task) else {
        return require(false, PROPERTY, || format!("task {task} is given out, and its round never began"));
    };
    let same = |other: &TaskId| other.job == task.job && round_of(other) == Some(round);
    let takes_part = oracle.live.values().any(|(other, holder)| *holder == worker && same(other))
        || oracle.receipts(task.job, round).any(|accepted| accepted.worker == worker);
    require(!takes_part, PROPERTY, || format!("{worker:?} takes part twice in the round of task {task}"))
}

/// A round is done.
///
/// # Errors
/// If it has too few results, or too many.
pub fn done(oracle: &Oracle, job: JobId, round: u32) -> Checked {
    let Some(spec) = oracle.spec(job) else { return Ok(()) };
    let have = oracle.receipts(job, round).count() as u32;
    let (least, most) = match &spec.work {
        Work::Train(train) => (train.round.quorum, train.round.workers),
        Work::Infer(infer) => {
            let tasks = infer.blobs_of(round).len() as u32;
            (tasks, tasks)
        }
    };
    require((least..=most).contains(&have), PROPERTY, || {
        format!("round {round} of job {job} is done with {have} receipts, not {least} to {most}")
    })?;
    shards::done(oracle, job, round)
}

/// A task leaves for its worker.
///
/// # Errors
/// If it is not the work that the spec describes.
pub fn told(oracle: &Oracle, task: &Task) -> Checked {
    let id = task.id;
    let right = match (oracle.spec(id.job).map(|spec| &spec.work), &task.work) {
        (Some(Work::Train(spec)), TaskWork::Train(told)) => {
            let model = oracle.models.get(&id.job).map(|(_, model)| *model);
            let here = oracle.round_of(id);
            here.is_none_or(|(opened, place)| {
                *told == spec.task(opened.round, place, model.unwrap_or(told.weights))
            })
        }
        (Some(Work::Infer(spec)), TaskWork::Infer(told)) => {
            let at = oracle.input_of(id).unwrap_or(usize::MAX);
            let first: u64 = spec.inputs.iter().take(at).map(|input| u64::from(input.items)).sum();
            let input = spec.inputs.get(at).map(|input| (input.digest, input.items));
            told.weights == spec.weights
                && input == Some((told.input, told.items))
                && told.first_item == first
        }
        _ => false,
    };
    require(right, PROPERTY, || format!("task {id} asks for other work than its spec: {:?}", task.work))
}
