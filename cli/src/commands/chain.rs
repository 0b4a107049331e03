//! `fedroll chain …`

mod bond;
mod leaf;
pub mod pledge;
mod stake;

use std::net::SocketAddr;

use contracts::base_layer::{BaseLayer, DEVELOPMENT_CHAIN_ID, Exits as _};
use contracts::devchain;
use contracts::rpc::{self, RpcChain, TokenChoice, Windows};
use protocol::api::text;
use protocol::ids::{Address, BatchId};
use serde::Serialize;

use crate::args::money::{Chain, Deploy, Dev, Status};
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::jobfile::Duration;
use crate::network::Network;
use crate::output::{Output, Report};
use crate::page::{Page, utc};
use crate::signals;
use crate::{files, keys};

/// Runs one of the chain commands.
pub async fn run(command: &Chain, out: &Output) -> anyhow::Result<ExitStatus> {
    match command {
        Chain::Dev(args) => dev(args, out).await,
        Chain::Deploy(args) => deploy(args, out).await,
        Chain::Status(args) => status(args, out).await,
        Chain::Bond(command) => bond::run(command, out).await,
        Chain::Leaf(command) => leaf::run(command, out).await,
        Chain::Stake(command) => stake::run(command, out).await,
        Chain::Pledge(command) => pledge::run(command, out).await,
    }
}

/// What a development chain says when it answers. `fedroll up` reads it.
#[derive(Debug, Serialize, serde::Deserialize)]
pub struct Serving {
    /// Always true.
    pub ready: bool,
    /// Its JSON-RPC.
    pub rpc: String,
    /// Its chain id.
    pub chain_id: u64,
}

impl Report for Serving {
    fn text(&self, page: &mut Page) {
        page.line(format_args!("development chain {} at {}", self.chain_id, self.rpc));
        page.line("its coins and tokens are worth nothing, and everyone knows its keys; Ctrl-C stops it");
    }

    fn flat(&self) -> bool {
        true
    }
}

async fn dev(args: &Dev, out: &Output) -> anyhow::Result<ExitStatus> {
    files::make_dir(&args.dir)?;
    let stop = signals::stop()?;
    let server =
        devchain::Server::open(devchain::Config { dir: args.dir.clone(), addr: args.listen }).await?;
    let at: SocketAddr = server.local_addr();
    out.answer(&Serving { ready: true, rpc: format!("http://{at}"), chain_id: DEVELOPMENT_CHAIN_ID })?;
    server.run(stop).await?;
    Ok(ExitStatus::Yes)
}

#[derive(Serialize)]
struct Deployed {
    chain_id: u64,
    development_chain: bool,
    #[serde(with = "text")]
    rollup: Address,
    #[serde(with = "text")]
    challenges: Address,
    #[serde(with = "text")]
    service_bonds: Address,
    #[serde(with = "text")]
    worker_registry: Address,
    #[serde(with = "text")]
    dispute_bonds: Address,
    #[serde(with = "text")]
    funding_relay: Address,
    #[serde(with = "text")]
    token: Address,
    #[serde(with = "text")]
    operator: Address,
    gas: u64,
}

impl Report for Deployed {
    fn text(&self, page: &mut Page) {
        let label = if self.development_chain { " (development chain)" } else { "" };
        page.line(format_args!("deployed on chain {}{label}, {} gas", self.chain_id, self.gas));
        page.facts(&[
            ("rollup", &self.rollup),
            ("challenges", &self.challenges),
            ("service bonds", &self.service_bonds),
            ("worker registry", &self.worker_registry),
            ("dispute bonds", &self.dispute_bonds),
            ("funding relay", &self.funding_relay),
            ("token", &self.token),
            ("operator", &self.operator),
        ]);
        page.line(
            "unaudited; its operator's bond stands: anyone can prove a wrong batch and take part of it",
        );
    }
}

