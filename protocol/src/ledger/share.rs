//! How a settlement's reward is divided among those whose work was accepted.

use std::collections::BTreeMap;

use crate::amount::{Amount, AmountError};
use crate::hash::Digest;
use crate::ids::AccountIndex;
use crate::ledger::builder::SettlementCredit;
use crate::ledger::op::Credit;

/// One accepted task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedTask {
    /// Who did it.
    pub account: AccountIndex,
    /// How much it counts: items answered, or a weight; rewards by task ignore it.
    pub weight: u64,
    /// The digest of its receipt.
    pub receipt: Digest,
    /// The digest of what it returned.
    pub result: Digest,
}

/// What a settlement pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reward {
    /// The same for every accepted task: the rule for training rounds.
    PerTask(Amount),
    /// For every unit of weight: the rule for inference, where a task's weight is the items it answered.
    PerWeight(Amount),
    /// A fixed sum, divided by weight; units that do not divide go to the earliest tasks ([`Amount::split`]).
    Pool(Amount),
}

/// Why a reward cannot be divided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// A product or sum out of range, or a pool without any weight.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// More tasks for one account than a credit can state.
    #[error("account {account} did {tasks} tasks in one settlement, a credit states at most 65535")]
    Tasks {
        /// The account.
        account: AccountIndex,
        /// Its tasks.
        tasks: usize,
    },
    /// More money for one account than a credit can state.
    #[error("account {account} would get {amount} in one settlement, a credit states at most 2^64 units")]
    TooMuch {
        /// The account.
        account: AccountIndex,
        /// Its share.
        amount: Amount,
    },
}

/// Divides `reward` among the accepted tasks, which stand in the order of their slots: one credit an account, ascending.
///
/// The credits add up to the reward exactly, however it is divided.
pub fn divide(reward: Reward, tasks: &[AcceptedTask]) -> Result<Vec<SettlementCredit>, ShareError> {
    let amounts = match reward {
        Reward::PerTask(price) => vec![price; tasks.len()],
        Reward::PerWeight(price) => {
            tasks.iter().map(|task| price.times(task.weight)).collect::<Result<_, _>>()?
        }
        Reward::Pool(_) if tasks.is_empty() => Vec::new(),
        Reward::Pool(whole) => whole.split(&tasks.iter().map(|task| task.weight).collect::<Vec<_>>())?,
    };
    let mut accounts: BTreeMap<AccountIndex, Vec<(&AcceptedTask, Amount)>> = BTreeMap::new();
    for (task, amount) in tasks.iter().zip(amounts) {
        accounts.entry(task.account).or_default().push((task, amount));
    }
    accounts.into_iter().map(|(account, tasks)| aggregate(account, &tasks)).collect()
}

fn aggregate(
    account: AccountIndex,
    tasks: &[(&AcceptedTask, Amount)],
) -> Result<SettlementCredit, ShareError> {
    let amount = tasks.iter().try_fold(Amount::ZERO, |sum, (_, amount)| sum.add(*amount))?;
    let count = u16::try_from(tasks.len()).map_err(|_| ShareError::Tasks { account, tasks: tasks.len() })?;
    let units = u64::try_from(amount.as_units()).map_err(|_| ShareError::TooMuch { account, amount })?;
    Ok(SettlementCredit {
        credit: Credit { account, tasks: count, amount: units },
        receipts: digest_of(tasks.iter().map(|(task, _)| task.receipt)),
        results: digest_of(tasks.iter().map(|(task, _)| task.result)),
    })
}

/// One digest for several, in order: the digest of them written one after another. What a results leaf states.
pub fn digest_of(digests: impl IntoIterator<Item = Digest>) -> Digest {
    let bytes: Vec<u8> = digests.into_iter().flat_map(|digest| digest.0).collect();
    Digest::of(&bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn task(account: u32, weight: u64, number: u8) -> AcceptedTask {
        let (receipt, result) = (Digest([number; 32]), Digest([number + 100; 32]));
        AcceptedTask { account: AccountIndex(account), weight, receipt, result }
    }

    fn pay(credits: &[SettlementCredit]) -> Vec<(u32, u16, u64)> {
        credits
            .iter()
            .map(|entry| (entry.credit.account.0, entry.credit.tasks, entry.credit.amount))
            .collect()
    }

    #[test]
    fn an_account_gets_one_credit_for_all_its_tasks() {
        let tasks = [task(5, 10, 1), task(2, 20, 2), task(5, 30, 3)];
        let credits = divide(Reward::PerTask(Amount::units(7)), &tasks).unwrap();
        assert_eq!(pay(&credits), [(2, 1, 7), (5, 2, 14)]);
        assert_eq!(credits[1].receipts, digest_of([Digest([1; 32]), Digest([3; 32])]));
        assert_eq!(credits[0].results, digest_of([Digest([102; 32])]));
        let by_item = divide(Reward::PerWeight(Amount::units(2)), &tasks).unwrap();
        assert_eq!(pay(&by_item), [(2, 1, 40), (5, 2, 80)]);
        let pool = divide(Reward::Pool(Amount::units(100)), &tasks).unwrap();
        assert_eq!(pay(&pool), [(2, 1, 33), (5, 2, 67)]);
    }

    #[test]
    fn what_a_credit_cannot_state_is_an_error() {
        let account = AccountIndex(1);
        let tasks = vec![task(1, 1, 1); 65_536];
        let each = Reward::PerTask(Amount::units(1));
        assert_eq!(divide(each, &tasks), Err(ShareError::Tasks { account, tasks: 65_536 }));
        let amount = Amount::units(1 << 64);
        let one = [task(1, 1, 1)];
        assert_eq!(divide(Reward::PerTask(amount), &one), Err(ShareError::TooMuch { account, amount }));
        assert_eq!(divide(Reward::Pool(amount), &[]), Ok(vec![]));
        let weightless = [task(1, 0, 1)];
        assert_eq!(
            divide(Reward::Pool(amount), &weightless),
            Err(ShareError::Amount(AmountError::NoWeights))
        );
    }

    proptest! {
        #[test]
        fn credits_ascend_and_add_up(
            units in 0..u64::MAX,
            tasks in proptest::collection::vec((0u32..9, 1u64..1000), 1..50),
        ) {
            let tasks: Vec<_> = tasks.iter().map(|(account, weight)| task(*account, *weight, 1)).collect();
            let credits = divide(Reward::Pool(Amount::units(units.into())), &tasks).unwrap();
            prop_assert!(credits.is_sorted_by(|a, b| a.credit.account < b.credit.account));
            let sum: u128 = credits.iter().map(|entry| u128::from(entry.credit.amount)).sum();
            prop_assert_eq!(sum, u128::from(units));
            let count: usize = credits.iter().map(|entry| usize::from(entry.credit.tasks)).sum();
            prop_assert_eq!(count, tasks.len());
        }
    }
}
