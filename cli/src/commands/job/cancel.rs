//! `fedroll job cancel`

use contracts::base_layer::{BaseLayer, BaseLayerWriter};
use protocol::amount::Amount;
use protocol::api::JobPhase;
use protocol::hash::Keccak;
use protocol::ids::JobId;
use protocol::job::ClosingOrder;
use serde::Serialize;

use super::relay::Signed;
use crate::args::job::Cancel;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::funding::Requester;
use crate::network;
use crate::order::Order;
use crate::output::{Output, Report};
use crate::page::Page;

#[derive(Serialize)]
struct Cancelled {
    #[serde(with = "protocol::api::text")]
    job: JobId,
    #[serde(with = "protocol::api::text")]
    transaction: Keccak,
    /// Unix seconds; the refund can be claimed once a batch after it is final.
    closes_at: u64,
    grace_seconds: u64,
    challenge_seconds: u64,
    #[serde(with = "protocol::api::text")]
    unspent: Amount,
}

impl Report for Cancelled {
    fn text(&self, page: &mut Page) {
        let job = self.job;
        page.line(format_args!("job {job} is closed: no new work begins"));
        page.line(format_args!(
            "what is accepted already may settle for another {} s; then at most {} tokens come back",
            self.grace_seconds, self.unspent
        ));
        page.line(format_args!(
            "claim them with `fedroll claim --refund {job}` once a batch later than that is final \
             ({} s after it is posted)",
            self.challenge_seconds
        ));
    }
}

/// Closes a job on the base layer.
pub async fn run(args: &Cancel, out: &Output) -> anyhow::Result<ExitStatus> {
    let (client, network) = network::coordinator(&args.pay.coordinator)?;
    let key = network.key(&args.pay.key)?;
    let status = client.job(args.job).await?;
    let job = status.job.ok_or_else(|| CliError::Mismatch {
        what: format!("job {} is not funded: there is nothing to close", status.name),
        fix: "leave it: the coordinator forgets jobs that nobody funds",
    })?;
    if status.phase == JobPhase::Done {
        return Err(CliError::Mismatch {
            what: format!("job {job} is done: there is nothing to close"),
            fix: "fedroll claim --refund takes back what it did not spend",
        }
        .into());
    }
    let unspent = status.funded.sub(status.spent).unwrap_or(Amount::ZERO);
    let requester = Requester { client: &client, key: &key, network: &network };
    let chain = requester.chain(&client.info().await?).await?;
    if !args.pay.yes {
        out.confirm(&format!(
            "Close job {job} ({}) for good? At most {unspent} tokens come back.",
            status.name
        ))?;
    }
    if let Some(file) = &args.sign.sign_only {
        let deadline = chain.now().await?.saturating_add(args.sign.valid_for.0 / 1_000);
        let (order, rollup) = (ClosingOrder { job, deadline }, chain.domain());
        let signature = key.sign(&order.digest(&rollup));
        let order = Order::Close { order, requester: key.address(), signature };
        return out.answer(&Signed::write(&order, file, &rollup)?);
    }
    let chain = chain.with_key(&key);
    let cost = chain.close_job(job).await?;
    let config = *chain.config();
    let closed = chain.block(cost.block).await?.map_or(0, |block| block.time);
    out.answer(&Cancelled {
        job,
        transaction: cost.tx,
        closes_at: closed + config.close_grace,
        grace_seconds: config.close_grace,
        challenge_seconds: config.challenge_window,
        unspent,
    })
}