async fn deploy(args: &Deploy, out: &Output) -> anyhow::Result<ExitStatus> {
    let path = args.key.key_file.as_ref().ok_or_else(|| CliError::Unknown {
        what: "the key to deploy with",
        fix: "name its file with --key-file FILE (`fedroll key new` makes one)".to_owned(),
    })?;
    let key = keys::read_eth(path)?;
    let info = rpc::chain_info(&args.rpc).await?;
    let defaults = if info.is_development() { Windows::DEVELOPMENT } else { Windows::REAL };
    let seconds = |given: Option<Duration>, default: u64| given.map_or(default, |given| given.0 / 1000);
    let windows = Windows {
        challenge: seconds(args.challenge_window, defaults.challenge),
        inclusion: seconds(args.inclusion_window, defaults.inclusion),
        close_grace: seconds(args.close_grace, defaults.close_grace),
        ..defaults
    };
    let token = match args.token {
        Some(token) => TokenChoice::Existing { token, unit: args.token_unit },
        None if info.is_development() => TokenChoice::Development,
        None => {
            let fix = "name the ERC-20 to pay in with --token ADDRESS".to_owned();
            return Err(CliError::Unknown { what: "the token", fix }.into());
        }
    };
    let quote = rpc::quote(&args.rpc, token).await?;
    let cost = format!(
        "deploying takes up to {} million gas at up to {} gwei, and {} ether for the operator's fraud bond: \
         up to {} ether",
        quote.gas.div_ceil(1_000_000),
        quote.max_fee.div_ceil(GWEI),
        ether(quote.bond),
        ether(quote.wei())
    );
    if args.yes || info.is_development() {
        out.note(cost);
    } else {
        out.confirm(&format!("{cost}. Deploy?"))?;
    }
    let deployed = rpc::deploy(&args.rpc, &key, token, windows, args.operator).await?;
    let report = Deployed {
        chain_id: info.chain_id,
        development_chain: info.is_development(),
        rollup: deployed.rollup,
        challenges: deployed.challenges,
        service_bonds: deployed.service_bonds,
        worker_registry: deployed.worker_registry,
        dispute_bonds: deployed.dispute_bonds,
        funding_relay: deployed.funding_relay,
        token: deployed.token,
        operator: args.operator,
        gas: deployed.costs.iter().map(|cost| cost.gas).sum(),
    };
    if let Some(path) = &args.out {
        files::write(path, format!("{}\n", serde_json::to_string_pretty(&report)?).as_bytes())?;
    }
    out.answer(&report)
}

const GWEI: u128 = 1_000_000_000;

/// Wei as ether, rounded up to the microether.
fn ether(wei: u128) -> String {
    let micro = wei.div_ceil(1_000_000_000_000);
    format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000)
}

#[derive(Serialize)]
struct Standing {
    chain_id: u64,
    development_chain: bool,
    client: String,
    #[serde(with = "text")]
    rollup: Address,
    #[serde(with = "text")]
    token: Address,
    #[serde(with = "text")]
    operator: Address,
    deployed_at: u64,
    block: u64,
    block_time: u64,
    #[serde(with = "text")]
    latest_batch: BatchId,
    #[serde(with = "text")]
    final_batch: BatchId,
    queue_length: u64,
    /// When it was frozen, in Unix seconds.
    frozen_at: Option<u64>,
    challenge_seconds: u64,
    inclusion_seconds: u64,
    close_grace_seconds: u64,
}

impl Report for Standing {
    fn text(&self, page: &mut Page) {
        let label = if self.development_chain { " (development chain)" } else { "" };
        page.heading(format_args!("Rollup {} on chain {}{label}", self.rollup, self.chain_id));
        let block = format!("{} of {}", self.block, utc(self.block_time));
        let batches = format!("{} posted, {} final", self.latest_batch, self.final_batch);
        let windows = format!(
            "challenge {} s, inclusion {} s, close grace {} s",
            self.challenge_seconds, self.inclusion_seconds, self.close_grace_seconds
        );
        let standing = match self.frozen_at {
            None => "open".to_owned(),
            Some(at) => {
                format!("frozen since {}: money can only leave (fedroll claim, fedroll escape)", utc(at))
            }
        };
        page.facts(&[
            ("standing", &standing),
            ("node", &self.client),
            ("block", &block),
            ("deployed in block", &self.deployed_at),
            ("token", &self.token),
            ("operator", &self.operator),
            ("batches", &batches),
            ("queue items", &self.queue_length),
            ("windows", &windows),
        ]);
    }
}

async fn status(args: &Status, out: &Output) -> anyhow::Result<ExitStatus> {
    let (rpc, rollup) = Network::find(&args.network)?.base_layer()?;
    let chain = RpcChain::connect(&rpc, rollup).await?;
    let head = chain.head().await?;
    let config = *chain.config();
    let (latest_batch, _) = chain.latest_batch().await?;
    out.answer(&Standing {
        chain_id: chain.chain().chain_id,
        development_chain: chain.chain().is_development(),
        client: chain.chain().client.clone(),
        rollup,
        token: config.token,
        operator: config.proposer,
        deployed_at: chain.deployed_block(),
        block: head.number,
        block_time: head.time,
        latest_batch,
        final_batch: chain.final_batch().await?,
        queue_length: chain.queue_length().await?,
        frozen_at: chain.frozen_at().await?,
        challenge_seconds: config.challenge_window,
        inclusion_seconds: config.inclusion_window,
        close_grace_seconds: config.close_grace,
    })
}
