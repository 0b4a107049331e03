//! One settlement under way: some rounds that are paid together. A round is one of training, or a group of inference
//! tasks; its slots are the tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use protocol::hash::Digest;
use protocol::ids::{AccountIndex, Address, Nonce, WorkerId};
use protocol::job::{JobSpec, Real, Receipt};
use protocol::sign::Signed;
use protocol::time::Millis;
use serde::{Deserialize, Serialize};

/// A numbered pay step that still takes receipts, or waits to be sealed.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// When it began.
    pub began: Millis,
    /// Its rounds, in the order in which they began here.
    pub rounds: Vec<RoundPart>,
    /// The tasks, by slot.
    pub slots: Vec<Slot>,
    /// Slots that nobody has, of rounds that go on.
    pub free: BTreeSet<u32>,
    /// Receipts accepted.
    pub accepted: u32,
    /// What its acceptances promise: fixed by the first.
    pub promise: Option<Promise>,
    /// Tasks and units owed, by account.
    owed: BTreeMap<AccountIndex, (u32, u64)>,
    /// Slots by the nonce of their present or accepted assignment.
    by_nonce: BTreeMap<Nonce, u32>,
}

/// What every acceptance of a settlement promises. One date for all: a worker keeps only the latest acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// When the settlement is posted at the latest, in seconds since the epoch.
    pub settle_by: u64,
    /// When it has to close for that, with its rounds done or without.
    pub close_by: Millis,
}

/// A round, or what was left of one when the settlement before it had to close.
#[derive(Clone, Debug)]
pub struct RoundPart {
    /// Which of the job's rounds.
    pub round: u32,
    /// When it began here.
    pub began: Millis,
    /// When it may close with a quorum, or is looked at again.
    pub deadline: Millis,
    /// Its slots.
    pub slots: Range<u32>,
    /// Whether it has what it needs.
    pub done: bool,
    /// Workers that get no (more) task of it.
    pub barred: BTreeSet<WorkerId>,
    /// Workers that have, or have done, a task of it.
    pub taking_part: BTreeSet<WorkerId>,
}

/// One task's place.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Which of its round's tasks it is.
    pub place: u32,
    /// What has become of it.
    pub state: SlotState,
    /// Assignments it has had.
    pub attempts: u32,
    /// Those that failed.
    pub failures: u32,
}

/// What has become of a slot.
#[derive(Clone, Debug)]
pub enum SlotState {
    /// Nobody has it.
    Free,
    /// A worker has it.
    Assigned(Assignment),
    /// Its receipt was accepted.
    Done(Box<AcceptedReceipt>),
}

/// A worker has a task.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// Who.
    pub worker: WorkerId,
    /// Ties the receipt to it.
    pub nonce: Nonce,
    /// Whose statement of the result its receipt must carry.
    pub signer: Option<Address>,
    /// Since when.
    pub at: Millis,
    /// When it is given up.
    pub deadline: Millis,
    /// Steps done, of how many.
    pub progress: (u32, u32),
    /// The loss so far.
    pub loss: Option<Real>,
}

/// An accepted receipt.
#[derive(Clone, Debug)]
pub struct AcceptedReceipt {
    /// Whose account is credited.
    pub account: AccountIndex,
    /// The signed receipt.
    pub receipt: Signed<Receipt>,
    /// Its digest.
    pub digest: Digest,
    /// Units owed for it.
    pub owed: u64,
}

impl Settlement {
    /// A settlement without rounds.
    pub const fn new(began: Millis) -> Self {
        Self {
            began,
            rounds: Vec::new(),
            slots: Vec::new(),
            free: BTreeSet::new(),
            accepted: 0,
            promise: None,
            owed: BTreeMap::new(),
            by_nonce: BTreeMap::new(),
        }
    }

    /// Begins a round, or goes on with one, whose tasks at `places` are wanted.
    pub fn begin(&mut self, at: Millis, round: u32, places: impl Iterator<Item = u32>, deadline_ms: u64) {
        let first = self.slots.len() as u32;
        let free = |place| Slot { place, state: SlotState::Free, attempts: 0, failures: 0 };
        self.slots.extend(places.map(free));
        let slots = first..self.slots.len() as u32;
        self.free.extend(slots.clone());
        self.rounds.push(RoundPart {
            round,
            began: at,
            deadline: at.plus(deadline_ms),
            slots,
            done: false,
            barred: BTreeSet::new(),
            taking_part: BTreeSet::new(),
        });
    }

    /// A round has what it needs: nobody gets what is left of its slots.
    pub fn end(&mut self, round: u32) {
        if let Some(part) = self.rounds.iter_mut().find(|part| part.round == round && !part.done) {
            part.done = true;
            let slots = part.slots.clone();
            self.free.retain(|slot| !slots.contains(slot));
        }
    }

    /// Whether another round may begin here at `now` and be over, with its deadline, before the settlement must close.
    pub fn takes_another(&self, spec: &JobSpec, now: Millis) -> bool {
        let in_time = |promise: Promise| now.plus(spec.work.round_ms()) <= promise.close_by;
        (self.rounds.len() as u32) < spec.settlement_rounds && self.promise.is_none_or(in_time)
    }

    /// Its rounds that are not done.
    pub fn running(&self) -> impl Iterator<Item = &RoundPart> {
        self.rounds.iter().filter(|part| !part.done)
    }

    /// The part of a round that is under way here.
    pub fn part(&self, round: u32) -> Option<&RoundPart> {
        self.running().find(|part| part.round == round)
    }

