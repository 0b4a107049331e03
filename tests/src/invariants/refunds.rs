//! What a job did not spend goes back to who paid for it.

use super::{Checked, require};
use crate::sim::actors::client::Client;
use crate::sim::chain::Ledger;

const PROPERTY: &str = "unspent escrow returns";

/// At the end every requester can claim what its job did not spend.
///
/// # Errors
/// If one cannot.
pub fn come(clients: &[Client], ledger: &Ledger) -> Checked {
    for (who, client) in clients.iter().enumerate() {
        let job = ledger.job_of(who).and_then(|job| ledger.state().job(job));
        let Some(leaf) = job else {
            return require(false, PROPERTY, || format!("the job of requester {who} was never funded"));
        };
        let due = leaf.funded.as_units() + leaf.refundable.as_units() - leaf.spent.as_units();
        let refund = leaf.refund_at(ledger.batch_time()).as_units();
        require(refund == due, PROPERTY, || {
            let closed = if client.has_closed() { "closed" } else { "finished" };
            format!("requester {who} can claim {refund} of {due} units of its {closed} job")
        })?;
    }
    Ok(())
}
