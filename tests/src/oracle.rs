//! What clients and workers were promised: from the coordinator's durable facts and from messages that left or arrived,
//! never from a program's memory.

use std::collections::{BTreeMap, BTreeSet};

use coordinator::core::{Fact, Outcome, Record, WeightedUpdate};
use protocol::hash::{Digest, Keccak};
use protocol::ids::{AccountIndex, Address, JobId, Nonce, SpecHash, TaskId, WorkerId};
use protocol::job::{Acceptance, JobSpec, Task, Work};
use protocol::ledger::QueueAction;
use protocol::sign::eip712::Domain;

use crate::invariants::{Checked, earned, paid_once, promises, rounds};

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
    /// Settlements that take no more receipts.
    pub closed: BTreeSet<(JobId, u32)>,
    /// The newest model of each job, and the round that made it.
    pub models: BTreeMap<JobId, (Option<u32>, Digest)>,
    /// Sealed batches that were not taken back, by number: the hash of their payload.
    pub sealed: BTreeMap<u64, Keccak>,
    /// Assignments that reached a worker.
    pub reached: BTreeSet<(WorkerId, TaskId, Nonce)>,
    /// Results that workers sent themselves.
    pub uploaded: BTreeSet<(WorkerId, Digest)>,
    /// Acceptances that left: units by tasks.
    pub promises: BTreeMap<(JobId, u32, AccountIndex), BTreeMap<u32, u64>>,
    /// Updates added to running sums since the coordinator started.
    pub folded: BTreeMap<(JobId, u32), Vec<WeightedUpdate>>,
}

impl Oracle {
    /// Before anything was promised.
    pub const fn new(domain: Domain) -> Self {
        Self {
            domain,
            accounts: BTreeMap::new(),
            specs: BTreeMap::new(),
            jobs: BTreeMap::new(),
            assigned: BTreeMap::new(),
            ended: BTreeMap::new(),
            accepted: BTreeMap::new(),
            owed: BTreeMap::new(),
            closed: BTreeSet::new(),
            models: BTreeMap::new(),
            sealed: BTreeMap::new(),
            reached: BTreeSet::new(),
            uploaded: BTreeSet::new(),
            promises: BTreeMap::new(),
            folded: BTreeMap::new(),
        }
    }

    /// The spec of a job.
    pub fn spec(&self, job: JobId) -> Option<&JobSpec> {
        self.specs.get(self.jobs.get(&job)?)
    }

    /// Accepted receipts of one settlement, by slot.
    pub fn receipts(&self, job: JobId, settlement: u32) -> impl Iterator<Item = &Accepted> {
        let first = TaskId { job, settlement, slot: 0 };
        let last = TaskId { job, settlement, slot: u32::MAX };
        self.accepted.range(first..=last).map(|(_, accepted)| accepted)
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
            Fact::Registered { worker, payout, account, .. } => {
                paid_once::account(self, *worker, *account)?;
                self.accounts.insert(*worker, (*account, *payout));
            }
            Fact::SpecKnown { spec, .. } => {
                self.specs.insert(spec.hash(), (**spec).clone());
            }
            Fact::Queued { item, .. } => {
                if let QueueAction::Fund { spec, .. } = item.action {
                    self.jobs.insert(item.job, spec);
                }
            }
            Fact::ModelReady { job, round, model, .. } => {
                self.models.insert(*job, (*round, *model));
            }
            Fact::Assigned { task, worker, nonce } => {
                paid_once::assignment(self, *task, *nonce)?;
                self.assigned.insert(*nonce, (*task, *worker));
            }
            Fact::Ended { nonce, outcome, .. } => {
                self.ended.insert(*nonce, *outcome);
            }
            Fact::Accepted { receipt, owed } => {
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
                paid_once::receipt(self, task)?;
                let book = self.owed.entry((task.job, task.settlement)).or_default();
                let book = book.entry(accepted.account).or_default();
                *book = Owed { tasks: book.tasks + 1, units: book.units + owed };
                self.accepted.insert(task, accepted);
            }
            Fact::Closed { job, settlement } => {
                self.closed.insert((*job, *settlement));
            }
            Fact::Sealed(batch) => {
                paid_once::batch(self, batch)?;
                let hash = protocol::hash::keccak(&[&batch.payload]);
                self.sealed.insert(batch.header.number.0, hash);
            }
            Fact::Unsealed { number } => {
                self.sealed.remove(&number.0);
            }
            Fact::Opened { .. } | Fact::Failed { .. } | Fact::Posted { .. } | Fact::Final { .. } => {}
        }
        Ok(())
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
