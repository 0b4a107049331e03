//! An acceptance is a promise: they agree with each other, and each is kept.

use std::collections::BTreeMap;

use coordinator::core::settlement::Promise;
use protocol::ids::TaskId;
use protocol::job::Acceptance;
use protocol::time::Millis;

use super::{Checked, require};
use crate::oracle::Oracle;
use crate::sim::ledger::{Ledger, Paid};

const DATED: &str = "a settlement has one date, and closes in time for it";
const PROPERTY: &str = "every acceptance that left is credited";

/// More tasks never owe less, and as many tasks owe the same.
///
/// # Errors
/// If an acceptance contradicts an earlier one of its account and settlement.
pub fn consistent(known: &BTreeMap<u32, u64>, acceptance: &Acceptance) -> Checked {
    let (tasks, owed) = (acceptance.tasks, acceptance.owed);
    let below = known.range(..tasks).next_back().is_none_or(|(_, units)| *units <= owed);
    let above = known.range(tasks + 1..).next().is_none_or(|(_, units)| *units >= owed);
    let same = known.get(&tasks).is_none_or(|units| *units == owed);
    require(below && above && same, PROPERTY, || {
        format!("{tasks} tasks for {owed} units contradict earlier promises {known:?}")
    })
}

/// All acceptances of a settlement promise one date, and it takes no receipt when it should have closed for that: a
/// worker keeps only the latest acceptance, which must not put an earlier one off.
///
/// # Errors
/// If a date differs from the first one's, or lies behind.
pub fn dated(oracle: &mut Oracle, at: Millis, task: TaskId, promise: &Promise) -> Checked {
    let key = (task.job, task.settlement);
    let first = *oracle.settle_by.entry(key).or_insert(promise.settle_by);
    let in_time = at < promise.close_by && promise.close_by.secs() < promise.settle_by;
    require(first == promise.settle_by && in_time, DATED, || {
        format!(
            "task {task}, accepted at {at}, is promised {promise:?}; the settlement's first date is {first}"
        )
    })
}

/// What left has been paid, at least.
///
/// # Errors
/// If a promise is broken.
pub fn kept(oracle: &Oracle, ledger: &Ledger) -> Checked {
    for ((job, settlement, account), promises) in &oracle.promises {
        let Some((tasks, owed)) = promises.last_key_value() else { continue };
        let paid = ledger.settlements().get(&(*job, *settlement)).and_then(|paid| paid.get(account));
        let paid = paid.copied().unwrap_or(Paid::default());
        require(paid.tasks >= *tasks && paid.units >= *owed, PROPERTY, || {
            format!(
                "account {account} was promised {owed} units for {tasks} tasks of settlement {settlement} of \
                 job {job}, and got {paid:?}"
            )
        })?;
    }
    Ok(())
}
