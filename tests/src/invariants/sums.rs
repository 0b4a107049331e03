//! Money is neither made nor lost: what accounts earned and coordinators took is what jobs spent, and no job spends
//! more than it has.

use protocol::ledger::State;

use super::{Checked, require};

const PROPERTY: &str = "money is neither made nor lost";

/// Adds up a ledger.
///
/// # Errors
/// If the sums differ.
pub fn balance(state: &State) -> Checked {
    let earned: u128 = state.accounts().map(|(_, account)| account.earned.as_units()).sum();
    let (mut fees, mut spent) = (0, 0);
    for (id, job) in state.jobs() {
        let (taken, has) = (job.spent.as_units(), job.funded.as_units());
        require(taken <= has, PROPERTY, || format!("job {id} spent {taken} of {has} units"))?;
        fees += job.fees.as_units();
        spent += taken;
    }
    require(earned + fees == spent, PROPERTY, || {
        format!("accounts earned {earned} and coordinators {fees}; jobs spent {spent}")
    })
}
