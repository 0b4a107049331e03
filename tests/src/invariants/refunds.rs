//! What a job did not spend goes back to who paid for it, and what went back is never spent.

use protocol::ids::JobId;
use protocol::ledger::Job;

use super::{Checked, require};
use crate::sim::actors::client::Client;
use crate::sim::bugs::Bug;
use crate::sim::ledger::Ledger;

/// What the contract pays back over a job's life by a batch of this time: the rule in the contract's words, beside the
/// ledger's own in `Job::refund_at`.
pub fn paid_back(leaf: &Job, time: u64, bug: Option<Bug>) -> u128 {
    let settled = leaf.next_settlement + u32::from(bug == Some(Bug::RefundsEarly));
    let finished = settled == leaf.terms.settlements && bug != Some(Bug::RefundsNeedClosing);
    let closed = leaf.closing != 0 && time > leaf.closing;
    let unspent = if finished || closed { leaf.funded.as_units() - leaf.spent.as_units() } else { 0 };
    leaf.refundable.as_units() + unspent
}

/// What a requester could have taken back by any batch so far has not been spent since.
///
/// # Errors
/// If a job spends money that its requester may have already.
pub fn not_spent(id: JobId, leaf: &Job, taken: u128) -> Checked {
    let (paid_in, spent) = (leaf.funded.as_units() + leaf.refundable.as_units(), leaf.spent.as_units());
    require(taken + spent <= paid_in, "what went back is not spent", || {
        format!("job {id} was paid {paid_in} units, spent {spent}, and {taken} may have gone back")
    })
}

/// At the end every requester can claim what its job did not spend.
///
/// # Errors
/// If one cannot.
pub fn come(clients: &[Client], ledger: &Ledger) -> Checked {
    const PROPERTY: &str = "unspent escrow returns";
    for (who, client) in clients.iter().enumerate() {
        let job = ledger.job_of(who).and_then(|id| Some((id, ledger.state().job(id)?)));
        let Some((id, leaf)) = job else {
            return require(false, PROPERTY, || format!("the job of requester {who} was never funded"));
        };
        let due = leaf.funded.as_units() + leaf.refundable.as_units() - leaf.spent.as_units();
        let refund = ledger.refund_of(id);
        require(refund == due, PROPERTY, || {
            let closed = if client.has_closed() { "closed" } else { "finished" };
            format!("requester {who} can claim {refund} of {due} units of its {closed} job")
        })?;
    }
    Ok(())
}
