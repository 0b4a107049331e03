//! Tasks: assigned, fetched, computed, uploaded, signed for, answered.

use std::collections::{BTreeMap, BTreeSet};

use protocol::hash::Digest;
use protocol::ids::{Nonce, TaskId};
use protocol::job::{Reason, Receipt, Task, TaskWork};
use protocol::limits::TASK_MS_MAX;
use protocol::time::Millis;
use protocol::wire::message::ToCoordinator;

use super::Worker;
use super::effect::Effect;
use super::fact::{Fact, OpenTask, Outcome, Stage};
use super::input::{LinkId, Output, TaskFailure, TransferFailure};
use super::limits::*;
use super::note::Note;

/// Everything about open tasks that a crash may forget.
#[derive(Clone, Debug, Default)]
pub(super) struct Tasks {
    /// What happens to each open task: the keys are those of [`Records::open`](super::Records).
    pub(super) runs: BTreeMap<Nonce, Run>,
    /// Blobs that some task waits for.
    pub(super) fetches: BTreeMap<Digest, Transfer>,
    /// Ended tasks that the shell still computes: they hold their slots.
    pub(super) stopping: BTreeSet<Nonce>,
}

/// What happens to a task.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) phase: Phase,
    /// Times that it had to begin again because a file was gone.
    again: u32,
}

#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// These blobs are missing.
    Fetching(BTreeSet<Digest>),
    /// It waits for a slot.
    Ready,
    /// The shell computes it.
    Running,
    /// Its result is on its way.
    Uploading(Transfer),
    /// Its receipt was sent at this time, or is to be at the next chance.
    Unanswered(Option<Millis>),
}

/// One blob on its way.
#[derive(Clone, Debug, Default)]
pub(super) struct Transfer {
    /// The link it was asked for on.
    asked: Option<LinkId>,
    /// Failures over this link.
    failures: u32,
    /// Not to be asked for before.
    retry_at: Millis,
}

impl Transfer {
    pub(super) fn due(&self, now: Millis) -> bool {
        self.asked.is_none() && self.retry_at <= now
    }

    /// Notes a failure over a link that holds; says whether another try makes sense.
    fn failed(&mut self, now: Millis) -> bool {
        let wait_ms = TRANSFER_RETRY_MS_MIN << self.failures.min(10);
        *self = Self { asked: None, failures: self.failures + 1, retry_at: now.plus(wait_ms) };
        self.failures < TRANSFER_TRIES_MAX
    }
}

pub(super) fn blobs(task: &Task) -> BTreeSet<Digest> {
    match &task.work {
        TaskWork::Train(train) => BTreeSet::from([train.weights]),
        TaskWork::Infer(infer) => BTreeSet::from([infer.weights, infer.input]),
    }
}

impl Tasks {
    /// What follows from the durable state after a start.
    pub(super) fn restored(open: &BTreeMap<Nonce, OpenTask>) -> Self {
        let mut tasks = Self::default();
        for (nonce, open) in open {
            match &open.stage {
                Stage::Taken => tasks.fetch(*nonce, &open.task, 0),
                Stage::Computed(_) => tasks.set(*nonce, Phase::Uploading(Transfer::default()), 0),
                Stage::Finished { .. } => tasks.set(*nonce, Phase::Unanswered(None), 0),
            }
        }
        tasks
    }

    fn set(&mut self, nonce: Nonce, phase: Phase, again: u32) {
        self.runs.insert(nonce, Run { phase, again });
    }

    fn set_phase(&mut self, nonce: Nonce, phase: Phase) {
        if let Some(run) = self.runs.get_mut(&nonce) {
            run.phase = phase;
        }
    }

    fn fetch(&mut self, nonce: Nonce, task: &Task, again: u32) {
        let missing = blobs(task);
        for digest in &missing {
            self.fetches.entry(*digest).or_default();
        }
        self.set(nonce, Phase::Fetching(missing), again);
    }

