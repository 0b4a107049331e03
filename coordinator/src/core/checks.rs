//! Results that are run again before they are accepted, and the disputes that follow where two runs differ.
//!
//! The coordinator runs a drawn task itself. If it comes to another result, it is the challenger of a dispute over the
//! training's trace ([`protocol::dispute`]) and its referee: it keeps the clock and runs the one operator that is left.
//! It could say what it likes, but not show it: the moves are signed by both sides and kept, and whoever has the
//! task's blobs comes to the same verdict. An inference has nothing to look for a first difference in: its answers are
//! refused, and the receipt is kept, since whoever has the blobs sees by one run who is right.
//!
//! None of this is durable but the verdict: after a crash the worker sends its receipt again, and its check begins.

use std::collections::BTreeMap;

use protocol::dispute::moves::{Asked, Body};
use protocol::dispute::{Dispute, Party, Terms, Verdict};
use protocol::hash::{Digest, Keccak};
use protocol::ids::{JobId, Nonce, TaskId, WorkerId};
use protocol::job::{CheckSecret, JobSpec, Reason, Receipt, Work};
use protocol::sign::Signed;
use protocol::time::Millis;
use protocol::wire::message::ToWorker;

use super::effect::{Check, Transcript};
use super::fact::{Fact, Outcome};
use super::receipts::TOO_LATE;
use super::timers::Timer;
use super::{Coordinator, Effect};

/// Receipts whose results are being run again, by nonce.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    under_way: BTreeMap<Nonce, UnderCheck>,
    disputes: BTreeMap<Digest, Nonce>,
}

#[derive(Clone, Debug)]
struct UnderCheck {
    receipt: Signed<Receipt>,
    dispute: Option<Dispute>,
}

/// What running a task again came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The same bits.
    Same,
    /// Others, after a training: what both sides can be held to.
    Differs(Box<Terms>),
    /// Others, to an inference; `None` if there is no answer at all.
    Answers(Option<Digest>),
}

impl Checks {
    /// Whether an assignment's receipt waits for its check.
    pub fn has(&self, nonce: &Nonce) -> bool {
        self.under_way.contains_key(nonce)
    }

    /// Receipts that wait for their check.
    pub fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    pub(super) fn forget(&mut self, nonce: &Nonce) {
        if let Some(dispute) = self.under_way.remove(nonce).and_then(|check| check.dispute) {
            self.disputes.remove(&dispute.terms().id());
        }
    }
}

impl Coordinator {
    /// What the checks of a settlement are drawn by.
    pub fn check_secret(&self, job: JobId, settlement: u32) -> CheckSecret {
        let mut hasher = blake3::Hasher::new_keyed(&self.config.secret);
        hasher.update(b"checks");
        hasher.update(&job.0.to_be_bytes());
        hasher.update(&settlement.to_be_bytes());
        CheckSecret(*hasher.finalize().as_bytes())
    }

    /// What a settlement's tasks commit to, if its job has results run again.
    pub(super) fn check_commitment(&self, spec: &JobSpec, job: JobId, settlement: u32) -> Option<Digest> {
        (spec.checks.rate_bps > 0).then(|| self.check_secret(job, settlement).commitment())
    }

    fn is_drawn(&self, spec: &JobSpec, receipt: &Signed<Receipt>) -> bool {
        let TaskId { job, settlement, .. } = receipt.body().task;
        let bps = spec.checks.rate_bps;
        bps > 0 && self.check_secret(job, settlement).draws(&receipt.digest(), bps)
    }

    /// Whether a good receipt waits for a check, of which this may be the beginning.
    pub(super) fn is_checked_first(
        &mut self,
        spec: &JobSpec,
        receipt: &Signed<Receipt>,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Receipt { task, nonce, .. } = *receipt.body();
        if let Some(check) = self.checks.under_way.get(&nonce) {
            if check.receipt.digest() == receipt.digest() {
                // It comes again after a lost link: so may have what was asked.
                self.ask(nonce, false, effects);
            } else {
                let reason = "another receipt for this task is being checked".into();
                let message = ToWorker::Rejected { nonce, task, reason };
                effects.push(Effect::Send { to: receipt.signer(), message });
            }
            return true;
        }
        let work = self.jobs.get(&task.job).and_then(|job| job.work_of(task));
        // Who was first with a shard is not passed by while its result is run again.
        let waits = || {
            let checked =
                |rival: &TaskId| self.assignment(*rival).is_some_and(|held| self.checks.has(&held.nonce));
            self.rivals(task).iter().any(checked)
        };
        let Some(work) = work.filter(|_| self.is_drawn(spec, receipt) || waits()) else { return false };
        let move_ms = match &spec.work {
            // A party's first move may take it the whole training again.
            Work::Train(train) => train.round.deadline_ms,
            Work::Infer(infer) => infer.deadline_ms,
        };
        self.checks.under_way.insert(nonce, UnderCheck { receipt: receipt.clone(), dispute: None });
        effects.push(Effect::Check(Box::new(Check {
            task: work,
            worker: receipt.signer(),
            receipt: receipt.body().clone(),
            move_ms,
        })));
        true
    }

