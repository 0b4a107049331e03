//! What a local network needs before its processes can start: keys, shards, a rollup, some money.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use contracts::base_layer::{BaseLayer, BaseLayerWriter};
use contracts::devchain;
use contracts::rpc::{self, RpcChain, TokenChoice, Windows};
use indicatif::ProgressBar;
use protocol::amount::{Amount, UNITS_PER_TOKEN};
use protocol::ids::Address;
use protocol::sign::EthKey;

use super::{LocalWorker, Places, data};
use crate::args::local::Shape;
use crate::error::CliError;
use crate::network::NetworkFile;
use crate::output::Output;
use crate::{files, keys};

/// Development tokens for the requester of a new network.
const REQUESTER_TOKENS: u128 = 1_000_000;
/// Development ether, in wei, for whoever sends transactions.
const ETHER: u128 = 100 * 1_000_000_000_000_000_000;

/// Makes the workers' identities, payout keys and shards, or finds those of the last time.
pub fn workers(places: &Places, shape: &Shape, out: &Output) -> anyhow::Result<(Vec<LocalWorker>, u64)> {
    let dirs: Vec<PathBuf> = (1..=shape.workers).map(|number| places.worker(number)).collect();
    let known = (1..).take_while(|number| data::shard_examples(&places.worker(*number)).is_some()).count();
    let examples = if known == 0 {
        let sizes = data::write_shards(shape, &dirs)?;
        let listed: Vec<String> = sizes.iter().map(u64::to_string).collect();
        out.note(format_args!("shards of {} examples", listed.join(", ")));
        sizes.iter().sum()
    } else if known == dirs.len() {
        dirs.iter().filter_map(|dir| data::shard_examples(dir)).sum()
    } else {
        let what =
            format!("{} was made for {known} workers, not for {}", places.root.display(), shape.workers);
        return Err(
            CliError::Mismatch { what, fix: "pass that number to --workers, or use another --dir" }.into()
        );
    };
    let mut workers = Vec::new();
    for dir in dirs {
        let identity = dir.join("identity.key");
        let node = if identity.exists() { keys::read_node(&identity) } else { keys::create_node(&identity) };
        let payout = keys::read_or_create_eth(&dir.join("payout.key"))?.address();
        workers.push(LocalWorker { worker: node?.id(), payout, dir });
    }
    Ok((workers, examples))
}

/// Writes the coordinator's allow-list.
pub fn allow_list(places: &Places, workers: &[LocalWorker]) -> Result<PathBuf, CliError> {
    let path = places.root.join("allowed-workers");
    let mut text = String::new();
    for worker in workers {
        writeln!(text, "{}", worker.worker).expect("writing to a String cannot fail");
    }
    files::write(&path, text.as_bytes())?;
    Ok(path)
}

/// The rollup of a local network.
#[derive(Clone, Copy, Debug)]
pub struct Rollup {
    /// The contract.
    pub rollup: Address,
    /// Where its workers may stake; `None` in a directory of an earlier version.
    pub registry: Option<Address>,
    /// Where parties to disputes pledge; `None` in a directory of an earlier version.
    pub disputes: Option<Address>,
    /// What funds its jobs by signature; `None` in a directory of an earlier version.
    pub relay: Option<Address>,
    /// Its first block.
    pub block: u64,
}

/// Finds the rollup of the last time, or deploys one and hands out development ether and tokens.
pub async fn rollup(
    rpc: &str,
    root: &Path,
    operator: &EthKey,
    requester: &EthKey,
    spinner: &ProgressBar,
) -> anyhow::Result<Rollup> {
    if let Ok(network) = NetworkFile::read(root) {
        let chain = RpcChain::connect(rpc, network.rollup).await?;
        if chain.config().proposer == operator.address() {
            let NetworkFile { rollup, registry, disputes, relay, .. } = network;
            return Ok(Rollup { rollup, registry, disputes, relay, block: chain.deployed_block() });
        }
    }
    spinner.set_prefix("deploying the rollup");
    let faucet = devchain::faucet_key();
    let deployed =
        rpc::deploy(rpc, &faucet, TokenChoice::Development, Windows::DEVELOPMENT, operator.address()).await?;
    let chain = RpcChain::connect(rpc, deployed.rollup).await?.with_key(&faucet);
    for receiver in [operator.address(), requester.address()] {
        chain.send_ether(receiver, ETHER).await?;
    }
    chain.mint(requester.address(), Amount::units(REQUESTER_TOKENS * UNITS_PER_TOKEN)).await?;
    let (registry, relay) = (Some(deployed.worker_registry), Some(deployed.funding_relay));
    let (rollup, disputes) = (deployed.rollup, Some(deployed.dispute_bonds));
    Ok(Rollup { rollup, registry, disputes, relay, block: chain.deployed_block() })
}
