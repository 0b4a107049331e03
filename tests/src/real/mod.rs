//! Real programs on this machine: a development chain, a coordinator as a process of its own, a requester, and workers
//! that do what they are told, well or badly.

mod client;
mod jobs;
mod process;
mod requester;
mod shell;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use contracts::devchain;
use contracts::rpc::{RpcChain, RpcWriter, TokenChoice, Windows, deploy};
use protocol::ids::Address;
use protocol::sign::EthKey;
use tokio::sync::oneshot;

pub use client::{Client, Quirk, WorkKind};
pub use jobs::{PRICE, TAG, job, model, train, training};
pub use process::{Coordinator, Process, Usage, program};
pub use requester::Requester;
pub use shell::{Ran, Shell};
pub use worker::Worker;

/// A development chain in this process, with a rollup on it.
#[derive(Debug)]
pub struct Chain {
    /// Its JSON-RPC.
    pub url: String,
    /// The contract.
    pub rollup: Address,
    _stop: oneshot::Sender<()>,
}

/// The key that deploys, posts and pays in tests: the development chain's faucet.
pub fn operator() -> EthKey {
    devchain::faucet_key()
}

impl Chain {
    /// A fresh chain with its journal in `dir`, and a rollup that batches of [`operator`] are for.
    pub async fn start(dir: &Path) -> Result<Self> {
        let addr = "127.0.0.1:0".parse().context("a loopback address")?;
        let server = devchain::Server::open(devchain::Config { dir: dir.to_owned(), addr }).await?;
        let url = format!("http://{}", server.local_addr());
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(server.run(async {
            // Ends when the chain is dropped.
            let _ = stopped.await;
        }));
        let key = operator();
        let deployed =
            deploy(&url, &key, TokenChoice::Development, Windows::DEVELOPMENT, key.address()).await?;
        Ok(Self { url, rollup: deployed.rollup, _stop: stop })
    }

    /// A connection that signs with a key.
    pub async fn writer(&self, key: &EthKey) -> Result<RpcWriter> {
        Ok(RpcChain::connect(&self.url, self.rollup).await?.with_key(key))
    }
}

/// A chain, a coordinator that lets anyone in, and a requester with money.
#[derive(Debug)]
pub struct Network {
    /// The chain.
    pub chain: Chain,
    /// The coordinator.
    pub coordinator: Coordinator,
    /// The requester.
    pub requester: Arc<Requester>,
    /// Where everything lies.
    pub dir: PathBuf,
}

impl Network {
    /// Starts everything under `dir`; `settings` are lines of the coordinator's configuration file.
    pub async fn start(dir: &Path, settings: &str) -> Result<Self> {
        let chain = Chain::start(&dir.join("chain")).await?;
        let coordinator = Coordinator::start(&dir.join("coordinator"), &chain, settings).await?;
        let requester = Requester::new(&chain, &coordinator).await?;
        Ok(Self { chain, coordinator, requester: Arc::new(requester), dir: dir.to_owned() })
    }
}
