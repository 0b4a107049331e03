//! The base layer's queue: what requesters did with their money, in the order of the base layer, as a hash chain.

use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::hash::{Keccak, Tag, tagged};
use crate::ids::{Address, JobId, SpecHash};
use crate::ledger::state::Terms;

/// What a queue item asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueueAction {
    /// Opens a job.
    Fund {
        /// Money put into escrow.
        amount: Amount,
        /// Who may credit.
        coordinator: Address,
        /// The spec that is funded.
        spec: SpecHash,
        /// Its numeric terms.
        terms: Terms,
    },
    /// Adds to a job's escrow.
    TopUp {
        /// Money put into escrow.
        amount: Amount,
    },
    /// Closes a job after the grace period.
    Close,
}

/// One item: what, for which job, by whom, when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueItem {
    /// The job.
    pub job: JobId,
    /// Unix seconds of the base layer's block.
    pub time: u64,
    /// Who sent the transaction.
    pub sender: Address,
    /// What it asks for.
    pub action: QueueAction,
}

impl QueueAction {
    /// The byte that stands for the kind of item on the base layer: 0 fund, 1 top-up, 2 close.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Fund { .. } => 0,
            Self::TopUp { .. } => 1,
            Self::Close => 2,
        }
    }
}

impl QueueItem {
    /// The chain's hash at this item: item `index` after the hash `previous` (zero before the first).
    pub fn hash(&self, previous: Keccak, index: u64) -> Keccak {
        let nothing = (Amount::ZERO, Address::ZERO, SpecHash([0; 32]), Terms::ZERO);
        let (amount, coordinator, spec, terms) = match self.action {
            QueueAction::Fund { amount, coordinator, spec, terms } => (amount, coordinator, spec, terms),
            QueueAction::TopUp { amount } => (amount, nothing.1, nothing.2, nothing.3),
            QueueAction::Close => nothing,
        };
        tagged(
            Tag::QueueItem,
            &[
                &previous.0,
                &index.to_be_bytes(),
                &[self.action.kind()],
                &self.job.0.to_be_bytes(),
                &self.time.to_be_bytes(),
                &self.sender.0,
                &amount.as_units().to_be_bytes(),
                &coordinator.0,
                &spec.0,
                &terms.to_bytes(),
            ],
        )
    }
}

/// Every item so far with the chain's hash at each. About 250 bytes an item.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    items: Vec<(QueueItem, Keccak)>,
}

impl Queue {
    /// How many items there are.
    pub fn len(&self) -> u64 {
        self.items.len() as u64
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Item `index`, from 0.
    pub fn get(&self, index: u64) -> Option<&QueueItem> {
        usize::try_from(index).ok().and_then(|index| self.items.get(index)).map(|(item, _)| item)
    }

    /// The chain's hash over the first `end` items: zero for none, `None` if there are fewer.
    pub fn hash_at(&self, end: u64) -> Option<Keccak> {
        match end.checked_sub(1) {
            None => Some(Keccak::ZERO),
            Some(last) => {
                usize::try_from(last).ok().and_then(|last| self.items.get(last)).map(|(_, hash)| *hash)
            }
        }
    }

    /// Appends an item and returns the chain's hash at it.
    pub fn push(&mut self, item: QueueItem) -> Keccak {
        let previous = self.items.last().map_or(Keccak::ZERO, |(_, hash)| *hash);
        let hash = item.hash(previous, self.len());
        self.items.push((item, hash));
        hash
    }

    /// Forgets every item from `length` on: the base layer took them back.
    pub fn truncate(&mut self, length: u64) {
        self.items.truncate(usize::try_from(length).unwrap_or(usize::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(action: QueueAction) -> QueueItem {
        QueueItem { job: JobId(1), time: 5, sender: Address([3; 20]), action }
    }

    #[test]
    fn the_chain_binds_each_item_its_place_and_what_came_before() {
        let mut queue = Queue::default();
        assert_eq!(queue.hash_at(0), Some(Keccak::ZERO));
        let first = queue.push(item(QueueAction::Close));
        let second = queue.push(item(QueueAction::Close));
        assert_ne!(first, second);
        assert_eq!((queue.hash_at(1), queue.hash_at(2), queue.hash_at(3)), (Some(first), Some(second), None));
        queue.truncate(1);
        let other = queue.push(item(QueueAction::TopUp { amount: Amount::units(1) }));
        assert_ne!(other, second);
        assert_eq!(queue.hash_at(1), Some(first));
        assert_eq!(queue.hash_at(u64::MAX), None);
    }
}
