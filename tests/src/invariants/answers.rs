//! Every receipt is answered, and no honest worker is given an answer that does not hold.

use coordinator::core::Coordinator;
use protocol::ids::WorkerId;
use worker::core::{Outcome, Records, WrongAcceptance};

use super::{Checked, Violation, require};
use crate::oracle::Oracle;

const PROPERTY: &str = "every accepted receipt is answered by a promise that holds";

/// A worker found an acceptance wrong.
pub fn disputed(worker: WorkerId, wrong: &WrongAcceptance) -> Violation {
    Violation::new(PROPERTY, format!("{worker:?} disputes an acceptance: {wrong}"))
}

/// At the end a worker knows of every receipt of its own that was accepted, and of what is owed for them.
///
/// # Errors
/// If it does not.
pub fn complete(oracle: &Oracle, worker: WorkerId, records: &Records) -> Checked {
    let mine = || oracle.accepted.iter().filter(|(_, accepted)| accepted.worker == worker);
    for (task, accepted) in mine() {
        let outcome = records.ended(&accepted.nonce).map(|ended| &ended.outcome);
        require(matches!(outcome, Some(Outcome::Accepted { .. })), PROPERTY, || {
            format!("{worker:?} has {outcome:?} for the accepted task {task}")
        })?;
    }
    let due: u128 = mine().map(|(_, accepted)| u128::from(accepted.owed)).sum();
    let known: u128 = records.jobs.values().map(|totals| totals.owed).sum();
    require(due == known, PROPERTY, || format!("{worker:?} counts {known} units, its receipts earned {due}"))
}

/// Whoever asks what lies behind a batch of the coordinator is shown it.
///
/// # Errors
/// If receipts are missing.
pub fn shown(core: &Coordinator) -> Checked {
    let ours = core.batches().records().iter().filter(|record| record.proposer == core.config().operator);
    for number in ours.map(|record| record.header.number) {
        require(
            core.results_of(number).is_some(),
            "receipts are kept until nobody may ask for them",
            || format!("the results of batch {number} cannot be shown"),
        )?;
    }
    Ok(())
}
