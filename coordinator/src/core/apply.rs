//! What each fact does to the state: the same when it is recorded and when it is read back after a crash.

use std::collections::BTreeSet;

use protocol::api::JobPhase;
use protocol::ids::{Address, JobId, Nonce, TaskId, WorkerId};
use protocol::job::{Evaluated, JobSpec, Real, Reason, Receipt, Work};
use protocol::ledger::{QueueAction, QueueItem};
use protocol::sign::Signed;
use protocol::time::Millis;

use super::batches::Posted;
use super::fact::{Fact, Outcome, Record};
use super::jobs::{Job, Round};
use super::limits::{UNFUNDED_MS_MAX, UNFUNDED_SPECS_MAX};
use super::settlement::{AcceptedReceipt, Assignment, Promise, Settlement};
use super::timers::Timer;
use super::workers::TaskEnd;
use super::{Coordinator, KnownSpec};

impl Coordinator {
    pub(super) fn apply(&mut self, record: &Record) {
        let at = record.at;
        self.now = self.now.max(at);
        match &record.fact {
            Fact::Registered { worker, payout, account, invitation } => {
                self.workers.register(*worker, *payout, *account, invitation.clone());
            }
            Fact::SpecKnown { spec, requester } => self.apply_spec(at, spec, *requester),
            Fact::Approved { job, settlement, approval } => {
                self.job_mut(*job).approved(at, *settlement, *approval);
            }
            Fact::Queued { item, .. } => self.apply_queued(at, item),
            Fact::ModelReady { job, round, model, evaluated } => {
                let evaluated = *evaluated;
                let job = self.job_mut(*job);
                job.model = Some(*model);
                job.initialising = false;
                match round {
                    None => {
                        job.initial = Some(*model);
                        job.note(at, format!("initial model {model}{}", judged(evaluated.as_ref())));
                    }
                    Some(number) => {
                        job.finishing = None;
                        let round = &mut job.rounds[*number as usize];
                        round.model = Some(*model);
                        round.evaluated = evaluated;
                        job.note(
                            at,
                            format!("round {}: model {model}{}", number + 1, judged(evaluated.as_ref())),
                        );
                    }
                }
                Self::settle_phase(job);
            }
            Fact::Opened { job, settlement, round, slots } => {
                self.apply_opened(at, *job, *settlement, *round, *slots);
            }
            Fact::Assigned { task, worker, nonce, signer } => {
                self.apply_assigned(at, *task, *worker, *nonce, *signer);
            }
            Fact::Accepted { receipt, owed, promise } => {
                let receipt = receipt.clone().verify();
                let receipt = receipt.expect("only verified receipts are recorded, and the disk is checked");
                self.apply_accepted(at, receipt, *owed, *promise);
            }
            Fact::Ended { task, nonce, outcome, why } => self.apply_ended(at, *task, *nonce, *outcome, why),
            Fact::Judged { task, worker, verdict, .. } => self.apply_judged(at, *task, *worker, *verdict),
            Fact::RoundDone { job, settlement, round } => {
                let job = self.job_mut(*job);
                job.open.get_mut(settlement).expect("a round ends in an open settlement").end(*round);
                close_round(job, at, *round);
                Self::settle_phase(job);
            }
            Fact::Closed { job, settlement } => self.apply_closed(at, *job, *settlement),
            Fact::Failed { job, why } => {
                let job = self.job_mut(*job);
                job.phase = JobPhase::Failed;
                job.why = why.as_str().to_owned();
                job.finishing = None;
                job.note(at, format!("failed: {why}"));
            }
            Fact::Sealed(batch) => self.apply_sealed(at, batch),
            Fact::Unsealed { number } => self.apply_unsealed(at, *number),
            Fact::Posted { number, transaction, gas, posted_at, final_at } => {
                let (transaction, gas) = (*transaction, *gas);
                self.batches
                    .posted(*number, Posted { transaction, gas, at: *posted_at, final_at: *final_at });
            }
            Fact::Adopted { batch, proposer, transaction, gas, posted_at, final_at } => {
                let (transaction, gas) = (*transaction, *gas);
                let posted = Posted { transaction, gas, at: *posted_at, final_at: *final_at };
                self.apply_adopted(at, batch, *proposer, posted);
            }
            Fact::Dropped { number } => self.apply_dropped(at, *number),
            Fact::Final { number } => self.apply_final(at, *number),
        }
    }

