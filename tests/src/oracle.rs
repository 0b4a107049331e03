//! What clients and workers were promised: from the coordinator's durable facts and from messages that left or arrived,
//! never from a program's memory.

use std::collections::{BTreeMap, BTreeSet};

use coordinator::core::batches::SealedBatch;
use coordinator::core::{Event, Fact, Outcome, Record, WeightedUpdate};
use protocol::hash::{Digest, Keccak};
use protocol::ids::{AccountIndex, Address, JobId, Nonce, SpecHash, TaskId, WorkerId};
use protocol::job::{Acceptance, JobSpec, Name, Task, Work};
use protocol::ledger::QueueAction;
use protocol::ledger::batch::encode_payload;
use protocol::sign::eip712::Domain;
use protocol::time::Millis;
use protocol::wire::message::Hello;

use crate::invariants::{
    Checked, Violation, disputes, earned, fair, kept, paid_once, promises, rounds, selection, settlements,
};

/// A receipt that the coordinator has, durably, found good.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Whose.
    pub worker: WorkerId,
    /// Its account.
    pub account: AccountIndex,
    /// The assignment.
    pub nonce: Nonce,
    /// The receipt's digest.
    pub receipt: Digest,
    /// The result.
    pub result: Digest,
    /// Examples or items, as declared.
    pub examples: u64,
    /// Units.
    pub owed: u64,
}

/// Tasks and units owed, from receipts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// Tasks.
    pub tasks: u32,
    /// Units.
    pub units: u64,
}

/// A round, or a group of inference tasks, that has begun or gone on in a settlement.
#[derive(Clone, Debug)]
pub struct OpenedRound {
    /// Which.
    pub round: u32,
    /// When.
    pub at: Millis,
    /// Which of the round's tasks each of its slots is.
    pub places: Vec<u32>,
}

/// The books.
#[derive(Debug)]
pub struct Oracle {
    /// The rollup that signatures are for.
    pub domain: Domain,
    /// Accounts that were opened, by worker.
    pub accounts: BTreeMap<WorkerId, (AccountIndex, Address)>,
    /// Specs that were handed in.
    pub specs: BTreeMap<SpecHash, JobSpec>,
    /// The spec of each funded job.
    pub jobs: BTreeMap<JobId, SpecHash>,
    /// Who was given what.
    pub assigned: BTreeMap<Nonce, (TaskId, WorkerId)>,
    /// Assignments that ended without a receipt.
    pub ended: BTreeMap<Nonce, Outcome>,
    /// Receipts that were accepted, by task.
    pub accepted: BTreeMap<TaskId, Accepted>,
    /// What they come to, by settlement and account.
    pub owed: BTreeMap<(JobId, u32), BTreeMap<AccountIndex, Owed>>,
    /// Settlements that requesters let be paid, and up to how many units.
    pub approved: BTreeMap<(JobId, u32), u64>,
    /// Settlements that take no more receipts.
    pub closed: BTreeSet<(JobId, u32)>,
    /// Rounds that take no more results.
    pub done: BTreeSet<(JobId, u32)>,
    /// The newest model of each job, and the round that made it.
    pub models: BTreeMap<JobId, (Option<u32>, Digest)>,
    /// The weights that each round of training starts from.
    pub bases: BTreeMap<(JobId, u32), Digest>,
    /// Settlements that batches close.
    pub credited: kept::Credited,
    /// Sealed batches that were not taken back, by number: the hash of their payload.
    pub sealed: BTreeMap<u64, Keccak>,
    /// Payloads that were ever sealed: one whose place a stranger took may still be on its way out.
    pub sealed_ever: BTreeSet<Keccak>,
    /// Assignments that reached a worker.
    pub reached: BTreeSet<(WorkerId, TaskId, Nonce)>,
    /// Assignments under way.
    pub live: BTreeMap<Nonce, (TaskId, WorkerId)>,
    /// When each assignment was made.
    pub given_at: BTreeMap<Nonce, Millis>,
    /// The rounds of each settlement, in order.
    pub opened: BTreeMap<(JobId, u32), Vec<OpenedRound>>,
    /// The date that each settlement's acceptances promise, in Unix seconds.
    pub settle_by: BTreeMap<(JobId, u32), u64>,
    /// Jobs that failed, or that their requester closed.
    pub over: BTreeSet<JobId>,
    /// What each worker said when it came last.
    pub offers: BTreeMap<WorkerId, Hello>,
    /// Whether each worker is connected, and since when.
    pub links: BTreeMap<WorkerId, (bool, Millis)>,
    /// Workers that said that they leave, and when.
    pub leaving: BTreeMap<WorkerId, Millis>,
    /// Assignments whose results are being run again, since the coordinator started.
    pub drawn: BTreeSet<Nonce>,
    /// Assignments that their workers declined.
    pub declined: BTreeSet<(WorkerId, TaskId, Nonce)>,
    /// Uses that each invitation is good for.
    pub invitations: BTreeMap<Name, u32>,
    /// When the coordinator started last.
    pub started: Millis,
    /// Milliseconds that a worker may be gone and keep its tasks.
    pub reconnect_grace_ms: u64,
    /// Results that workers sent themselves.
    pub uploaded: BTreeSet<(WorkerId, Digest)>,
    /// Acceptances that left: units by tasks.
    pub promises: BTreeMap<(JobId, u32, AccountIndex), BTreeMap<u32, u64>>,
    /// Updates added to running sums since the coordinator started.
    pub folded: BTreeMap<(JobId, u32), Vec<WeightedUpdate>>,
}