    /// The same, to change.
    pub fn part_mut(&mut self, round: u32) -> Option<&mut RoundPart> {
        self.rounds.iter_mut().find(|part| part.round == round && !part.done)
    }

    /// The round that a slot belongs to.
    pub fn part_of(&self, slot: u32) -> Option<&RoundPart> {
        let after = self.rounds.partition_point(|part| part.slots.end <= slot);
        self.rounds.get(after)
    }

    fn part_of_mut(&mut self, slot: u32) -> &mut RoundPart {
        let after = self.rounds.partition_point(|part| part.slots.end <= slot);
        &mut self.rounds[after]
    }

    /// The slot whose present or accepted assignment has this nonce.
    pub fn slot_of(&self, nonce: &Nonce) -> Option<(u32, &Slot)> {
        self.by_nonce.get(nonce).map(|slot| (*slot, &self.slots[*slot as usize]))
    }

    /// The assignment of a slot.
    pub fn assignment(&self, slot: u32) -> Option<&Assignment> {
        match &self.slots.get(slot as usize)?.state {
            SlotState::Assigned(assignment) => Some(assignment),
            SlotState::Free | SlotState::Done(_) => None,
        }
    }

    /// The assignment of a slot, to change.
    pub fn assignment_mut(&mut self, slot: u32) -> Option<&mut Assignment> {
        match &mut self.slots.get_mut(slot as usize)?.state {
            SlotState::Assigned(assignment) => Some(assignment),
            SlotState::Free | SlotState::Done(_) => None,
        }
    }

    /// Every slot that a worker has.
    pub fn assignments(&self) -> impl Iterator<Item = (u32, &Assignment)> {
        self.assignments_in(0..self.slots.len() as u32)
    }

    /// Those of these slots that a worker has.
    pub fn assignments_in(&self, slots: Range<u32>) -> impl Iterator<Item = (u32, &Assignment)> {
        slots.filter_map(|slot| Some((slot, self.assignment(slot)?)))
    }

    /// Every slot that a worker has, to change.
    pub fn assignments_mut(&mut self) -> impl Iterator<Item = (u32, &mut Assignment)> {
        (0..).zip(&mut self.slots).filter_map(|(number, slot)| match &mut slot.state {
            SlotState::Assigned(assignment) => Some((number, assignment)),
            SlotState::Free | SlotState::Done(_) => None,
        })
    }

    /// The accepted receipt of a slot.
    pub fn receipt(&self, slot: u32) -> Option<&AcceptedReceipt> {
        match &self.slots.get(slot as usize)?.state {
            SlotState::Done(accepted) => Some(accepted),
            SlotState::Free | SlotState::Assigned(_) => None,
        }
    }

    /// Every accepted receipt, by slot.
    pub fn receipts(&self) -> impl Iterator<Item = (u32, &AcceptedReceipt)> {
        (0..self.slots.len() as u32).filter_map(|slot| Some((slot, self.receipt(slot)?)))
    }

    /// Gives a free slot to a worker.
    pub fn assign(&mut self, slot: u32, assignment: Assignment) {
        assert!(self.free.remove(&slot), "only a free slot is assigned");
        self.part_of_mut(slot).taking_part.insert(assignment.worker);
        let place = &mut self.slots[slot as usize];
        place.attempts += 1;
        self.by_nonce.insert(assignment.nonce, slot);
        place.state = SlotState::Assigned(assignment);
    }

    /// Takes a slot from its worker; `bar` keeps the worker from the round's other slots, too.
    pub fn release(&mut self, slot: u32, failed: bool, bar: bool) {
        let place = &mut self.slots[slot as usize];
        let SlotState::Assigned(assignment) = &place.state else { return };
        let (nonce, worker) = (assignment.nonce, assignment.worker);
        place.failures += u32::from(failed);
        place.state = SlotState::Free;
        self.by_nonce.remove(&nonce);
        let part = self.part_of_mut(slot);
        part.taking_part.remove(&worker);
        if bar {
            part.barred.insert(worker);
        }
        if !part.done {
            self.free.insert(slot);
        }
    }

    /// Keeps a worker from what is left of the round that a slot belongs to.
    pub fn bar(&mut self, slot: u32, worker: WorkerId) {
        self.part_of_mut(slot).barred.insert(worker);
    }

    /// Ends a slot with a receipt.
    pub fn accept(&mut self, slot: u32, accepted: AcceptedReceipt) {
        self.free.remove(&slot);
        self.accepted += 1;
        let owed = self.owed.entry(accepted.account).or_default();
        *owed = (owed.0 + 1, owed.1 + accepted.owed);
        self.slots[slot as usize].state = SlotState::Done(Box::new(accepted));
    }

    /// Tasks and units owed to an account so far.
    pub fn owed_to(&self, account: AccountIndex) -> (u32, u64) {
        self.owed.get(&account).copied().unwrap_or_default()
    }

    /// Units owed to everybody so far.
    pub fn owed(&self) -> u64 {
        self.owed.values().map(|(_, units)| units).sum()
    }

    /// The most units it may come to owe with the rounds it has, if the task of a round and a place pays `most`.
    pub fn may_owe(&self, most: impl Fn(u32, u32) -> u64) -> u128 {
        let part = |part: &RoundPart| {
            let open = part.slots.clone().filter(|slot| self.receipt(*slot).is_none());
            open.map(|slot| u128::from(most(part.round, self.slots[slot as usize].place))).sum::<u128>()
        };
        u128::from(self.owed()) + self.running().map(part).sum::<u128>()
    }
}
