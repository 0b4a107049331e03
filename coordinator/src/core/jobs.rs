//! A job from funded to settled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::api::JobPhase;
use protocol::hash::Digest;
use protocol::ids::{Address, JobId, SpecHash, TaskId};
use protocol::job::{Evaluated, JobSpec, TaskWork, TrainData, Work};
use protocol::ledger::Approval;
use protocol::time::Millis;

use super::limits::LOG_LINES_MAX;
use super::settlement::{AcceptedReceipt, Settlement};

/// A funded job that names this coordinator.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its index in the ledger.
    pub id: JobId,
    /// What was funded.
    pub spec_hash: SpecHash,
    /// Who funded it.
    pub requester: Address,
    /// The spec, once it is known.
    pub spec: Option<JobSpec>,
    /// Where it stands.
    pub phase: JobPhase,
    /// Why it waits or failed.
    pub why: String,
    /// The newest model.
    pub model: Option<Digest>,
    /// The weights that the first round of training starts from.
    pub initial: Option<Digest>,
    /// Rounds, from the first on, whose weights and updates are not kept any more.
    pub discarded: u32,
    /// The next round to begin.
    pub next_round: u32,
    /// Rounds that have begun, and go on in another settlement than they began in.
    pub interrupted: BTreeSet<u32>,
    /// The number of the next settlement to open.
    pub next: u32,
    /// Settlements that take receipts.
    pub open: BTreeMap<u32, Settlement>,
    /// Settlements that take no more, and are not final in the base layer.
    pub closed: BTreeMap<u32, Settlement>,
    /// Approvals of its requester, by settlement; none are kept of a job that asks for none.
    pub approvals: BTreeMap<u32, Approval>,
    /// The number of the next settlement to seal.
    pub next_sealed: u32,
    /// Settlements, from the first on, that are final.
    pub final_settlements: u32,
    /// A round whose model is being made.
    pub finishing: Option<u32>,
    /// Whether the initial weights are being made.
    pub initialising: bool,
    /// Rounds, oldest first.
    pub rounds: Vec<Round>,
    /// Answer blobs by input blob.
    pub answers: Vec<Option<Digest>>,
    /// Items answered.
    pub items: u64,
    /// Bytes of accepted results.
    pub bytes_up: u64,
    /// Bytes of models and inputs handed out since the last restart.
    pub bytes_down: u64,
    /// What happened, newest last.
    pub log: VecDeque<(u64, Millis, String)>,
    log_next: u64,
}

/// One round of a training job, for people.
#[derive(Clone, Debug)]
pub struct Round {
    /// When it began.
    pub began: Millis,
    /// When it took no more updates.
    pub closed: Option<Millis>,
    /// Assignments made.
    pub asked: u32,
    /// Tasks whose updates were accepted, in the order they came.
    pub accepted: Vec<TaskId>,
    /// Which of the round's tasks each of them is.
    pub places: Vec<u32>,
    /// The model that came out.
    pub model: Option<Digest>,
    /// Mean training loss, weighted.
    pub loss: Option<f64>,
    /// How the model did.
    pub evaluated: Option<Evaluated>,
    /// The updates, for as long as they are kept.
    pub updates: Vec<Digest>,
}

impl Job {
    /// A job as the base layer's queue tells of it.
    pub fn new(id: JobId, spec_hash: SpecHash, requester: Address) -> Self {
        Self {
            id,
            spec_hash,
            requester,
            spec: None,
            phase: JobPhase::Waiting,
            why: "the requester has not handed in the spec".into(),
            model: None,
            initial: None,
            discarded: 0,
            next_round: 0,
            interrupted: BTreeSet::new(),
            next: 0,
            open: BTreeMap::new(),
            closed: BTreeMap::new(),
            approvals: BTreeMap::new(),
            next_sealed: 0,
            final_settlements: 0,
            finishing: None,
            initialising: false,
            rounds: Vec::new(),
            answers: Vec::new(),
            items: 0,
            bytes_up: 0,
            bytes_down: 0,
            log: VecDeque::new(),
            log_next: 1,
        }
    }