/// A batch's bytes, and where they are to stand.
pub fn hash_of(batch: &SealedBatch) -> Keccak {
    protocol::hash::keccak(&[&[batch.mode as u8], &encode_payload(&batch.chunks)])
}

impl Oracle {
    /// Before anything was promised.
    pub const fn new(domain: Domain, reconnect_grace_ms: u64, invitations: BTreeMap<Name, u32>) -> Self {
        Self {
            domain,
            accounts: BTreeMap::new(),
            specs: BTreeMap::new(),
            jobs: BTreeMap::new(),
            assigned: BTreeMap::new(),
            ended: BTreeMap::new(),
            accepted: BTreeMap::new(),
            owed: BTreeMap::new(),
            approved: BTreeMap::new(),
            closed: BTreeSet::new(),
            done: BTreeSet::new(),
            models: BTreeMap::new(),
            bases: BTreeMap::new(),
            credited: kept::Credited::new(),
            sealed: BTreeMap::new(),
            sealed_ever: BTreeSet::new(),
            reached: BTreeSet::new(),
            live: BTreeMap::new(),
            given_at: BTreeMap::new(),
            opened: BTreeMap::new(),
            settle_by: BTreeMap::new(),
            over: BTreeSet::new(),
            offers: BTreeMap::new(),
            links: BTreeMap::new(),
            leaving: BTreeMap::new(),
            drawn: BTreeSet::new(),
            declined: BTreeSet::new(),
            invitations,
            started: Millis(0),
            reconnect_grace_ms,
            uploaded: BTreeSet::new(),
            promises: BTreeMap::new(),
            folded: BTreeMap::new(),
        }
    }

    /// The spec of a job.
    pub fn spec(&self, job: JobId) -> Option<&JobSpec> {
        self.specs.get(self.jobs.get(&job)?)
    }

    /// The round that a task belongs to, when that began in its settlement, and which of the round's tasks it is.
    pub fn round_of(&self, task: TaskId) -> Option<(&OpenedRound, u32)> {
        let mut slot = task.slot as usize;
        for opened in self.opened.get(&(task.job, task.settlement))? {
            match opened.places.get(slot) {
                Some(place) => return Some((opened, *place)),
                None => slot -= opened.places.len(),
            }
        }
        None
    }

    /// Which of an inference job's inputs a task is about.
    pub fn input_of(&self, task: TaskId) -> Option<usize> {
        let Work::Infer(infer) = &self.spec(task.job)?.work else { return None };
        let (opened, place) = self.round_of(task)?;
        Some((opened.round * infer.group_tasks + place) as usize)
    }

