//! Whether an acceptance is the promise that it should be.

use protocol::hash::Digest;
use protocol::ids::{AccountIndex, Address};
use protocol::job::{SignedAcceptance, Task};
use protocol::time::Millis;
use serde::{Deserialize, Serialize};

use super::fact::{Book, Pin, Step};
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
    /// A count that no promise, or another one, has.
    #[error("it counts {count} tasks, which another acceptance of the settlement does too, or none")]
    Count {
        /// The count.
        count: u32,
    },
    /// Too little.
    #[error("it owes {got} units where at least {least} are due")]
    Owed {
        /// Units owed by it.
        got: u64,
        /// Units due.
        least: u64,
    },
    /// More than a later promise that should include it.
    #[error("it owes {got} units, which leaves too little for a later acceptance that owes {later} in all")]
    PastLater {
        /// Units owed by it.
        got: u64,
        /// Units owed by the later one.
        later: u64,
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
/// Amounts are cumulative within a settlement and counted by `tasks`. Answers may arrive in another order than they were
/// made in, so each is compared with its neighbours by count: it must owe its price more than the one below, and leave
/// the one above its price.
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
    check_amount(acceptance.tasks, acceptance.owed, task.price, book)
}

fn check_amount(count: u32, owed: u64, price: u64, book: Option<&Book>) -> Result<(), WrongAcceptance> {
    let none = std::collections::BTreeMap::<u32, Step>::new();
    let steps = book.map_or(&none, |book| &book.steps);
    if count == 0 || steps.contains_key(&count) {
        return Err(WrongAcceptance::Count { count });
    }
    let below = steps.range(..count).next_back().map_or(0, |(_, step)| step.owed);
    let least = below.saturating_add(price);
    if owed < least {
        return Err(WrongAcceptance::Owed { got: owed, least });
    }
    match steps.range(count..).next() {
        Some((_, above)) if above.owed < owed.saturating_add(above.price) => {
            Err(WrongAcceptance::PastLater { got: owed, later: above.owed })
        }
        _ => Ok(()),
    }
}