    /// Tasks that the shell computes, wanted or not.
    pub(super) fn computing(&self) -> usize {
        let running = self.runs.values().filter(|run| matches!(run.phase, Phase::Running)).count();
        running + self.stopping.len()
    }

    /// Tasks that still need this machine.
    fn active(&self) -> usize {
        self.runs.values().filter(|run| !matches!(run.phase, Phase::Unanswered(_))).count()
    }

    fn prune_fetches(&mut self) {
        let needed: BTreeSet<Digest> = self
            .runs
            .values()
            .filter_map(|run| match &run.phase {
                Phase::Fetching(missing) => Some(missing.iter().copied()),
                _ => None,
            })
            .flatten()
            .collect();
        self.fetches.retain(|digest, _| needed.contains(digest));
    }

    pub(super) fn next_transfer(&self) -> Option<Millis> {
        let uploads = self.runs.values().filter_map(|run| match &run.phase {
            Phase::Uploading(transfer) => Some(transfer),
            _ => None,
        });
        let waiting = self.fetches.values().chain(uploads).filter(|transfer| transfer.asked.is_none());
        waiting.map(|transfer| transfer.retry_at).min()
    }

    pub(super) fn next_resend(&self) -> Option<Millis> {
        let sent = self.runs.values().filter_map(|run| match run.phase {
            Phase::Unanswered(sent) => sent,
            _ => None,
        });
        sent.min().map(|sent| sent.plus(RECEIPT_RESEND_MS))
    }
}

impl Worker {
    pub(super) fn on_assign(&mut self, link: LinkId, task: Box<Task>) {
        self.session.forget_unknown(&task.nonce);
        if let Some(open) = self.records.open.get(&task.nonce) {
            if open.task != task {
                return self.odd("another task under the nonce of one held here", &task.id, &task.nonce);
            }
            // Told twice, done once. A finished one says so again.
            if matches!(open.stage, Stage::Finished { .. }) {
                self.send_receipt(task.nonce);
            }
            return;
        }
        if let Some(ended) = self.records.ended(&task.nonce) {
            let reason = ended_reason(&ended.outcome);
            return self.send(link, ToCoordinator::Decline { task: task.id, nonce: task.nonce, reason });
        }
        if let Err(reason) = self.may_take(&task) {
            let Task { id, nonce, price, .. } = *task;
            self.record(Fact::Declined { at: self.now, task: id, nonce, price, reason: reason.clone() });
            self.effects.push(Effect::Log(Note::Declined { task: id, reason: reason.clone() }));
            return self.send(link, ToCoordinator::Decline { task: id, nonce, reason });
        }
        self.effects.push(Effect::Log(Note::Taken { task: task.id, price: task.price }));
        self.tasks.fetch(task.nonce, &task, 0);
        self.record(Fact::Taken { at: self.now, task });
    }

    fn may_take(&self, task: &Task) -> Result<(), Reason> {
        if self.session.leave_by.is_some() {
            return Err("the worker is leaving".into());
        }
        if let Some(reason) = self.records.stopped.get(&self.records.key(task.id.job)) {
            return Err(Reason::from(format!("this worker has stopped working for the job: {reason}")));
        }
        if self.records.unanswered() >= UNANSWERED_MAX {
            return Err(Reason::from(format!("{UNANSWERED_MAX} receipts of this worker are unanswered")));
        }
        if self.tasks.active() >= self.slots() * TASKS_PER_SLOT_MAX {
            return Err("every slot is taken".into());
        }
        let config = &self.config;
        let wanted = config.policy.wants(task, &config.abilities, config.memory_estimate, self.now);
        wanted.map_err(|unwanted| Reason::from(unwanted.to_string()))
    }

    pub(super) fn slots(&self) -> usize {
        self.config.abilities.slots.max(1) as usize
    }

    pub(super) fn on_cancel(&mut self, nonce: Nonce, reason: Reason) {
        // A receipt that has left may have crossed the cancel: its answer decides.
        if self.is_unfinished(&nonce) {
            self.end_task(nonce, Outcome::Cancelled(reason));
        }
    }

