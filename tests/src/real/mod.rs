//! Real programs on this machine: a development chain, a coordinator as a process of its own, a requester, and workers
//! that do what they are told, well or badly.

mod chain;
mod cheat;
mod client;
mod jobs;
mod process;
mod proxy;
mod requester;
mod shell;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use contracts::devchain;
use protocol::sign::EthKey;

pub use chain::{Chain, start_anvil};
pub use cheat::{Cheat, Ended};
pub use client::{Client, Quirk, WorkKind};
pub use jobs::{PRICE, TAG, job, model, train, training};
pub use process::{Coordinator, Process, Usage, program};
pub use proxy::{Fate, Proxy};
pub use requester::Requester;
pub use shell::{Ran, Shell};
pub use worker::Worker;

/// The key that deploys, posts and pays in tests: the development chain's faucet.
pub fn operator() -> EthKey {
    devchain::faucet_key()
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
        Self::on(Chain::start(&dir.join("chain")).await?, dir, settings).await
    }

    /// The same on a chain that runs already.
    pub async fn on(chain: Chain, dir: &Path, settings: &str) -> Result<Self> {
        let coordinator = Coordinator::start(&dir.join("coordinator"), &chain, settings).await?;
        let requester = Requester::new(&chain, &coordinator).await?;
        Ok(Self { chain, coordinator, requester: Arc::new(requester), dir: dir.to_owned() })
    }
}