    /// Adds a line to the job's log.
    pub fn note(&mut self, at: Millis, text: String) {
        if self.log.len() == LOG_LINES_MAX {
            self.log.pop_front();
        }
        self.log.push_back((self.log_next, at, text));
        self.log_next += 1;
    }

    /// Whether work may go on.
    pub fn is_live(&self) -> bool {
        matches!(self.phase, JobPhase::Waiting | JobPhase::Running)
    }

    /// Settlements the job has in all; 0 while the spec is unknown.
    pub fn settlements(&self) -> u32 {
        self.spec.as_ref().map_or(0, JobSpec::settlements)
    }

    /// Blobs that have to be on disk before work can start.
    pub fn needed_blobs(spec: &JobSpec) -> Vec<Digest> {
        use protocol::job::Evaluation;
        match &spec.work {
            Work::Train(train) => {
                let mut blobs: Vec<_> = train.start.into_iter().collect();
                if let Evaluation::Coordinator { images, labels } = train.evaluation {
                    blobs.extend([images, labels]);
                }
                blobs.extend(train.data.shards().iter().map(|shard| shard.digest));
                blobs
            }
            Work::Infer(infer) => {
                let mut blobs = vec![infer.weights];
                blobs.extend(infer.inputs.iter().map(|input| input.digest));
                blobs
            }
        }
    }

    /// An open or closed settlement.
    pub fn settlement(&self, number: u32) -> Option<&Settlement> {
        self.open.get(&number).or_else(|| self.closed.get(&number))
    }

    /// Whether a closed settlement owes anything.
    pub fn pays_in(&self, number: u32) -> bool {
        self.closed.get(&number).is_none_or(|settlement| settlement.accepted > 0)
    }

    /// Whether a round that has tasks in a closed settlement is not done, or its model not made.
    pub fn works_on(&self, number: u32) -> bool {
        let unmade = |round| {
            self.interrupted.contains(&round)
                || self.finishing == Some(round)
                || self.running().any(|(_, running)| running == round)
        };
        let parts = self.closed.get(&number).map(|settlement| settlement.rounds.as_slice());
        parts.unwrap_or_default().iter().any(|part| unmade(part.round))
    }

    /// Closes the settlements that are not needed, once every round is done: only then is the job over on the base
    /// layer, and what it did not spend its requester's.
    pub fn close_spares(&mut self, at: Millis) {
        let done = self.open.is_empty() && self.round_to_open().is_none();
        // One that failed, or that its requester closed, is over by its closing.
        if done && self.spec.is_some() && self.is_live() {
            let spare = self.next..self.settlements();
            self.closed.extend(spare.map(|number| (number, Settlement::new(at))));
            self.next = self.next.max(self.settlements());
        }
    }

    /// The round to begin, or to go on with, next.
    pub fn round_to_open(&self) -> Option<u32> {
        let rounds = self.spec.as_ref().map_or(0, |spec| spec.work.rounds());
        let fresh = (self.next_round < rounds).then_some(self.next_round);
        self.interrupted.first().copied().or(fresh)
    }

    /// Rounds under way: the settlement that each is in, and its number.
    pub fn running(&self) -> impl Iterator<Item = (u32, u32)> {
        self.open.iter().flat_map(|(number, open)| open.running().map(|part| (*number, part.round)))
    }

    /// Whether there is a settlement, begun or not, that can take another round at `now`.
    pub fn has_settlement_left(&self, now: Millis) -> bool {
        self.settlement_with_room(now).is_some() || self.next < self.settlements()
    }

    /// The accepted receipts of a round of training, as they came.
    pub fn round_receipts(&self, round: u32) -> impl Iterator<Item = &AcceptedReceipt> {
        let tasks = self.rounds.get(round as usize).into_iter().flat_map(|round| &round.accepted);
        tasks.filter_map(|task| self.settlement(task.settlement)?.receipt(task.slot))
    }

