//! From a checked spec to a job the coordinator works on: hand it in, upload what it names, fund it on the
//! base layer, wait until the coordinator has seen that.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use contracts::base_layer::{BaseLayer, BaseLayerWriter};
use contracts::rpc::RpcChain;
use protocol::amount::Amount;
use protocol::api::Info;
use protocol::hash::Digest;
use protocol::ids::{Address, JobId};
use protocol::job::{FundingOrder, JobSpec};
use protocol::limits::BLOB_BYTES_MAX;
use protocol::sign::EthKey;
use protocol::sign::eip712::Domain;

use crate::args::job::JobRef;
use crate::client::{Client, Signer};
use crate::clock::Stopwatch;
use crate::error::CliError;
use crate::files;
use crate::network::Network;
use crate::order::Order as Relayable;
use crate::output::Output;
use crate::page::bytes;

/// How long the coordinator may take to see a funding: a real chain makes a block final after about 13
/// minutes.
const SEEN_MAX: Duration = Duration::from_secs(3600);

/// How long between two looks for it.
const LOOK: Duration = Duration::from_millis(300);

/// Where the bytes of a blob are.
#[derive(Debug)]
pub enum Source {
    /// In a file.
    File(PathBuf),
    /// Here.
    Memory(Vec<u8>),
}

/// A job to be placed.
#[derive(Debug)]
pub struct Order {
    /// What is asked for.
    pub spec: JobSpec,
    /// The blobs it names that are here.
    pub blobs: BTreeMap<Digest, Source>,
}

/// A job that is funded and known to the coordinator.
#[derive(Debug)]
pub struct Placed {
    /// Its number.
    pub job: JobId,
    /// What was paid in.
    pub funded: Amount,
    /// Gas of the funding.
    pub gas: u64,
}

/// Who asks whom, and who pays.
#[derive(Debug)]
pub struct Requester<'a> {
    /// The coordinator.
    pub client: &'a Client,
    /// Who pays.
    pub key: &'a EthKey,
    /// What is known of the network; the coordinator's info says the rest.
    pub network: &'a Network,
}

/// What a job costs, where.
struct Offer {
    info: Info,
    chain: RpcChain,
    budget: Amount,
}

