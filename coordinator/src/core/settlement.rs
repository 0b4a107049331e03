//! One settlement under way: a training round, or a group of inference tasks. Its slots are the tasks.

use std::collections::{BTreeMap, BTreeSet};

use protocol::hash::Digest;
use protocol::ids::{AccountIndex, Nonce, WorkerId};
use protocol::job::{Real, Receipt};
use protocol::sign::Signed;
use protocol::time::Millis;

/// A numbered pay step that still takes receipts, or waits to be sealed.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// When it began.
    pub began: Millis,
    /// When it may close with a quorum, or is looked at again.
    pub deadline: Millis,
    /// The tasks, by slot.
    pub slots: Vec<Slot>,
    /// Slots that nobody has.
    pub free: BTreeSet<u32>,
    /// Receipts accepted.
    pub accepted: u32,
    /// Workers that get no (more) task of this settlement.
    pub barred: BTreeSet<WorkerId>,
    /// Workers that have, or have done, a task of it.
    pub taking_part: BTreeSet<WorkerId>,
    /// Tasks and units owed, by account.
    owed: BTreeMap<AccountIndex, (u32, u64)>,
    /// Slots by the nonce of their present or accepted assignment.
    by_nonce: BTreeMap<Nonce, u32>,
}

/// One task's place.
#[derive(Clone, Debug)]
pub struct Slot {
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
    /// What its acceptance promised: when the settlement is posted at the latest, in seconds since the epoch.
    pub settle_by: u64,
    /// When the settlement has to close for that.
    pub close_by: Millis,
}

impl Settlement {
    /// A settlement whose slots are all free.
    pub fn new(began: Millis, slots: u32, deadline_ms: u64) -> Self {
        let slot = Slot { state: SlotState::Free, attempts: 0, failures: 0 };
        Self {
            began,
            deadline: began.plus(deadline_ms),
            slots: vec![slot; slots as usize],
            free: (0..slots).collect(),
            accepted: 0,
            barred: BTreeSet::new(),
            taking_part: BTreeSet::new(),
            owed: BTreeMap::new(),
            by_nonce: BTreeMap::new(),
        }
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
        (0..).zip(&self.slots).filter_map(|(number, slot)| match &slot.state {
            SlotState::Assigned(assignment) => Some((number, assignment)),
            SlotState::Free | SlotState::Done(_) => None,
        })
    }

    /// Every slot that a worker has, to change.
    pub fn assignments_mut(&mut self) -> impl Iterator<Item = (u32, &mut Assignment)> {
        (0..).zip(&mut self.slots).filter_map(|(number, slot)| match &mut slot.state {
            SlotState::Assigned(assignment) => Some((number, assignment)),
            SlotState::Free | SlotState::Done(_) => None,
        })
    }

    /// Every accepted receipt, by slot.
    pub fn receipts(&self) -> impl Iterator<Item = (u32, &AcceptedReceipt)> {
        (0..).zip(&self.slots).filter_map(|(number, slot)| match &slot.state {
            SlotState::Done(accepted) => Some((number, &**accepted)),
            SlotState::Free | SlotState::Assigned(_) => None,
        })
    }

    /// Gives a free slot to a worker.
    pub fn assign(&mut self, slot: u32, assignment: Assignment) {
        assert!(self.free.remove(&slot), "only a free slot is assigned");
        let place = &mut self.slots[slot as usize];
        place.attempts += 1;
        self.by_nonce.insert(assignment.nonce, slot);
        self.taking_part.insert(assignment.worker);
        place.state = SlotState::Assigned(assignment);
    }

    /// Takes a slot from its worker; `bar` keeps the worker from the settlement's other slots, too.
    pub fn release(&mut self, slot: u32, failed: bool, bar: bool) {
        let place = &mut self.slots[slot as usize];
        if let SlotState::Assigned(assignment) = &place.state {
            self.by_nonce.remove(&assignment.nonce);
            self.taking_part.remove(&assignment.worker);
            place.failures += u32::from(failed);
            if bar {
                self.barred.insert(assignment.worker);
            }
            place.state = SlotState::Free;
            self.free.insert(slot);
        }
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
}