    fn is_unfinished(&self, nonce: &Nonce) -> bool {
        let open = self.records.open.get(nonce);
        open.is_some_and(|open| !matches!(open.stage, Stage::Finished { .. }))
    }

    /// Ends a task that has no receipt.
    pub(super) fn end_task(&mut self, nonce: Nonce, outcome: Outcome) {
        let Some(open) = self.records.open.get(&nonce).cloned() else { return };
        self.effects.push(Effect::Log(Note::Dropped { task: open.task.id, reason: ended_reason(&outcome) }));
        let run = self.tasks.runs.remove(&nonce);
        self.tasks.prune_fetches();
        self.record(Fact::Ended { at: self.now, nonce, outcome });
        if run.is_some_and(|run| matches!(run.phase, Phase::Running)) {
            self.tasks.stopping.insert(nonce);
            self.effects.push(Effect::CancelTask(nonce));
        }
        if let Stage::Computed(output) = &open.stage {
            self.discard_unless_used(output.result);
        }
    }

    /// Ends a task and tells the coordinator, who need not wait for it.
    pub(super) fn give_up(&mut self, nonce: Nonce, reason: Reason) {
        let Some(task) = self.records.open.get(&nonce).map(|open| open.task.id) else { return };
        self.end_task(nonce, Outcome::GivenUp(reason.clone()));
        if let Some(link) = self.session.up() {
            self.send(link, ToCoordinator::Decline { task, nonce, reason });
        }
    }

    fn give_up_where(&mut self, reason: &Reason, which: impl Fn(&OpenTask) -> bool) {
        let open = self.records.open.iter().filter(|(_, open)| which(open));
        let nonces: Vec<Nonce> = open.map(|(nonce, _)| *nonce).collect();
        for nonce in nonces {
            self.give_up(nonce, reason.clone());
        }
    }

    pub(super) fn give_up_uncomputed(&mut self, reason: &str) {
        self.give_up_where(&reason.into(), |open| open.stage == Stage::Taken);
    }

    pub(super) fn give_up_unfinished(&mut self, reason: &str) {
        self.give_up_where(&reason.into(), |open| !matches!(open.stage, Stage::Finished { .. }));
    }

    fn discard_unless_used(&mut self, result: Digest) {
        if !self.results_in_use().contains(&result) {
            self.effects.push(Effect::Discard(result));
        }
    }

    pub(super) fn on_blob_ready(&mut self, digest: Digest) {
        self.tasks.fetches.remove(&digest);
        for run in self.tasks.runs.values_mut() {
            if let Phase::Fetching(missing) = &mut run.phase {
                missing.remove(&digest);
                if missing.is_empty() {
                    run.phase = Phase::Ready;
                }
            }
        }
    }

    pub(super) fn on_blob_failed(&mut self, link: LinkId, digest: Digest, failure: TransferFailure) {
        let now = self.now;
        let Some(fetch) = self.tasks.fetches.get_mut(&digest).filter(|fetch| fetch.asked == Some(link))
        else {
            return;
        };
        let reason = match failure {
            TransferFailure::Lost(reason) if !fetch.failed(now) => reason,
            TransferFailure::Lost(_) => return,
            TransferFailure::Refused(reason) | TransferFailure::Local(reason) => reason,
            TransferFailure::ResultMissing => return,
        };
        let reason = Reason::from(format!("blob {digest} could not be fetched: {reason}"));
        let waits = |run: &Run| matches!(&run.phase, Phase::Fetching(missing) if missing.contains(&digest));
        let nonces = self.tasks.runs.iter().filter(|(_, run)| waits(run)).map(|(nonce, _)| *nonce);
        for nonce in nonces.collect::<Vec<_>>() {
            self.give_up(nonce, reason.clone());
        }
    }

    pub(super) fn on_progress(&mut self, nonce: Nonce, progress: ToCoordinator) {
        let running = self.tasks.runs.get(&nonce).is_some_and(|run| matches!(run.phase, Phase::Running));
        if let Some(link) = self.session.up().filter(|_| running) {
            self.send(link, progress);
        }
    }

