//! Whether an acceptance is the promise that it should be.

use core::cmp::Ordering;

use protocol::hash::Digest;
use protocol::ids::{AccountIndex, Address};
use protocol::job::{SignedAcceptance, Task};
use protocol::time::Millis;
use serde::{Deserialize, Serialize};

use super::fact::{Book, Pin};
use super::limits::SETTLE_BY_MS_MAX;

/// What is wrong with an acceptance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum WrongAcceptance {
    /// Not signed by the coordinator for its contract.
    #[error("it is not signed by {coordinator} for this contract and chain")]
    Signature {
        /// Who should have signed.
        coordinator: Address,
    },
    /// For another job, spec or settlement.
    #[error("it is for another job, spec or settlement than the task's")]
    Task,
    /// For another receipt.
    #[error("it answers receipt {got}, not {want}")]
    Receipt {
        /// The receipt named.
        got: Digest,
        /// The worker's.
        want: Digest,
    },
    /// For another account.
    #[error("it credits account {got}, not {want}")]
    Account {
        /// The account named.
        got: AccountIndex,
        /// The worker's.
        want: AccountIndex,
    },
    /// For another payout address.
    #[error("it pays {got}, not {want}")]
    Payout {
        /// The address named.
        got: Address,
        /// The worker's.
        want: Address,
    },
    /// Fewer tasks than were accepted.
    #[error("it counts {got} tasks of the settlement where at least {least} were accepted")]
    Count {
        /// Tasks counted by it.
        got: u32,
        /// Receipts accepted, this one included.
        least: u32,
    },
    /// Too little.
    #[error("it owes {got} units for the settlement where at least {least} are due")]
    Owed {
        /// Units owed by it.
        got: u64,
        /// Units due.
        least: u64,
    },
    /// Another account of the settlement than an earlier promise gives.
    #[error(
        "{got_tasks} tasks for {got} units contradict an earlier promise of {known} units for {known_tasks}"
    )]
    Contradiction {
        /// Units owed by it.
        got: u64,
        /// Tasks counted by it.
        got_tasks: u32,
        /// Units owed by the earlier one.
        known: u64,
        /// Tasks counted by the earlier one.
        known_tasks: u32,
    },
    /// Not to be settled for ages.
    #[error("it need not be settled before {settle_by} (Unix seconds), which is too far ahead")]
    SettleBy {
        /// The date, Unix seconds.
        settle_by: u64,
    },
}

/// Checks `signed` as the answer to the receipt `digest` of `task`, with `book` holding what was promised earlier in the
/// same settlement.
///
/// Amounts are cumulative within a settlement. Answers may arrive in another order than they were made in, and a receipt
/// sent again may be answered by what is owed by then. So the promises with more tasks must owe no less, and the one with
/// the most must cover every receipt that was accepted so far: no honest coordinator can fail that, in any order.
pub(super) fn check(
    signed: &SignedAcceptance,
    task: &Task,
    digest: Digest,
    pin: &Pin,
    book: Option<&Book>,
    now: Millis,
) -> Result<(), WrongAcceptance> {
    let acceptance = &signed.acceptance;
    if !signed.is_from(pin.coordinator, &pin.domain) {
        return Err(WrongAcceptance::Signature { coordinator: pin.coordinator });
    }
    if (acceptance.job, acceptance.settlement, acceptance.spec)
        != (task.id.job, task.id.settlement, task.spec)
    {
        return Err(WrongAcceptance::Task);
    }
    if acceptance.receipt != digest {
        return Err(WrongAcceptance::Receipt { got: acceptance.receipt, want: digest });
    }
    if acceptance.account != pin.account {
        return Err(WrongAcceptance::Account { got: acceptance.account, want: pin.account });
    }
    if acceptance.payout != pin.payout {
        return Err(WrongAcceptance::Payout { got: acceptance.payout, want: pin.payout });
    }
    if acceptance.settle_by > now.plus(SETTLE_BY_MS_MAX).secs() {
        return Err(WrongAcceptance::SettleBy { settle_by: acceptance.settle_by });
    }
    check_amount((acceptance.tasks, acceptance.owed), task.price, book)
}

fn check_amount(got: (u32, u64), price: u64, book: Option<&Book>) -> Result<(), WrongAcceptance> {
    let known = book.map_or((0, 0), |book| (book.latest.acceptance.tasks, book.latest.acceptance.owed));
    let (accepted, due) = book.map_or((0, 0), |book| (book.accepted, book.due));
    let agrees = match got.0.cmp(&known.0) {
        Ordering::Less => got.1 <= known.1,
        Ordering::Equal => got.1 == known.1,
        Ordering::Greater => got.1 >= known.1,
    };
    if !agrees {
        let ((got_tasks, got), (known_tasks, known)) = (got, known);
        return Err(WrongAcceptance::Contradiction { got, got_tasks, known, known_tasks });
    }
    let (tasks, owed) = got.max(known);
    let (least_tasks, least_owed) = (accepted.saturating_add(1), due.saturating_add(price));
    if tasks < least_tasks {
        return Err(WrongAcceptance::Count { got: tasks, least: least_tasks });
    }
    if owed < least_owed {
        return Err(WrongAcceptance::Owed { got: owed, least: least_owed });
    }
    Ok(())
}
