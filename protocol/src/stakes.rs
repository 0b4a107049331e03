//! What workers have at stake, as a registry on the base layer tells it in its events.

use std::collections::BTreeMap;

use crate::amount::Amount;
use crate::ids::{AccountIndex, Address, Nonce, WorkerId};
use crate::job::{Reason, StakeTerms};

/// What stands behind a worker's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stake {
    /// Who paid it in and can ask it back: the account's payout address.
    pub staker: Address,
    /// Whose statements count.
    pub signer: Address,
    /// How much it is.
    pub amount: Amount,
    /// Unix seconds from when it may be withdrawn, if that was asked for: it counts no more.
    pub exit_at: Option<u64>,
}

impl Stake {
    /// What a job may count on.
    pub const fn counts(&self) -> Amount {
        if self.exit_at.is_none() { self.amount } else { Amount::ZERO }
    }
}

/// Something happened to an account's stake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StakeEvent {
    /// Whose.
    pub account: AccountIndex,
    /// What.
    pub change: StakeChange,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StakeChange {
    /// It joined; how much it staked follows.
    Joined {
        /// Its worker.
        worker: WorkerId,
        /// Who stakes.
        staker: Address,
        /// Whose statements count.
        signer: Address,
    },
    /// Somebody added to it. From the staker this takes back a request to exit.
    Added {
        /// Who.
        from: Address,
        /// What is staked with it.
        total: Amount,
    },
    /// It was asked back, and counts no more.
    ExitRequested {
        /// Unix seconds from when it may be withdrawn.
        exit_at: u64,
    },
    /// It was withdrawn.
    Withdrawn,
    /// It was taken: two results for one task.
    Slashed {
        /// Whose statements these were.
        signer: Address,
        /// The nonce of the task.
        nonce: Nonce,
    },
}

/// Every stake of a registry: the fold of its events, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StakeBook(BTreeMap<AccountIndex, Stake>);

impl StakeBook {
    /// Adds one event. Events that do not follow from the earlier ones change nothing: no registry emits them.
    pub fn apply(&mut self, event: &StakeEvent) {
        match event.change {
            StakeChange::Joined { staker, signer, .. } => {
                let stake = Stake { staker, signer, amount: Amount::ZERO, exit_at: None };
                self.0.insert(event.account, stake);
            }
            StakeChange::Added { from, total } => {
                if let Some(stake) = self.0.get_mut(&event.account) {
                    stake.amount = total;
                    if from == stake.staker {
                        stake.exit_at = None;
                    }
                }
            }
            StakeChange::ExitRequested { exit_at } => {
                if let Some(stake) = self.0.get_mut(&event.account) {
                    stake.exit_at = Some(exit_at);
                }
            }
            StakeChange::Withdrawn | StakeChange::Slashed { .. } => drop(self.0.remove(&event.account)),
        }
    }

    /// What an account has at stake.
    pub fn get(&self, account: AccountIndex) -> Option<&Stake> {
        self.0.get(&account)
    }

    /// All of them, by account.
    pub fn iter(&self) -> impl Iterator<Item = (AccountIndex, &Stake)> {
        self.0.iter().map(|(account, stake)| (*account, stake))
    }
}

/// Why a stake is not what a job asks for; `None` if it is.
pub fn shortfall(terms: &StakeTerms, stake: Option<&Stake>) -> Option<Reason> {
    let least = Amount::units(terms.least.into());
    match stake {
        None => Some(format!("has nothing at stake, and the job asks for {least} tokens").into()),
        Some(stake) if stake.exit_at.is_some() => {
            Some("has asked for its stake back: it counts no more".into())
        }
        Some(stake) if stake.amount < least => {
            Some(format!("has {} tokens at stake, and the job asks for {least}", stake.amount).into())
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAKER: Address = Address([1; 20]);

    fn book(changes: &[StakeChange]) -> StakeBook {
        let mut book = StakeBook::default();
        for change in changes {
            book.apply(&StakeEvent { account: AccountIndex(3), change: *change });
        }
        book
    }

    fn added(from: u8, total: u128) -> StakeChange {
        StakeChange::Added { from: Address([from; 20]), total: Amount::units(total) }
    }

    const JOINED: StakeChange =
        StakeChange::Joined { worker: WorkerId([9; 32]), staker: STAKER, signer: Address([2; 20]) };
    const LEAVING: StakeChange = StakeChange::ExitRequested { exit_at: 77 };

    #[test]
    fn the_book_follows_the_registry() {
        let counts = |changes: &[StakeChange]| book(changes).get(AccountIndex(3)).map(Stake::counts);
        assert_eq!(counts(&[JOINED, added(1, 50)]), Some(Amount::units(50)));
        assert_eq!(counts(&[JOINED, added(1, 50), LEAVING]), Some(Amount::ZERO));
        assert_eq!(counts(&[JOINED, added(1, 50), LEAVING, added(8, 60)]), Some(Amount::ZERO));
        assert_eq!(counts(&[JOINED, added(1, 50), LEAVING, added(1, 60)]), Some(Amount::units(60)));
        assert_eq!(counts(&[JOINED, added(1, 50), LEAVING, StakeChange::Withdrawn]), None);
        let slashed = StakeChange::Slashed { signer: Address([2; 20]), nonce: Nonce([0; 32]) };
        assert_eq!(counts(&[JOINED, added(1, 50), slashed]), None);
        assert_eq!(counts(&[added(1, 50), LEAVING]), None);
    }

    #[test]
    fn what_is_missing_is_said() {
        let terms = StakeTerms { registry: Address([5; 20]), least: 50 };
        let why = |changes: &[StakeChange]| {
            shortfall(&terms, book(changes).get(AccountIndex(3))).map(|reason| reason.to_string())
        };
        assert_eq!(why(&[JOINED, added(1, 50)]), None);
        assert!(why(&[]).unwrap().contains("nothing at stake"));
        assert!(why(&[JOINED, added(1, 49)]).unwrap().contains("0.000049 tokens at stake"));
        assert!(why(&[JOINED, added(1, 50), LEAVING]).unwrap().contains("asked for its stake back"));
    }
}