    /// Accepted receipts of one round, in whichever settlements.
    pub fn receipts(&self, job: JobId, round: u32) -> impl Iterator<Item = &Accepted> {
        let first = TaskId { job, settlement: 0, slot: 0 };
        let last = TaskId { job, settlement: u32::MAX, slot: u32::MAX };
        let of = move |task: &TaskId| self.round_of(*task).is_some_and(|(opened, _)| opened.round == round);
        self.accepted.range(first..=last).filter(move |(task, _)| of(task)).map(|(_, accepted)| accepted)
    }

    /// The weight that an accepted update counts with.
    pub fn weighted(&self, job: JobId, accepted: &Accepted) -> WeightedUpdate {
        let cap = self.spec(job).map(|spec| match &spec.work {
            Work::Train(train) => train.round.examples_cap,
            Work::Infer(_) => 0,
        });
        WeightedUpdate { digest: accepted.result, weight: accepted.examples.min(cap.unwrap_or(0)) }
    }

    /// A fact is on the disk for good.
    ///
    /// # Errors
    /// If it breaks a promise.
    pub fn learn(&mut self, record: &Record) -> Checked {
        match &record.fact {
            Fact::Registered { worker, payout, account, invitation } => {
                paid_once::account(self, *worker, *account)?;
                self.admit(invitation.as_ref())?;
                self.accounts.insert(*worker, (*account, *payout));
            }
            // What it says of the worker is looked at where the transcript is kept; what follows is another fact.
            Fact::Judged { .. } => {}
            Fact::SpecKnown { spec, .. } => {
                self.specs.insert(spec.hash(), (**spec).clone());
            }
            Fact::Approved { job, settlement, approval } => {
                self.approved.insert((*job, *settlement), approval.sum_max);
            }
            Fact::Queued { item, .. } => match item.action {
                QueueAction::Fund { spec, .. } => {
                    self.jobs.insert(item.job, spec);
                }
                QueueAction::Close => {
                    self.over.insert(item.job);
                }
                QueueAction::TopUp { .. } => {}
            },
            Fact::ModelReady { job, round, model, .. } => {
                self.models.insert(*job, (*round, *model));
                self.bases.insert((*job, round.map_or(0, |round| round + 1)), *model);
            }
            Fact::Assigned { task, worker, nonce, .. } => {
                paid_once::assignment(self, *task, *nonce)?;
                selection::assigned(self, record.at, *task, *worker)?;
                self.assigned.insert(*nonce, (*task, *worker));
                self.live.insert(*nonce, (*task, *worker));
                self.given_at.insert(*nonce, record.at);
            }
            Fact::Ended { task, nonce, outcome, .. } => {
                fair::ended(self, record.at, *task, *nonce, *outcome)?;
                self.live.remove(nonce);
                self.ended.insert(*nonce, *outcome);
            }
            Fact::Accepted { receipt, owed, promise } => {
                let body = &receipt.body;
                let (task, nonce, worker) = (body.task, body.nonce, receipt.signer);
                let account = self.accounts.get(&worker).map(|(account, _)| *account);
                let accepted = Accepted {
                    worker,
                    account: account.unwrap_or(AccountIndex(u32::MAX)),
                    nonce,
                    receipt: digest_of(receipt),
                    result: body.result,
                    examples: body.examples,
                    owed: *owed,
                };
                earned::accepted(self, task, &accepted)?;
                disputes::accepted(self, task, &accepted)?;
                paid_once::receipt(self, task)?;
                let book = self.owed.entry((task.job, task.settlement)).or_default();
                let book = book.entry(accepted.account).or_default();
                *book = Owed { tasks: book.tasks + 1, units: book.units + owed };
                self.accepted.insert(task, accepted);
                promises::dated(self, record.at, task, promise)?;
                self.live.remove(&nonce);
            }
            Fact::Opened { job, settlement, round, slots } => {
                let opened = settlements::opened(self, record.at, *job, *settlement, *round, *slots)?;
                self.opened.entry((*job, *settlement)).or_default().push(opened);
            }
            Fact::RoundDone { job, round, .. } => {
                selection::done(self, *job, *round)?;
                self.done.insert((*job, *round));
            }
            Fact::Failed { job, .. } => {
                self.over.insert(*job);
            }
            Fact::Closed { job, settlement } => {
                self.closed.insert((*job, *settlement));
            }
            Fact::Sealed(batch) => {
                paid_once::batch(self, batch)?;
                self.credited.sealed(batch);
                let hash = hash_of(batch);
                self.sealed.insert(batch.header.number.0, hash);
                self.sealed_ever.insert(hash);
            }
            Fact::Unsealed { number } => {
                self.sealed.split_off(&number.0);
            }
            Fact::Adopted { batch, .. } => {
                self.credited.sealed(batch);
                self.sealed.split_off(&batch.header.number.0);
                self.sealed.insert(batch.header.number.0, hash_of(batch));
            }
            Fact::Final { number } => self.credited.finalised(number.0),
            Fact::Posted { .. } | Fact::Dropped { .. } => {}
        }
        Ok(())
    }