    fn apply_spec(&mut self, at: Millis, spec: &JobSpec, requester: protocol::ids::Address) {
        let hash = spec.hash();
        let funded = |hash| self.jobs.values().any(|job| job.spec_hash == hash);
        let mut unfunded: Vec<_> = self
            .specs
            .iter()
            .filter(|(hash, _)| !funded(**hash))
            .map(|(hash, known)| (known.at, *hash))
            .collect();
        unfunded.sort_unstable();
        let over = unfunded.len().saturating_sub(UNFUNDED_SPECS_MAX - 1);
        for (place, (handed_in, hash)) in unfunded.into_iter().enumerate() {
            if place < over || at.since(handed_in) > UNFUNDED_MS_MAX {
                self.specs.remove(&hash);
            }
        }
        self.specs.insert(hash, KnownSpec { spec: spec.clone(), requester, at });
        for job in self.jobs.values_mut().filter(|job| job.spec_hash == hash && job.spec.is_none()) {
            adopt(job, spec, at);
        }
    }

    fn apply_queued(&mut self, at: Millis, item: &QueueItem) {
        self.batches.push_queue_item(*item);
        match &item.action {
            QueueAction::Fund { amount, coordinator, spec, .. } => {
                if *coordinator != self.config.operator {
                    return;
                }
                let mut job = Job::new(item.job, *spec, item.sender);
                job.note(at, format!("funded with {amount} tokens by {}", item.sender));
                if let Some(known) = self.specs.get(spec) {
                    adopt(&mut job, &known.spec, at);
                }
                self.jobs.insert(item.job, job);
            }
            QueueAction::TopUp { amount } => {
                if let Some(job) = self.jobs.get_mut(&item.job) {
                    job.note(at, format!("topped up with {amount} tokens"));
                }
            }
            QueueAction::Close => {
                if let Some(job) = self.jobs.get_mut(&item.job) {
                    job.note(at, "closed by its requester".into());
                    if job.is_live() {
                        job.phase = JobPhase::Cancelled;
                        job.why = "its requester closed it".into();
                        job.finishing = None;
                    }
                }
            }
        }
    }

    fn apply_opened(&mut self, at: Millis, id: JobId, number: u32, round: u32, slots: u32) {
        let job = self.job_mut(id);
        let places = job.wanted_places(round);
        assert_eq!(places.len(), slots as usize, "a round opens with the slots that it wants");
        let spec = job.spec.as_ref().expect("rounds begin only under a known spec");
        let (deadline_ms, training) = match &spec.work {
            Work::Train(train) => (train.round.deadline_ms, true),
            Work::Infer(infer) => (infer.deadline_ms, false),
        };
        job.phase = JobPhase::Running;
        job.next = job.next.max(number + 1);
        let open = job.open.entry(number).or_insert_with(|| Settlement::new(at));
        open.begin(at, round, places.into_iter(), deadline_ms);
        if job.interrupted.remove(&round) {
            // Whoever has done a task of the round has no other examples of its own for a second one.
            let done: BTreeSet<_> = job.round_receipts(round).map(|done| done.receipt.signer()).collect();
            let open = job.open.get_mut(&number).expect("it has just been opened");
            open.part_mut(round).expect("it has just begun").taking_part = done;
            return job.note(at, format!("round {} goes on in settlement {}", round + 1, number + 1));
        }
        job.next_round = round + 1;
        if training {
            job.rounds.push(Round {
                began: at,
                closed: None,
                asked: 0,
                accepted: Vec::new(),
                places: Vec::new(),
                model: None,
                loss: None,
                evaluated: None,
                updates: Vec::new(),
            });
            // For people rounds count from 1; in programs from 0, as settlements in the ledger.
            job.note(at, format!("round {} began", round + 1));
        }
    }

