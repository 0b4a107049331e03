//! Nobody is paid twice: one account a worker, one receipt a task, one batch a number.

use coordinator::core::batches::SealedBatch;
use protocol::ids::{AccountIndex, Nonce, TaskId, WorkerId};

use super::{Checked, require};
use crate::oracle::Oracle;

const PROPERTY: &str = "nothing is paid twice";

/// A worker gets an account.
///
/// # Errors
/// If it, or another worker, has it already.
pub fn account(oracle: &Oracle, worker: WorkerId, account: AccountIndex) -> Checked {
    let taken = oracle.accounts.values().any(|(index, _)| *index == account);
    require(!taken && !oracle.accounts.contains_key(&worker), PROPERTY, || {
        format!("{worker:?} is registered under account {account}, which is a second registration")
    })
}

/// A task is assigned.
///
/// # Errors
/// If its nonce was used before.
pub fn assignment(oracle: &Oracle, task: TaskId, nonce: Nonce) -> Checked {
    let before = oracle.assigned.get(&nonce);
    require(before.is_none(), PROPERTY, || format!("the nonce of task {task} was used for {before:?}"))?;
    require(!oracle.accepted.contains_key(&task), PROPERTY, || {
        format!("task {task} is assigned again after it was done")
    })
}

/// A receipt is accepted.
///
/// # Errors
/// If its task has one.
pub fn receipt(oracle: &Oracle, task: TaskId) -> Checked {
    require(!oracle.accepted.contains_key(&task), PROPERTY, || {
        format!("a second receipt is accepted for task {task}")
    })
}

/// A batch is sealed.
///
/// # Errors
/// If there is one of its number that was not taken back.
pub fn batch(oracle: &Oracle, batch: &SealedBatch) -> Checked {
    let number = batch.header.number.0;
    require(!oracle.sealed.contains_key(&number), PROPERTY, || {
        format!("batch {number} is sealed again, and the first was not taken back")
    })
}
