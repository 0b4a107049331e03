//! A coordinator restored from its facts is the one that wrote them: everything but sessions, timers and progress,
//! which a crash may forget.

use coordinator::core::Coordinator;
use coordinator::core::jobs::Job;
use coordinator::core::settlement::{Settlement, SlotState};

use super::{Checked, require};

const PROPERTY: &str = "facts restore the state";

/// Compares what two coordinators know.
///
/// # Errors
/// With the first line that differs.
pub fn same(live: &Coordinator, restored: &Coordinator) -> Checked {
    let (live, restored) = (describe(live), describe(restored));
    let differs = live.iter().zip(&restored).find(|(live, restored)| live != restored);
    require(live.len() == restored.len() && differs.is_none(), PROPERTY, || match differs {
        Some((live, restored)) => format!("live:     {live}\nrestored: {restored}"),
        None => format!("{} things are known, {} after a restart", live.len(), restored.len()),
    })
}

fn describe(core: &Coordinator) -> Vec<String> {
    let mut lines = Vec::new();
    for (id, worker) in core.workers().iter() {
        lines.push(format!(
            "worker {id:?}: {:?} {:?} {:?} accepted {} failed {} owed {} {:?}",
            worker.account,
            worker.payout,
            worker.assigned,
            worker.accepted,
            worker.failed,
            worker.owed,
            worker.history
        ));
    }
    for (hash, known) in core.specs() {
        lines.push(format!("spec {hash:?}: {:?} {}", known.requester, known.at));
    }
    core.jobs().values().for_each(|job| describe_job(job, &mut lines));
    let batches = core.batches();
    for record in batches.records() {
        lines.push(format!("batch {record:?}"));
    }
    lines.push(format!(
        "final {}, state {:?}, queue {} {:?}, unposted {:?}",
        batches.finalised(),
        batches.state().root(),
        batches.queue().len(),
        batches.queue().hash_at(batches.queue().len()),
        batches.unposted().map(|batch| batch.header.number)
    ));
    lines
}

fn describe_job(job: &Job, lines: &mut Vec<String>) {
    lines.push(format!(
        "job {}: {:?} {:?} {:?} {:?} why '{}' model {:?} round {} {:?} next {} sealed {} final {} finishing {:?}",
        job.id,
        job.spec_hash,
        job.requester,
        job.spec.as_ref().map(|spec| &spec.name),
        job.phase,
        job.why,
        job.model,
        job.next_round,
        job.interrupted,
        job.next,
        job.next_sealed,
        job.final_settlements,
        job.finishing
    ));
    lines.push(format!("job {}: items {} bytes {} {:?}", job.id, job.items, job.bytes_up, job.answers));
    lines.extend(job.rounds.iter().map(|round| format!("job {}: {round:?}", job.id)));
    lines.extend(job.log.iter().map(|line| format!("job {}: {line:?}", job.id)));
    for (number, open) in &job.open {
        describe_settlement(&format!("job {} open {number}", job.id), open, lines);
    }
    for (number, closed) in &job.closed {
        describe_settlement(&format!("job {} closed {number}", job.id), closed, lines);
    }
}

fn describe_settlement(name: &str, settlement: &Settlement, lines: &mut Vec<String>) {
    let (accepted, owed) = (settlement.accepted, settlement.owed());
    let (free, promise) = (&settlement.free, settlement.promise);
    lines.push(format!("{name}: accepted {accepted} owed {owed} free {free:?} promises {promise:?}"));
    lines.extend(settlement.rounds.iter().map(|part| {
        format!("{name} round {}: since {} slots {:?} done {}", part.round, part.began, part.slots, part.done)
    }));
    for (place, slot) in settlement.slots.iter().enumerate() {
        let state = match &slot.state {
            SlotState::Free => "free".into(),
            SlotState::Assigned(held) => format!("{:?} {:?} since {}", held.worker, held.nonce, held.at),
            SlotState::Done(accepted) => {
                format!("{:?} {:?} owed {}", accepted.account, accepted.digest, accepted.owed)
            }
        };
        lines.push(format!("{name} slot {place}: {} {} {state}", slot.attempts, slot.failures));
    }
}