    pub(super) fn on_checked(
        &mut self,
        nonce: Nonce,
        found: Result<Found, Reason>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(check) = self.checks.under_way.get_mut(&nonce).filter(|check| check.dispute.is_none())
        else {
            return;
        };
        let task = check.receipt.body().task;
        let disputed = match found {
            Ok(Found::Differs(terms)) => Dispute::open(self.now, *terms).ok(),
            Ok(Found::Same) => None,
            Ok(Found::Answers(own)) => return self.refuse_answers(nonce, own, effects),
            Err(why) => {
                // A receipt that is good otherwise is not worth less for it.
                let at = self.now;
                self.job_mut(task.job).note(at, format!("task {task} could not be checked: {why}"));
                None
            }
        };
        match disputed {
            None => self.end_check(nonce, None, effects),
            Some(dispute) => {
                self.checks.disputes.insert(dispute.terms().id(), nonce);
                self.checks.under_way.get_mut(&nonce).expect("it has just been seen").dispute = Some(dispute);
                self.ask(nonce, true, effects);
            }
        }
    }

    /// Asks for what a dispute needs next: the worker, and this coordinator's own side of it unless it has been asked.
    fn ask(&mut self, nonce: Nonce, own_side: bool, effects: &mut Vec<Effect>) {
        let Some(UnderCheck { receipt, dispute: Some(dispute) }) = self.checks.under_way.get(&nonce) else {
            return;
        };
        let (id, round, asked, due) = (dispute.terms().id(), dispute.round(), dispute.asked(), dispute.due());
        match asked {
            Asked::Nothing => {
                let verdict = dispute.verdict();
                self.end_check(nonce, verdict, effects);
            }
            Asked::Run { trace, operator, inputs } if own_side => {
                self.timers.cancel(&Timer::Check(nonce));
                effects.push(Effect::RunOperator { nonce, trace, operator, inputs });
            }
            Asked::Run { .. } => {}
            asked => {
                let (to, task) = (receipt.signer(), receipt.body().task);
                let message =
                    ToWorker::Asked { task, nonce, dispute: id, round, asked: Box::new(asked.clone()) };
                effects.push(Effect::Send { to, message });
                if own_side {
                    effects.push(Effect::Answer { nonce, dispute: id, round, asked: Box::new(asked) });
                }
                self.timers.set(Timer::Check(nonce), due.plus(1));
            }
        }
    }

    pub(super) fn on_moved(&mut self, said: Signed<Body>, effects: &mut Vec<Effect>) {
        let now = self.now;
        let Some(nonce) = self.checks.disputes.get(&said.body().dispute).copied() else { return };
        let Some(dispute) = self.checks.under_way.get_mut(&nonce).and_then(|check| check.dispute.as_mut())
        else {
            return;
        };
        let before = (dispute.round(), dispute.verdict());
        // One that does not fit can be made again until it is due: there is nothing to say to it.
        let _ = dispute.take(now, said);
        if before != (dispute.round(), dispute.verdict()) {
            self.ask(nonce, true, effects);
        }
    }

    /// The operator that a dispute ends with was run; or it could not be, here.
    pub(super) fn on_ran(
        &mut self,
        nonce: Nonce,
        output: Result<Option<Keccak>, Reason>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(dispute) = self.checks.under_way.get_mut(&nonce).and_then(|check| check.dispute.as_mut())
        else {
            return;
        };
        match output {
            Ok(output) => {
                dispute.ran(output);
                self.ask(nonce, true, effects);
            }
            Err(why) => self.leave_open(nonce, &format!("it could not be gone on with here: {why}"), effects),
        }
    }

    pub(super) fn on_check_due(&mut self, nonce: Nonce, effects: &mut Vec<Effect>) {
        let now = self.now;
        if let Some(dispute) = self.checks.under_way.get_mut(&nonce).and_then(|check| check.dispute.as_mut())
        {
            dispute.tick(now);
            self.ask(nonce, true, effects);
        }
    }

    /// An inference comes to other answers here.
    fn refuse_answers(&mut self, nonce: Nonce, own: Option<Digest>, effects: &mut Vec<Effect>) {
        let Some(UnderCheck { receipt, .. }) = self.checks.under_way.get(&nonce).cloned() else { return };
        self.checks.forget(&nonce);
        effects.push(Effect::EndCheck(nonce));
        let (worker, task) = (receipt.signer(), receipt.body().task);
        effects.push(Effect::KeepRefused(Box::new(receipt.into_wire())));
        self.record(Fact::Judged { task, nonce, worker, verdict: Verdict::Wrong(Party::Worker) }, effects);
        let comes_to = own.map_or("no answer".to_owned(), |own| format!("the answers {own}"));
        let why = format!("the task was run again, and comes to {comes_to}");
        self.end_assignment(task, Outcome::Rejected, why.into(), effects);
    }