    /// Places of a round whose tasks are still wanted: all but what was accepted in an earlier settlement.
    pub fn wanted_places(&self, round: u32) -> Vec<u32> {
        let Some(spec) = &self.spec else { return Vec::new() };
        match &spec.work {
            Work::Train(train) => match train.data {
                TrainData::Local(_) => {
                    let have = self.rounds.get(round as usize).map_or(0, |round| round.accepted.len() as u32);
                    (have..spec.work.round_tasks()).collect()
                }
                TrainData::Job(_) => {
                    (0..spec.work.round_tasks()).filter(|place| !self.is_shard_done(round, *place)).collect()
                }
            },
            Work::Infer(infer) => {
                let blobs = infer.blobs_of(round);
                (0..).zip(blobs).filter(|(_, blob)| self.answers[*blob].is_none()).map(|(at, _)| at).collect()
            }
        }
    }

    /// Whether a round of training has an update out of the shard that belongs to a place; never if the data stays on
    /// the workers.
    pub fn is_shard_done(&self, round: u32, place: u32) -> bool {
        let Some(Work::Train(train)) = self.spec.as_ref().map(|spec| &spec.work) else { return false };
        let done = self.rounds.get(round as usize).map_or(&[][..], |round| &round.places);
        let same = |other: &u32| train.stands_for(*other) == train.stands_for(place);
        matches!(train.data, TrainData::Job(_)) && done.iter().any(same)
    }

    /// The work of a task; `None` if its settlement is not known any more, or there are no weights for it yet.
    pub fn work_of(&self, task: TaskId) -> Option<TaskWork> {
        let work = &self.spec.as_ref()?.work;
        let (round, place) = self.place_of(task)?;
        let weights = match work {
            Work::Train(_) => self.base_of(round)?,
            Work::Infer(infer) => infer.weights,
        };
        work.task(round, place, weights)
    }

    /// The round that a task belongs to, and which of its tasks it is.
    pub fn place_of(&self, task: TaskId) -> Option<(u32, u32)> {
        let settlement = self.settlement(task.settlement)?;
        Some((settlement.part_of(task.slot)?.round, settlement.slots.get(task.slot as usize)?.place))
    }

    /// The round that a task belongs to.
    pub fn round_of(&self, task: TaskId) -> Option<u32> {
        Some(self.settlement(task.settlement)?.part_of(task.slot)?.round)
    }

    /// Which of an inference job's inputs a task is about.
    pub fn input_of(&self, task: TaskId) -> Option<usize> {
        let Work::Infer(infer) = &self.spec.as_ref()?.work else { return None };
        let settlement = self.settlement(task.settlement)?;
        let place = settlement.slots.get(task.slot as usize)?.place;
        Some(infer.blobs_of(settlement.part_of(task.slot)?.round).start + place as usize)
    }

    /// The settlement that the next round joins, if one that is open has room for it at `now`.
    pub fn settlement_with_room(&self, now: Millis) -> Option<u32> {
        let (number, newest) = self.open.last_key_value()?;
        let spec = self.spec.as_ref()?;
        newest.takes_another(spec, now).then_some(*number)
    }

    /// The most units that settlements begun and not sealed may cost, their fees included, once the next round has
    /// begun at `now`, too.
    pub fn needed_for_next(&self, spec: &JobSpec, now: Millis) -> u128 {
        let most = |round, place: u32| match &spec.work {
            Work::Train(_) => spec.price,
            Work::Infer(infer) => {
                spec.price * u64::from(infer.inputs[infer.blobs_of(round).start + place as usize].items)
            }
        };
        let more: u128 = self.round_to_open().map_or(0, |round| {
            self.wanted_places(round).into_iter().map(|place| u128::from(most(round, place))).sum()
        });
        let joins = self.settlement_with_room(now);
        let open = self.open.iter().map(|(number, settlement)| {
            let more = if joins == Some(*number) { more } else { 0 };
            spec.with_fee(settlement.may_owe(most) + more)
        });
        let closed = self.closed.range(self.next_sealed..);
        let closed = closed.map(|(_, settlement)| spec.with_fee(settlement.owed().into()));
        let alone = if joins.is_none() { spec.with_fee(more) } else { 0 };
        open.chain(closed).sum::<u128>() + alone
    }
}
