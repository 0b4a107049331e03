//! `fedroll job approve`

use protocol::amount::Amount;
use protocol::api::Approve;
use protocol::ids::JobId;
use protocol::ledger::approval_digest;
use serde::Serialize;

use crate::args::job;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::funding::Requester;
use crate::network;
use crate::output::{Output, Report};
use crate::page::{Page, count};

#[derive(Serialize)]
struct Approved {
    #[serde(with = "protocol::api::text")]
    job: JobId,
    /// Numbers from 0.
    settlements: Vec<u32>,
    #[serde(with = "protocol::api::text")]
    up_to_each: Amount,
    /// Settlements that are still to be approved.
    left: u32,
}

impl Report for Approved {
    fn text(&self, page: &mut Page) {
        let (job, up_to) = (self.job, self.up_to_each);
        let settlements = count(self.settlements.len() as u64, "settlement", "settlements");
        page.line(format_args!("{settlements} of job {job} may be paid, up to {up_to} tokens each"));
        if self.left > 0 {
            page.line(format_args!(
                "{} can follow: look at what was done (`fedroll job status {job}`), then approve again",
                self.left
            ));
        }
    }
}

/// Signs approvals of a job's next settlements and hands them in.
pub async fn run(args: &job::Approve, out: &Output) -> anyhow::Result<ExitStatus> {
    let (client, network) = network::coordinator(&args.pay.coordinator)?;
    let key = network.key(&args.pay.key)?;
    let status = client.job(args.job).await?;
    let job = status.job.ok_or_else(|| CliError::Mismatch {
        what: format!("job {} is not funded: there is nothing to approve", status.name),
        fix: "fund it first: fedroll job submit",
    })?;
    let asked = status.approval.ok_or_else(|| CliError::Mismatch {
        what: format!("job {job} asks for no approvals"),
        fix: "leave it: its settlements are paid without",
    })?;
    if asked.next >= asked.settlements {
        let what = format!("all {} settlements of job {job} are approved", asked.settlements);
        return Err(CliError::Mismatch { what, fix: "leave it: there is nothing more to sign" }.into());
    }
    if status.requester != Some(key.address()) {
        let owner = status.requester.map_or_else(|| "somebody else".to_owned(), |owner| owner.to_string());
        let what = format!("job {job} is {owner}'s, and the key is {}'s", key.address());
        return Err(CliError::Mismatch { what, fix: "name the key that funded it: --key-file" }.into());
    }
    // What is signed follows from the spec, whose hash was funded, not from what the coordinator says it costs.
    let sum_max = client.spec(status.spec).await?.settlement_pay();
    let up_to = Amount::units(sum_max.into());
    let last = asked.settlements.min(asked.next.saturating_add(args.settlements.get()));
    let settlements: Vec<u32> = (asked.next..last).collect();
    let requester = Requester { client: &client, key: &key, network: &network };
    let rollup = contracts::base_layer::BaseLayer::domain(&requester.chain(&client.info().await?).await?);
    if !args.pay.yes {
        let many = count(settlements.len() as u64, "settlement", "settlements");
        out.confirm(&format!(
            "Let {many} of job {job} ({}) be paid, up to {up_to} tokens each?",
            status.name
        ))?;
    }
    for &settlement in &settlements {
        let signature = key.sign(&approval_digest(&rollup, job, settlement, sum_max));
        client.approve(job, &Approve { settlement, up_to, signature }).await?;
    }
    out.answer(&Approved { job, settlements, up_to_each: up_to, left: asked.settlements - last })
}