    fn apply_assigned(
        &mut self,
        at: Millis,
        task: TaskId,
        worker: WorkerId,
        nonce: Nonce,
        signer: Option<Address>,
    ) {
        self.workers.assigned(worker, task, nonce, at);
        let job = self.job_mut(task.job);
        let open = job.open.get_mut(&task.settlement).expect("tasks are assigned in open settlements");
        let part = open.part_of(task.slot).expect("every slot is some round's");
        // A round's deadline decides for all its tasks at once; an inference task has one of its own.
        let (deadline, training) =
            match &job.spec.as_ref().expect("rounds begin only under a known spec").work {
                Work::Train(_) => (part.deadline, true),
                Work::Infer(infer) => (at.plus(infer.deadline_ms), false),
            };
        if training {
            job.rounds[part.round as usize].asked += 1;
        }
        let assignment = Assignment { worker, nonce, signer, at, deadline, progress: (0, 0), loss: None };
        open.assign(task.slot, assignment);
        if !training {
            self.timers.set(Timer::Assignment(task), deadline);
        }
    }

    fn apply_accepted(&mut self, at: Millis, receipt: Signed<Receipt>, owed: u64, promise: Promise) {
        let body = receipt.body().clone();
        let (task, worker) = (body.task, receipt.signer());
        self.workers.ended(worker, task, body.nonce, TaskEnd::Accepted { owed, batch: None });
        self.timers.cancel(&Timer::Assignment(task));
        let account = self.workers.get(worker).expect("only registered workers have tasks").account;
        let job = self.job_mut(task.job);
        job.bytes_up += body.result_bytes;
        let open = job.open.get_mut(&task.settlement).expect("receipts are accepted while open");
        open.accept(task.slot, AcceptedReceipt { account, digest: receipt.digest(), receipt, owed });
        open.promise.get_or_insert(promise);
        let round = open.part_of(task.slot).expect("every slot is some round's").round;
        let place = open.slots[task.slot as usize].place;
        let text = if let Some(input) = job.input_of(task) {
            job.answers[input] = Some(body.result);
            job.items += body.examples;
            format!("task {task}: {} items answered by {worker}", body.examples)
        } else {
            let known = &mut job.rounds[round as usize];
            known.accepted.push(task);
            known.places.push(place);
            known.updates.push(body.result);
            let loss = body.loss.map_or(String::new(), |loss| format!(", loss {:.4}", loss.get()));
            let (number, count) = (round + 1, known.accepted.len());
            format!("round {number}: update {count} of {} examples{loss} by {worker}", body.examples)
        };
        job.note(at, text);
    }

    fn apply_ended(&mut self, at: Millis, task: TaskId, nonce: Nonce, outcome: Outcome, why: &Reason) {
        self.timers.cancel(&Timer::Assignment(task));
        let job = self.job_mut(task.job);
        let open =
            job.open.get_mut(&task.settlement).expect("assignments end while their settlement is open");
        let worker = open.assignment(task.slot).expect("only a held task ends").worker;
        let bar = matches!(outcome, Outcome::Rejected | Outcome::Declined);
        open.release(task.slot, outcome.counts_against(), bar);
        job.note(at, format!("task {task}: {} by {worker}: {why}", outcome.word()));
        self.workers.ended(worker, task, nonce, TaskEnd::Ended { outcome, why: why.clone() });
    }

    fn apply_closed(&mut self, at: Millis, id: JobId, number: u32) {
        let job = self.job_mut(id);
        let settlement = job.open.remove(&number).expect("only an open settlement closes");
        let unfinished: Vec<u32> = settlement.running().map(|part| part.round).collect();
        job.closed.insert(number, settlement);
        if job.is_live() {
            job.interrupted.extend(unfinished);
        } else {
            unfinished.into_iter().for_each(|round| close_round(job, at, round));
        }
        job.close_spares(at);
        Self::settle_phase(job);
    }

    fn apply_final(&mut self, at: Millis, number: protocol::ids::BatchId) {
        for (id, settlement, final_at) in self.batches.finalise(number) {
            self.keep_evidence(id, settlement, final_at);
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            if job.pays_in(settlement) {
                job.note(at, format!("settlement {} is final in batch {number}", settlement + 1));
            }
            job.final_settlements = job.final_settlements.max(settlement + 1);
            if job.phase == JobPhase::Settling && job.final_settlements == job.settlements() {
                job.phase = JobPhase::Done;
                job.note(at, "done: every settlement is final".into());
            }
        }
        self.drop_evidence(at);
    }

    /// After the facts have been read back: what was under way is asked for again by the first step.
    pub(super) fn resume(&mut self) {
        self.owed = self.jobs.keys().filter_map(|id| self.finish_round(*id)).collect();
        self.resume_discarding();
        self.restarted = true;
    }