    /// A dispute ends without a verdict against the worker, and its result is known to differ from what comes out here:
    /// it goes into no model, and nothing is said of the worker.
    fn leave_open(&mut self, nonce: Nonce, why: &str, effects: &mut Vec<Effect>) {
        let Some(UnderCheck { receipt, .. }) = self.checks.under_way.get(&nonce) else { return };
        let (task, at) = (receipt.body().task, self.now);
        let why = format!("the task was run again, with another result; the dispute over it is left: {why}");
        self.job_mut(task.job).note(at, format!("task {task}: {why}"));
        self.end_assignment(task, Outcome::Cancelled, why.into(), effects);
    }

    /// A settlement closes: what of it is still being checked is decided as it stands. Whoever owes a move in a dispute
    /// is silent. A result not run again in time counts as not drawn, unless the job wants all of them run again.
    pub(super) fn decide_checks(&mut self, job: JobId, settlement: u32, effects: &mut Vec<Effect>) {
        let Some(open) = self.jobs[&job].open.get(&settlement) else { return };
        let sampled = self.jobs[&job].spec.as_ref().is_some_and(|spec| spec.checks.rate_bps < 10_000);
        let held = open.assignments().map(|(_, held)| held.nonce);
        let waiting: Vec<Nonce> = held.filter(|nonce| self.checks.has(nonce)).collect();
        for nonce in waiting {
            let Some(check) = self.checks.under_way.get_mut(&nonce) else { continue };
            let verdict = check.dispute.as_mut().map(|dispute| {
                dispute.fall_silent();
                dispute.verdict()
            });
            match verdict {
                None if sampled => self.end_check(nonce, None, effects),
                None => {} // cancelled with whatever else is under way
                Some(None) => self.leave_open(nonce, "it did not end before the settlement", effects),
                Some(verdict) => self.end_check(nonce, verdict, effects),
            }
        }
    }

    /// What follows from a check: `verdict` of a dispute, or nothing that speaks against the receipt.
    fn end_check(&mut self, nonce: Nonce, verdict: Option<Verdict>, effects: &mut Vec<Effect>) {
        let Some(UnderCheck { receipt, dispute }) = self.checks.under_way.get(&nonce).cloned() else {
            return;
        };
        self.checks.forget(&nonce);
        self.timers.cancel(&Timer::Check(nonce));
        effects.push(Effect::EndCheck(nonce));
        let (worker, task) = (receipt.signer(), receipt.body().task);
        if let Some((dispute, verdict)) = dispute.zip(verdict) {
            effects.extend(self.transcript(receipt.clone(), &dispute, verdict));
            self.record(Fact::Judged { task, nonce, worker, verdict }, effects);
            if verdict.is_against(Party::Worker) {
                self.end_assignment(task, Outcome::Rejected, words(verdict, &dispute).into(), effects);
                return;
            }
            if verdict == Verdict::Silent(Party::Challenger) {
                let why =
                    "the task was run again, with another result; this coordinator was late in the dispute";
                return self.end_assignment(task, Outcome::Cancelled, why.into(), effects);
            }
        }
        if self.is_too_late(task) {
            return self.end_assignment(task, Outcome::Cancelled, TOO_LATE.into(), effects);
        }
        self.accept(receipt, effects);
    }

    /// What is kept of a dispute; `None` if its task is not known any more.
    fn transcript(&self, receipt: Signed<Receipt>, dispute: &Dispute, verdict: Verdict) -> Option<Effect> {
        let task = receipt.body().task;
        let job = self.jobs.get(&task.job)?;
        let ((round, place), weights) = (job.place_of(task)?, job.work_of(task)?.weights());
        let moves = dispute.transcript().iter().map(|said| said.as_wire().clone()).collect();
        let terms = dispute.terms().clone();
        let kept = Transcript { round, place, weights, receipt, terms, moves, verdict };
        Some(Effect::Keep(Box::new(kept)))
    }

    pub(super) fn apply_judged(&mut self, at: Millis, task: TaskId, worker: WorkerId, verdict: Verdict) {
        if verdict.is_against(Party::Worker) {
            self.workers.get_mut(worker).expect("facts name known workers").is_distrusted = true;
        }
        let text = format!("the result of {worker} for task {task} is not what comes out here: {verdict:?}");
        self.job_mut(task.job).note(at, text);
    }

    /// Whether a round waits for the check of a receipt that came in time.
    pub(super) fn awaits_check(&self, job: JobId, settlement: u32, slots: core::ops::Range<u32>) -> bool {
        let open = self.jobs[&job].open.get(&settlement);
        open.is_some_and(|open| open.assignments_in(slots).any(|(_, held)| self.checks.has(&held.nonce)))
    }
}

/// A verdict against a worker, for people.
fn words(verdict: Verdict, dispute: &Dispute) -> String {
    let run_again = "the task was run again, with another result; in the dispute over it";
    match (verdict, dispute.first_difference()) {
        (Verdict::Silent(_) | Verdict::BothSilent | Verdict::Withheld, _) | (_, None) => {
            format!("{run_again} this worker did not answer in time")
        }
        (_, Some((interval, step, operator))) => format!(
            "{run_again} its first error was found in interval {interval}, step {step}, operator {operator}"
        ),
    }
}
