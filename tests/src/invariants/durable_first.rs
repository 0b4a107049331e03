//! Nothing leaves before the fact that it rests on is durable.

use coordinator::core::batches::SealedBatch;
use protocol::ids::{Nonce, TaskId, WorkerId};
use protocol::job::Acceptance;
use protocol::wire::message::ToWorker;

use super::{Checked, require};
use crate::oracle::{Oracle, hash_of};

const PROPERTY: &str = "nothing leaves before its fact is durable";

/// A message leaves for a worker.
///
/// # Errors
/// If it rests on a fact that a crash could lose.
pub fn said(oracle: &Oracle, to: WorkerId, message: &ToWorker) -> Checked {
    match message {
        ToWorker::Welcome(welcome) => {
            let account = oracle.accounts.get(&to);
            require(account == Some(&(welcome.account, welcome.payout)), PROPERTY, || {
                format!("{to:?} is welcomed with account {}, the facts say {account:?}", welcome.account)
            })?;
            let asked = oracle.offers.get(&to).map(|offer| offer.payout);
            require(asked == Some(welcome.payout), "payout addresses are bound for ever", || {
                format!("{to:?} asked to be paid at {asked:?} and is welcomed with {:?}", welcome.payout)
            })?;
            welcome.expected.iter().try_for_each(|(task, nonce)| assigned(oracle, to, *task, nonce))
        }
        ToWorker::Assign { task, .. } => {
            assigned(oracle, to, task.id, &task.nonce)?;
            super::earned::told(oracle, task)?;
            super::selection::told(oracle, task)
        }
        ToWorker::Cancel { task, nonce, .. } => require(oracle.ended.contains_key(nonce), PROPERTY, || {
            format!("task {task} is cancelled, and no fact says that it ended")
        }),
        ToWorker::Asked { task, nonce, .. } => assigned(oracle, to, *task, nonce),
        ToWorker::Refused(_)
        | ToWorker::Accepted { .. }
        | ToWorker::Rejected { .. }
        | ToWorker::PassedOver { .. } => Ok(()),
    }
}

fn assigned(oracle: &Oracle, to: WorkerId, task: TaskId, nonce: &Nonce) -> Checked {
    let fact = oracle.assigned.get(nonce);
    require(fact == Some(&(task, to)), PROPERTY, || {
        format!("{to:?} is given task {task}, the facts say {fact:?}")
    })
}

/// An acceptance leaves.
///
/// # Errors
/// If it promises more, or something else, than durable facts say.
pub fn promised(
    oracle: &Oracle,
    to: WorkerId,
    task: TaskId,
    nonce: Nonce,
    acceptance: &Acceptance,
) -> Checked {
    let Some(accepted) = oracle.accepted.get(&task).filter(|accepted| accepted.nonce == nonce) else {
        return require(false, PROPERTY, || {
            format!("task {task} is promised to be paid, and no fact says that its receipt was accepted")
        });
    };
    let name = (accepted.worker, accepted.account, accepted.receipt);
    require(name == (to, acceptance.account, acceptance.receipt), PROPERTY, || {
        format!("the acceptance of task {task} names another worker, account or receipt: {acceptance:?}")
    })?;
    let owed = oracle.owed.get(&(task.job, task.settlement)).and_then(|book| book.get(&accepted.account));
    let covered = owed.is_some_and(|owed| acceptance.tasks <= owed.tasks && acceptance.owed <= owed.units);
    require(covered && acceptance.owed >= accepted.owed, PROPERTY, || {
        format!("task {task}: {} units are promised, the facts say {owed:?}", acceptance.owed)
    })?;
    let date = oracle.settle_by.get(&(task.job, task.settlement));
    require(date == Some(&acceptance.settle_by), PROPERTY, || {
        format!("task {task} is promised to be settled by {}, the facts say {date:?}", acceptance.settle_by)
    })
}

/// A batch leaves.
///
/// # Errors
/// If it was never sealed.
pub fn posted(oracle: &Oracle, batch: &SealedBatch) -> Checked {
    let hash = hash_of(batch);
    let sealed = oracle.sealed.get(&batch.header.number.0);
    require(oracle.sealed_ever.contains(&hash), PROPERTY, || {
        format!("batch {} is posted as {hash:?} and sealed as {sealed:?}", batch.header.number)
    })
}