    pub(super) fn on_task_ended(&mut self, nonce: Nonce, result: Result<Output, TaskFailure>) {
        let running = self.tasks.runs.get(&nonce).is_some_and(|run| matches!(run.phase, Phase::Running));
        if self.tasks.stopping.remove(&nonce) || !running {
            if let Ok(output) = result {
                self.discard_unless_used(output.result);
            }
            return;
        }
        // Nothing computes it any more: whatever follows, there is nothing to stop, and its slot is free.
        self.tasks.set_phase(nonce, Phase::Ready);
        match result {
            Ok(output) => {
                let task = self.records.open[&nonce].task.id;
                let (result, examples) = (output.result, output.examples);
                self.effects.push(Effect::Log(Note::Computed { task, result, examples }));
                self.tasks.set(nonce, Phase::Uploading(Transfer::default()), 0);
                self.record(Fact::Computed { nonce, output });
            }
            Err(TaskFailure::BlobMissing) => self.begin_again(nonce, "its blobs vanish from the cache"),
            Err(TaskFailure::Cancelled) => self.give_up(nonce, "it was cancelled here".into()),
            Err(TaskFailure::Failed(reason)) => self.give_up(nonce, reason),
        }
    }

    /// A file that a task rests on is gone: nothing has been signed, so it can be made again, but not for ever.
    fn begin_again(&mut self, nonce: Nonce, why: &str) {
        let again = self.tasks.runs.get(&nonce).map_or(0, |run| run.again) + 1;
        if again >= TRANSFER_TRIES_MAX {
            return self.give_up(nonce, why.into());
        }
        if let Some(open) = self.records.open.get(&nonce) {
            self.tasks.fetch(nonce, &open.task, again);
        }
    }

    pub(super) fn on_uploaded(&mut self, nonce: Nonce) {
        let Some(OpenTask { task, stage: Stage::Computed(output), .. }) = self.records.open.get(&nonce)
        else {
            return;
        };
        let (id, output) = (task.id, output.clone());
        let signed = self.key.sign(Receipt {
            task: id,
            nonce,
            result: output.result,
            result_bytes: output.result_bytes,
            examples: output.examples,
            loss: output.loss,
            evaluated: output.evaluated,
        });
        let digest = signed.digest();
        self.record(Fact::Finished { receipt: Box::new(signed.into_wire()), digest });
        self.tasks.set(nonce, Phase::Unanswered(None), 0);
        self.send_receipt(nonce);
        self.discard_unless_used(output.result);
    }

    pub(super) fn on_upload_failed(&mut self, link: LinkId, nonce: Nonce, failure: TransferFailure) {
        let now = self.now;
        let Some(Run { phase: Phase::Uploading(upload), .. }) = self.tasks.runs.get_mut(&nonce) else {
            return;
        };
        if upload.asked != Some(link) {
            return;
        }
        let reason = match failure {
            TransferFailure::Lost(reason) if !upload.failed(now) => reason,
            TransferFailure::Lost(_) => return,
            TransferFailure::ResultMissing => {
                return self.begin_again(nonce, "its result vanishes from the disk");
            }
            TransferFailure::Refused(reason) | TransferFailure::Local(reason) => reason,
        };
        self.give_up(nonce, Reason::from(format!("the result could not be uploaded: {reason}")));
    }

    /// Sends the receipt of a finished task, if there is a link to send it on.
    fn send_receipt(&mut self, nonce: Nonce) {
        let Some(link) = self.session.up() else { return };
        let Some(OpenTask { stage: Stage::Finished { receipt, .. }, .. }) = self.records.open.get(&nonce)
        else {
            return;
        };
        let message = ToCoordinator::Receipt((**receipt).clone());
        self.tasks.set(nonce, Phase::Unanswered(Some(self.now)), 0);
        self.send(link, message);
    }

