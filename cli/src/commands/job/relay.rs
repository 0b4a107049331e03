//! `fedroll job relay`, and what `--sign-only` answers.

use std::path::{Path, PathBuf};

use contracts::base_layer::{BaseLayer as _, BaseLayerWriter as _};
use contracts::rpc::RpcChain;
use protocol::amount::Amount;
use protocol::api::text;
use protocol::hash::Keccak;
use protocol::ids::{Address, JobId};
use protocol::sign::eip712::Domain;
use serde::Serialize;

use crate::args::job::Relay;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::network::Network;
use crate::order::Order;
use crate::output::{Output, Report};
use crate::page::{Page, utc};

const GWEI: u128 = 1_000_000_000;

/// An order that was written down.
#[derive(Serialize)]
pub struct Signed {
    file: PathBuf,
    #[serde(with = "text")]
    requester: Address,
    /// Unix seconds.
    deadline: u64,
}

impl Report for Signed {
    fn text(&self, page: &mut Page) {
        page.line(format_args!("{} is signed by {}", self.file.display(), self.requester));
        page.line(format_args!(
            "anyone can send it with `fedroll job relay {}` until {}",
            self.file.display(),
            utc(self.deadline)
        ));
    }
}

impl Signed {
    /// Writes an order for a rollup.
    pub fn write(order: &Order, path: &Path, rollup: &Domain) -> Result<Self, CliError> {
        order.write(path, rollup)?;
        Ok(Self { file: path.to_owned(), requester: order.requester(), deadline: order.deadline() })
    }
}

#[derive(Serialize)]
struct Relayed {
    #[serde(with = "text")]
    job: JobId,
    #[serde(with = "text")]
    requester: Address,
    /// What the requester paid in; `None` if the job was closed.
    #[serde(with = "text::option", skip_serializing_if = "Option::is_none")]
    funded: Option<Amount>,
    #[serde(with = "text")]
    transaction: Keccak,
    gas: u64,
}

impl Report for Relayed {
    fn text(&self, page: &mut Page) {
        match self.funded {
            Some(funded) => page.line(format_args!(
                "job {} is funded with {funded} tokens of {} ({} gas of yours)",
                self.job, self.requester, self.gas
            )),
            None => page.line(format_args!(
                "job {} is closed for {} ({} gas of yours)",
                self.job, self.requester, self.gas
            )),
        }
    }
}

/// Sends what somebody else signed.
pub async fn run(args: &Relay, out: &Output) -> anyhow::Result<ExitStatus> {
    let network = Network::find(&args.network)?;
    let (rpc, rollup) = network.base_layer()?;
    let chain = RpcChain::connect(&rpc, rollup).await?;
    let order = Order::read(&args.file, &chain.domain())?;
    let now = chain.now().await?;
    if now > order.deadline() {
        let what = format!("{} could be sent until {}", args.file.display(), utc(order.deadline()));
        return Err(CliError::Mismatch { what, fix: "have the requester sign it again" }.into());
    }
    // The requester's own key would pay itself; any other key gives nothing but gas.
    let key = network.key(&args.key)?;
    let writer = chain.clone().with_key(&key);
    let payer = writer.sender();
    let ask = |what: String, quote: contracts::rpc::GasQuote| {
        let cost = format!(
            "{what} takes up to {} gas at up to {} gwei, paid by {payer}",
            quote.gas,
            quote.max_fee.div_ceil(GWEI)
        );
        if args.yes {
            out.note(cost);
            return Ok(());
        }
        out.confirm(&format!("{cost}. Send?"))
    };
    let requester = order.requester();
    let (job, funded, cost) = match order {
        Order::Fund { relay, signed } => {
            let relay = chain.relay(relay).await?;
            let amount = signed.order.amount;
            let quote = relay.quote(&writer, &signed).await?;
            ask(format!("funding a job with {amount} tokens of {requester}"), quote)?;
            let (job, cost) = relay.fund(&writer, &signed).await?;
            (job, Some(amount), cost)
        }
        Order::Close { order, signature, .. } => {
            let quote = writer.quote_close(order, signature).await?;
            ask(format!("closing job {} for {requester}", order.job), quote)?;
            (order.job, None, writer.close_job_for(order, signature).await?)
        }
    };
    out.answer(&Relayed { job, requester, funded, transaction: cost.tx, gas: cost.gas })
}