    /// At the first step after a restart: however long it took, workers get their time to come back with what they
    /// have.
    pub(super) fn await_workers(&mut self) {
        let until = self.now.plus(self.config.reconnect_grace_ms);
        let held: Vec<_> =
            self.workers.iter().filter(|(_, worker)| !worker.assigned.is_empty()).map(|(id, _)| id).collect();
        for worker in held {
            self.timers.set(Timer::Reconnect(worker), until);
        }
        for job in self.jobs.values_mut() {
            let training = job.spec.as_ref().is_some_and(|spec| matches!(spec.work, Work::Train(_)));
            for (number, open) in &mut job.open {
                for part in &mut open.rounds {
                    part.deadline = part.deadline.max(until);
                }
                for (slot, held) in open.assignments_mut() {
                    held.deadline = held.deadline.max(until);
                    if !training {
                        let task = TaskId { job: job.id, settlement: *number, slot };
                        self.timers.set(Timer::Assignment(task), held.deadline);
                    }
                }
            }
        }
    }
}

fn adopt(job: &mut Job, spec: &JobSpec, at: Millis) {
    if let Work::Infer(infer) = &spec.work {
        job.answers = vec![None; infer.inputs.len()];
        job.model = Some(infer.weights);
    }
    job.note(
        at,
        format!(
            "'{}': {} rounds in {} settlements, at most {} tasks in each",
            spec.name,
            spec.work.rounds(),
            spec.full_settlements(),
            spec.task_cap()
        ),
    );
    job.spec = Some(spec.clone());
    job.why.clear();
}

fn judged(evaluated: Option<&Evaluated>) -> String {
    evaluated.map_or(String::new(), |evaluated| {
        format!(", accuracy {:.4}, loss {:.4}", evaluated.accuracy(), evaluated.loss.get())
    })
}

/// A round takes no more updates.
fn close_round(job: &mut Job, at: Millis, number: u32) {
    let Some(updates) = job.rounds.get(number as usize).map(|round| round.accepted.len()) else { return };
    let loss = mean_loss(job.round_receipts(number));
    let evaluated = pooled(job.round_receipts(number));
    let live = job.is_live();
    let round = &mut job.rounds[number as usize];
    round.closed = Some(at);
    round.loss = loss;
    if live && updates > 0 {
        job.finishing = Some(number);
    }
    job.note(at, format!("round {} closed with {updates} updates", number + 1));
    // Workers judge the model that they are given: what the round before made.
    if let Some(evaluated) = evaluated {
        let whose = match number.checked_sub(1) {
            None => "the initial model".to_owned(),
            Some(before) => {
                job.rounds[before as usize].evaluated = Some(evaluated);
                format!("the model of round {number}")
            }
        };
        job.note(at, format!("{whose}, judged by its workers{}", judged(Some(&evaluated))));
    }
}

/// The mean of the workers' losses, weighted by examples.
fn mean_loss<'a>(receipts: impl Iterator<Item = &'a AcceptedReceipt>) -> Option<f64> {
    let (sum, examples) = receipts
        .map(|accepted| accepted.receipt.body())
        .filter_map(|body| Some((f64::from(body.loss?.get()), body.examples as f64)))
        .fold((0.0, 0.0), |(sum, examples), (loss, count)| (sum + loss * count, examples + count));
    (examples > 0.0).then(|| sum / examples)
}

/// The workers' own judgements of the weights they were given, as one. Nobody can check them; none counts for more
/// examples than the update beside it.
fn pooled<'a>(receipts: impl Iterator<Item = &'a AcceptedReceipt>) -> Option<Evaluated> {
    let judged = receipts.map(|accepted| accepted.receipt.body()).filter_map(|body| {
        let one = body.evaluated?;
        (one.correct <= one.examples && one.examples <= body.examples).then_some(one)
    });
    let (examples, correct, loss) = judged.fold((0u64, 0u64, 0.0f64), |(examples, correct, loss), one| {
        let sum = loss + f64::from(one.loss.get()) * one.examples as f64;
        (examples.saturating_add(one.examples), correct.saturating_add(one.correct), sum)
    });
    let loss = Real::try_from((loss / examples.max(1) as f64) as f32).ok()?;
    (examples > 0).then_some(Evaluated { examples, correct, loss })
}