    pub(super) fn resend_receipts(&mut self) {
        let finished = |open: &OpenTask| matches!(open.stage, Stage::Finished { .. });
        let nonces = self.records.open.iter().filter(|(_, open)| finished(open)).map(|(nonce, _)| *nonce);
        for nonce in nonces.collect::<Vec<_>>() {
            self.send_receipt(nonce);
        }
    }

    /// The link is gone: what was asked for on it has to be asked for again.
    pub(super) fn suspend_transfers(&mut self) {
        self.tasks.fetches.values_mut().for_each(|fetch| *fetch = Transfer::default());
        for run in self.tasks.runs.values_mut() {
            match &mut run.phase {
                Phase::Uploading(upload) => *upload = Transfer::default(),
                Phase::Unanswered(sent) => *sent = None,
                Phase::Fetching(_) | Phase::Ready | Phase::Running => {}
            }
        }
    }

    /// What time, a free slot or a link bring about.
    pub(super) fn tend_tasks(&mut self) {
        if self.session.stopped {
            return;
        }
        let now = self.now;
        self.give_up_where(&"the deadline has passed".into(), |open| {
            open.stage == Stage::Taken && deadline(open) <= now
        });
        if let Some(link) = self.session.up() {
            self.tend_transfers(link);
        }
        self.start_ready();
    }

    fn tend_transfers(&mut self, link: LinkId) {
        let now = self.now;
        for (digest, fetch) in &mut self.tasks.fetches {
            if fetch.due(now) {
                fetch.asked = Some(link);
                self.effects.push(Effect::FetchBlob { link, digest: *digest });
            }
        }
        let mut resend = Vec::new();
        for (nonce, run) in &mut self.tasks.runs {
            match &mut run.phase {
                Phase::Uploading(upload) if upload.due(now) => {
                    upload.asked = Some(link);
                    let open = &self.records.open[nonce];
                    let Stage::Computed(output) = &open.stage else { continue };
                    self.effects.push(Effect::Upload {
                        link,
                        task: open.task.id,
                        nonce: *nonce,
                        digest: output.result,
                        bytes: output.result_bytes,
                    });
                }
                Phase::Unanswered(sent) if sent.is_none_or(|sent| now.since(sent) >= RECEIPT_RESEND_MS) => {
                    resend.push(*nonce);
                }
                _ => {}
            }
        }
        for nonce in resend {
            self.send_receipt(nonce);
        }
    }

    /// Starts what is ready, the oldest first.
    fn start_ready(&mut self) {
        let mut free = self.slots().saturating_sub(self.tasks.computing());
        let ready = self.tasks.runs.iter().filter(|(_, run)| matches!(run.phase, Phase::Ready));
        let mut ready: Vec<(Millis, Nonce)> =
            ready.map(|(nonce, _)| (self.records.open[nonce].taken, *nonce)).collect();
        ready.sort_unstable();
        for (_, nonce) in ready {
            if free == 0 {
                return;
            }
            free -= 1;
            if let Some(run) = self.tasks.runs.get_mut(&nonce) {
                run.phase = Phase::Running;
            }
            self.effects.push(Effect::StartTask(self.records.open[&nonce].task.clone()));
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Millis> {
        self.records.open.values().filter(|open| open.stage == Stage::Taken).map(deadline).min()
    }

    pub(super) fn odd(&mut self, what: &'static str, task: &TaskId, nonce: &Nonce) {
        self.effects.push(Effect::Log(Note::Odd { what, job: task.job, nonce: *nonce }));
    }
}

fn deadline(open: &OpenTask) -> Millis {
    open.taken.plus(open.task.deadline_ms.min(TASK_MS_MAX))
}

/// An outcome in words.
pub(super) fn ended_reason(outcome: &Outcome) -> Reason {
    match outcome {
        Outcome::Accepted { .. } => "it was accepted".into(),
        Outcome::Disputed(dispute) => {
            Reason::from(format!("its acceptance does not hold: {}", dispute.wrong))
        }
        Outcome::Rejected(reason)
        | Outcome::Declined(reason)
        | Outcome::GivenUp(reason)
        | Outcome::Cancelled(reason) => reason.clone(),
    }
}