impl Requester<'_> {
    /// Shows the price and whatever stands in the way, asks unless `yes`, and places the job.
    pub async fn place(&self, order: Order, yes: bool, out: &Output) -> anyhow::Result<Placed> {
        let Offer { info, chain, budget } = self.offer(&order.spec, out).await?;
        if !yes {
            out.confirm(&format!("Pay {budget} tokens into escrow?"))?;
        }
        let spec = order.spec.clone();
        self.hand_in(order, &self.signer(&info), out).await?;
        let spinner = out.spinner("funding the job on the base layer");
        let chain = chain.with_key(self.key);
        let (job, cost) = chain.fund_job(info.operator, spec.hash(), spec.terms(), budget).await?;
        spinner.set_prefix(format!("job {job}: waiting for the coordinator to see its funding"));
        self.wait_until_seen(job).await?;
        spinner.finish_and_clear();
        Ok(Placed { job, funded: budget, gas: cost.gas })
    }

    /// The same but for the transaction: signs, for `lifetime_s` seconds, what anyone can send. Returns the rollup that
    /// the order is for, too.
    pub async fn sign(
        &self,
        order: Order,
        relay: Address,
        lifetime_s: u64,
        yes: bool,
        out: &Output,
    ) -> anyhow::Result<(Domain, Relayable)> {
        let Offer { info, chain, budget } = self.offer(&order.spec, out).await?;
        let at = chain.relay(relay).await?;
        if !yes {
            out.confirm(&format!("Have anyone pay {budget} tokens of yours into escrow?"))?;
        }
        let spec = order.spec.clone();
        self.hand_in(order, &self.signer(&info), out).await?;
        let requester = self.key.address();
        let asked = FundingOrder {
            requester,
            coordinator: info.operator,
            spec: spec.hash(),
            terms: spec.terms(),
            amount: budget,
            nonce: at.next_nonce(requester).await?,
            deadline: chain.now().await?.saturating_add(lifetime_s),
        };
        let mut signed = asked.sign(&at.domain(), self.key);
        signed.permit = at.permit(&asked, self.key).await?;
        if signed.permit.is_none() && !at.is_allowed(requester, budget).await? {
            let what =
                format!("the token takes no permits, and the relay {relay} may not take {budget} tokens");
            let fix = "have the requester's wallet allow the relay to take them (the token's approve)";
            return Err(CliError::Mismatch { what, fix }.into());
        }
        Ok((chain.domain(), Relayable::Fund { relay, signed: Box::new(signed) }))
    }

    const fn signer(&self, info: &Info) -> Signer<'_> {
        Signer { key: self.key, domain: Domain { chain_id: info.chain_id, contract: info.rollup } }
    }

    /// Finds out what a job costs and whether its requester can pay.
    async fn offer(&self, spec: &JobSpec, out: &Output) -> anyhow::Result<Offer> {
        let info = self.client.info().await?;
        let chain = self.chain(&info).await?;
        if let Some(asked) = spec.stake {
            // Whoever named it: it holds this rollup's workers, by this version's rules.
            chain.registry(asked.registry).await?;
        }
        let plan = self.client.plan(spec).await?;
        for problem in &plan.problems {
            out.warn(problem);
        }
        let budget = Amount::units(spec.budget());
        let held = chain.token_balance(self.key.address()).await?;
        let label = if info.development_chain { " (development tokens)" } else { "" };
        out.note(format_args!(
            "{} costs at most {budget} tokens{label}; {} holds {held}; {} of its workers could do it",
            spec.name,
            self.key.address(),
            plan.eligible.len()
        ));
        if held < budget {
            let (has, needs) = (held.to_string(), budget.to_string());
            return Err(CliError::Poor { who: self.key.address(), has, needs }.into());
        }
        Ok(Offer { info, chain, budget })
    }

    /// The base layer, once it is the one that the coordinator settles on.
    pub async fn chain(&self, info: &Info) -> anyhow::Result<RpcChain> {
        let rpc = self.network.rpc().unwrap_or_else(|| info.rpc.clone());
        let rollup = self.network.rollup().unwrap_or(info.rollup);
        let differs = |what: String| CliError::Mismatch {
            what,
            fix: "check --rpc, --rollup and --coordinator: they must be of one network",
        };
        if rollup != info.rollup {
            return Err(
                differs(format!("the coordinator settles on {}, not on {rollup}", info.rollup)).into()
            );
        }
        let chain = RpcChain::connect(&rpc, rollup).await?;
        let (here, there) = (chain.chain().chain_id, info.chain_id);
        if here != there {
            return Err(differs(format!("{rpc} is chain {here}, the coordinator is on chain {there}")).into());
        }
        let proposer = chain.config().proposer;
        if proposer != info.operator {
            let what = format!(
                "the rollup takes batches of {proposer}, the coordinator's operator is {}",
                info.operator
            );
            return Err(differs(what).into());
        }
        Ok(chain)
    }

    async fn hand_in(&self, mut order: Order, signer: &Signer<'_>, out: &Output) -> anyhow::Result<()> {
        let submitted = self.client.submit(&order.spec, signer).await?;
        let bar = out.bar(submitted.missing.len() as u64, "uploading");
        for digest in submitted.missing {
            let blob = match order.blobs.remove(&digest) {
                Some(Source::Memory(blob)) => blob,
                Some(Source::File(path)) => {
                    let blob = files::read(&path, BLOB_BYTES_MAX)?;
                    let got = Digest::of(&blob);
                    if got != digest {
                        let what = format!("{} has changed since it was digested", path.display());
                        return Err(CliError::Mismatch { what, fix: "submit the job again" }.into());
                    }
                    blob
                }
                None => {
                    let what = format!("the coordinator lacks the blob {digest}, and it is not here");
                    return Err(CliError::Mismatch { what, fix: "name the file that it is in" }.into());
                }
            };
            bar.set_message(bytes(blob.len() as u64));
            self.client.put_blob(blob, signer).await?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// The coordinator knows a job by its number once it has seen its funding in a final block.
    async fn wait_until_seen(&self, job: JobId) -> Result<(), CliError> {
        let since = Stopwatch::start();
        let mut ticks = tokio::time::interval(LOOK);
        while since.elapsed() < SEEN_MAX {
            ticks.tick().await;
            match self.client.job(JobRef::Id(job)).await {
                Ok(_) => return Ok(()),
                Err(CliError::Refused { status: 404, .. } | CliError::Unreachable { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let what = format!("the coordinator's seeing the funding of job {job}");
        Err(CliError::Late { what, limit: SEEN_MAX })
    }
}
