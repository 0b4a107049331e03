//! Bugs to plant: each changes what passes through a seam of the simulator (effects, inputs, facts, the base layer) the
//! way a wrong core, shell or disk would. A cluster that misses one shows what it lacks.

use coordinator::core::batches::SealedBatch;
use coordinator::core::{Effect, Event, Fact};
use protocol::job::{TaskData, TaskWork, Work};
use protocol::sign::NodeKey;
use protocol::time::Millis;
use protocol::wire::message::ToWorker;
use serde::{Deserialize, Serialize};

use super::{Peer, Sim};

macro_rules! bugs {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A planted bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Bug {
            $($(#[$doc])* $name,)*
        }

        impl Bug {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

bugs! {
    /// Effects do not wait for the flush of the facts they rest on.
    SendBeforeFlush,
    /// Accepted receipts are not written down.
    AcceptanceNotWritten,
    /// Assignments are written down twice.
    AssignmentWrittenTwice,
    /// A crash loses the newest durable acceptance.
    DiskLosesAcceptance,
    /// A crash loses the newest sealed batch: its settlements are sealed again.
    DiskLosesBatch,
    /// An acceptance on disk owes one unit more.
    OwedMisread,
    /// The approval of a settlement is written down as that of the next.
    ApprovalMisfiled,
    /// A receipt with any nonce counts for whoever has the task.
    AnyNonce,
    /// Whether the result was uploaded is not looked at.
    ResultNotChecked,
    /// Acceptances promise one unit too much.
    PromisesTooMuch,
    /// Acceptances promise one unit too little.
    PromisesTooLittle,
    /// Acceptances name the next account.
    WrongAccount,
    /// Acceptances are sent once, and not again for a receipt that comes again.
    AnsweredOnce,
    /// Tasks go to the wrong worker.
    WrongWorker,
    /// An update is added to the running sum twice.
    FoldedTwice,
    /// The last update is left out of a round's model.
    UpdateForgotten,
    /// Everything but the newest model is thrown away when old blobs are.
    DiscardsTooMuch,
    /// A credit in a posted batch goes to another account.
    BatchPaysAnother,
    /// A batch is posted once, and not again when it is lost.
    PostOnce,
    /// A batch that a reorganisation takes back is not posted again.
    DroppedForgotten,
    /// Queue items are believed before they are final.
    BelieveUnfinal,
    /// Batches are counted as final once they are posted.
    BelieveEarly,
    /// Timers are lost.
    TimersLost,
    /// The base layer pays back what a job did not spend only once it is closed.
    RefundsNeedClosing,
    /// The base layer pays it back before the last settlement.
    RefundsEarly,
    /// Others' batches are not looked at.
    OthersUnseen,
    /// Others' wrong batches are taken for right ones that say nothing.
    WrongAdopted,
    /// That another's batch was adopted is not written down.
    AdoptionNotWritten,
    /// Nobody proves a wrong batch wrong.
    WrongLeftStanding,
    /// A proof is sent once, and not again when it is lost.
    ProveOnce,
    /// Acceptances promise a later date than what is written down.
    PromisesLater,
    /// The date that a settlement's acceptances promise moves on with each of them.
    DateMovesOn,
    /// A settlement closes when its date is over.
    ClosesLate,
    /// The referee of a dispute takes the worker's word.
    JudgedWrongly,
    /// The stakes are halved: workers are told half of a task's price.
    PriceHalved,
    /// Tasks are told to be on another shard than the spec deals them.
    AnotherShard,
    /// The newest results are thrown away with the old ones.
    DiscardsEarly,
}

impl Sim {
    /// Takes an effect from the core to the disk's queue, changed by the planted bug.
    pub(super) fn plant_in_effect(&mut self, effect: Effect) {
        let Some(bug) = self.bug else { return self.keep_effect(effect) };
        match (bug, effect) {
            (Bug::AcceptanceNotWritten, Effect::Persist(record))
                if matches!(record.fact, Fact::Accepted { .. }) => {}
            (Bug::AssignmentWrittenTwice, Effect::Persist(record))
                if matches!(record.fact, Fact::Assigned { .. }) =>
            {
                self.keep_effect(Effect::Persist(record.clone()));
                self.keep_effect(Effect::Persist(record));
            }
            (Bug::OwedMisread, Effect::Persist(mut record)) => {
                if let Fact::Accepted { owed, .. } = &mut record.fact {
                    *owed += 1;
                }
                self.keep_effect(Effect::Persist(record));
            }
            (Bug::ApprovalMisfiled, Effect::Persist(mut record)) => {
                if let Fact::Approved { settlement, .. } = &mut record.fact {
                    *settlement += 1;
                }
                self.keep_effect(Effect::Persist(record));
            }
            (Bug::AdoptionNotWritten, Effect::Persist(record))
                if matches!(record.fact, Fact::Adopted { .. }) => {}
            (Bug::DateMovesOn | Bug::ClosesLate, Effect::Persist(mut record)) => {
                if let Fact::Accepted { receipt, promise, .. } = &mut record.fact {
                    match bug {
                        Bug::ClosesLate => promise.close_by = Millis((promise.settle_by + 1) * 1_000),
                        _ => promise.settle_by += u64::from(receipt.body.task.slot),
                    }
                }
                self.keep_effect(Effect::Persist(record));
            }
            (Bug::WrongLeftStanding, Effect::Prove { .. }) => {}
            (Bug::FoldedTwice, fold @ Effect::Fold { .. }) => {
                self.keep_effect(fold.clone());
                self.keep_effect(fold);
            }
            (Bug::UpdateForgotten, Effect::FinishRound(mut finish)) => {
                finish.updates.pop();
                self.keep_effect(Effect::FinishRound(finish));
            }
            (Bug::DiscardsTooMuch, Effect::Discard(_)) => {
                let kept = self.coordinator.blobs.pop_first();
                self.keep_effect(Effect::Discard(kept.into_iter().collect()));
            }
            (bug, Effect::Accept { to, task, nonce, mut acceptance }) => {
                match bug {
                    Bug::PromisesTooMuch => acceptance.owed += 1,
                    Bug::PromisesTooLittle => acceptance.owed -= 1,
                    Bug::WrongAccount => acceptance.account.0 += 1,
                    Bug::PromisesLater => acceptance.settle_by += 1,
                    Bug::AnsweredOnce if self.oracle.accepted.contains_key(&task) => return,
                    _ => {}
                }
                self.keep_effect(Effect::Accept { to, task, nonce, acceptance });
            }
            (Bug::WrongWorker, Effect::Send { message: message @ ToWorker::Assign { .. }, .. }) => {
                let who = self.rng.below(self.peers.len() as u64) as usize;
                let to = self.peer_id(who);
                self.keep_effect(Effect::Send { to, message });
            }
            (Bug::AnotherShard, Effect::Send { to, message: ToWorker::Assign { mut task, posted } }) => {
                if let TaskWork::Train(train) = &mut task.work
                    && let TaskData::Shard(shard) = &mut train.data
                {
                    shard.digest.0[0] ^= 1;
                }
                self.keep_effect(Effect::Send { to, message: ToWorker::Assign { task, posted } });
            }
            (Bug::DiscardsEarly, Effect::Discard(mut blobs)) => {
                blobs.extend(self.oracle.accepted.last_key_value().map(|(_, accepted)| accepted.result));
                self.keep_effect(Effect::Discard(blobs));
            }
            (Bug::PriceHalved, Effect::Send { to, message: ToWorker::Assign { mut task, posted } }) => {
                task.price = task.price.div_ceil(2);
                self.keep_effect(Effect::Send { to, message: ToWorker::Assign { task, posted } });
            }
            (_, other) => self.keep_effect(other),
        }
    }

    /// Changes what the core is told.
    pub(super) fn plant_in_input(&self, event: Event) -> Event {
        match (self.bug, event) {
            (Some(Bug::AnyNonce), Event::Receipt { worker, receipt, result }) => {
                self.any_nonce(&receipt).unwrap_or(Event::Receipt { worker, receipt, result })
            }
            (Some(Bug::ResultNotChecked), Event::Receipt { worker, receipt, .. }) => {
                Event::Receipt { worker, receipt, result: Ok(()) }
            }
            (
                Some(Bug::WrongAdopted),
                Event::OthersBatch { mut batch, transaction, gas, posted_at, final_at },
            ) if self.chain.settled().wrong() == Some(&*batch) => {
                batch.payload.clear();
                batch.header.post = self.chain.settled().state().parts();
                batch.commitment = batch.expected_commitment().expect("nothing is malformed");
                Event::OthersBatch { batch, transaction, gas, posted_at, final_at }
            }
            (_, event) => event,
        }
    }

    /// The receipt that the task's holder would have signed.
    fn any_nonce(&self, receipt: &protocol::sign::Signed<protocol::job::Receipt>) -> Option<Event> {
        let core = self.coordinator.core()?;
        let task = receipt.body().task;
        let settlement = core.jobs().get(&task.job)?.open.get(&task.settlement)?;
        let held = settlement.assignment(task.slot)?;
        let who = *self.ids.get(&held.worker)?;
        let key = match &self.peers[who] {
            Peer::Honest(_) | Peer::Liar(_) => NodeKey::from_seed(&[1 + who as u8; 32]),
        };
        let mut body = receipt.body().clone();
        body.nonce = held.nonce;
        let training = core.jobs()[&task.job].spec.as_ref().map(|spec| matches!(spec.work, Work::Train(_)));
        body.examples = if training == Some(true) { body.examples.max(1) } else { body.examples };
        let (worker, receipt) = (held.worker, Box::new(key.sign(body)));
        let result = self.judge_result(worker, receipt.body());
        Some(Event::Receipt { worker, receipt, result })
    }

    /// Loses facts as a broken disk would: for planted bugs.
    fn lose_fact(&mut self, which: impl Fn(&Fact) -> bool) {
        self.coordinator.disk.lose(|record| which(&record.fact));
    }

    /// Loses what a good disk keeps.
    pub(super) fn plant_in_crash(&mut self) {
        match self.bug {
            Some(Bug::DiskLosesAcceptance) => self.lose_fact(|fact| matches!(fact, Fact::Accepted { .. })),
            Some(Bug::DiskLosesBatch) => {
                self.lose_fact(|fact| matches!(fact, Fact::Posted { .. }));
                self.lose_fact(|fact| matches!(fact, Fact::Sealed(_)));
            }
            _ => {}
        }
    }

    /// Changes what is posted.
    pub(super) fn plant_in_post(&self, mut batch: SealedBatch) -> SealedBatch {
        if self.planted(Bug::BatchPaysAnother)
            && let Some(chunk) = batch.chunks.first_mut().filter(|chunk| chunk.bytes.len() > 25)
        {
            // The lowest byte of the account, if it opens with credits.
            chunk.bytes[13] ^= 1;
        }
        batch
    }
}