    /// An invitation is used.
    fn admit(&mut self, invitation: Option<&Name>) -> Checked {
        let Some(invitation) = invitation else { return Ok(()) };
        let left = self.invitations.get_mut(invitation).filter(|left| **left > 0);
        let Some(left) = left else {
            let found = format!("'{invitation}' lets in one more than it is good for");
            return Err(Violation::new("an invitation is good for so many workers", found));
        };
        *left -= 1;
        Ok(())
    }

    /// The coordinator has started: it knows no link.
    pub fn started(&mut self, at: Millis) {
        self.started = at;
        self.drawn.clear();
        self.links.clear();
        self.leaving.clear();
    }

    /// Something reached the coordinator.
    pub fn heard(&mut self, at: Millis, event: &Event) {
        match event {
            Event::Hello { worker, hello } => {
                self.offers.insert(*worker, (**hello).clone());
            }
            Event::Lost { worker } if self.links.get(worker).is_some_and(|(connected, _)| *connected) => {
                self.links.insert(*worker, (false, at));
            }
            Event::Leaving { worker } => {
                self.leaving.entry(*worker).or_insert(at);
            }
            Event::Declined { worker, task, nonce, .. } => {
                self.declined.insert((*worker, *task, *nonce));
            }
            _ => {}
        }
    }

    /// A hello was not refused.
    pub fn let_in(&mut self, at: Millis, worker: WorkerId) {
        self.links.insert(worker, (true, at));
        self.leaving.remove(&worker);
    }

    /// An assignment reached its worker.
    pub fn reached(&mut self, worker: WorkerId, task: &Task) {
        self.reached.insert((worker, task.id, task.nonce));
    }

    /// An acceptance left.
    ///
    /// # Errors
    /// If it contradicts an earlier one.
    pub fn promise(&mut self, acceptance: &Acceptance) -> Checked {
        let key = (acceptance.job, acceptance.settlement, acceptance.account);
        let known = self.promises.entry(key).or_default();
        promises::consistent(known, acceptance)?;
        known.insert(acceptance.tasks, acceptance.owed);
        Ok(())
    }

    /// An update was added to the running sum of its round.
    ///
    /// # Errors
    /// If it was not accepted, or was added before.
    pub fn fold(&mut self, job: JobId, round: u32, update: WeightedUpdate) -> Checked {
        self.folded.entry((job, round)).or_default().push(update);
        rounds::folded(self, job, round)
    }

    /// The coordinator crashed: its running sums are gone.
    pub fn sums_forgotten(&mut self) {
        self.folded.clear();
    }
}

fn digest_of(receipt: &protocol::sign::Unverified<protocol::job::Receipt>) -> Digest {
    // The same bytes as `Signed::digest`, without checking a signature that the core has checked.
    Digest::of(&protocol::wire::codec::encode(receipt))
}
