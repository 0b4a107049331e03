//! Base layers to test against, each with a rollup on it: our development chain, and Foundry's anvil, which can take
//! blocks back.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use contracts::devchain;
use contracts::rpc::{RpcChain, RpcWriter, TokenChoice, Windows, deploy};
use protocol::ids::Address;
use protocol::sign::EthKey;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use super::operator;

/// A chain with a rollup on it; it ends when dropped.
#[derive(Debug)]
pub struct Chain {
    /// Its JSON-RPC.
    pub url: String,
    /// The contract.
    pub rollup: Address,
    /// Where its workers may stake.
    pub registry: Address,
    /// Where parties to disputes pledge.
    pub disputes: Address,
    /// What funds jobs by signature.
    pub funding_relay: Address,
    _node: Running,
}

/// What has to be held for the chain to run.
#[derive(Debug)]
enum Running {
    Here { _stop: oneshot::Sender<()> },
    Process { _anvil: Child },
}

impl Chain {
    /// A fresh development chain in this process with its journal in `dir`, and a rollup that batches of [`operator`]
    /// are for.
    pub async fn start(dir: &Path) -> Result<Self> {
        Self::start_with(dir, Windows::DEVELOPMENT).await
    }

    /// The same with other windows.
    pub async fn start_with(dir: &Path, windows: Windows) -> Result<Self> {
        let addr = "127.0.0.1:0".parse().context("a loopback address")?;
        let server = devchain::Server::open(devchain::Config { dir: dir.to_owned(), addr }).await?;
        let url = format!("http://{}", server.local_addr());
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(server.run(async {
            // Ends when the chain is dropped.
            let _ = stopped.await;
        }));
        Self::with_rollup(url, Running::Here { _stop: stop }, windows).await
    }

    /// A fresh anvil with further arguments, and the same on it.
    pub async fn anvil(arguments: &[&str], windows: Windows) -> Result<Self> {
        let (anvil, url) = start_anvil(arguments).await?;
        Self::with_rollup(url, Running::Process { _anvil: anvil }, windows).await
    }

    async fn with_rollup(url: String, node: Running, windows: Windows) -> Result<Self> {
        let key = operator();
        let deployed = deploy(&url, &key, TokenChoice::Development, windows, key.address()).await?;
        Ok(Self {
            url,
            rollup: deployed.rollup,
            registry: deployed.worker_registry,
            disputes: deployed.dispute_bonds,
            funding_relay: deployed.funding_relay,
            _node: node,
        })
    }

    /// A connection that signs with a key.
    pub async fn writer(&self, key: &EthKey) -> Result<RpcWriter> {
        Ok(RpcChain::connect(&self.url, self.rollup).await?.with_key(key))
    }

    /// Asks the node something that only chains for development answer.
    pub async fn ask(&self, method: &str, params: Value) -> Result<Value> {
        ask(&self.url, method, params).await
    }
}

/// A fresh anvil with further arguments, with nothing on it: the process, which ends when dropped, and its JSON-RPC.
pub async fn start_anvil(arguments: &[&str]) -> Result<(Child, String)> {
    let mut process = Command::new(anvil_program()?)
        .args(["--port", "0", "--hardfork", "osaka"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("starting anvil")?;
    let mut lines = BufReader::new(process.stdout.take().context("stdout is piped")?).lines();
    let address = loop {
        let line = lines.next_line().await?.context("anvil stopped")?;
        if let Some(address) = line.strip_prefix("Listening on ") {
            break address.to_owned();
        }
    };
    // Whatever it prints later must not block it.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((process, format!("http://{address}")))
}

async fn ask(url: &str, method: &str, params: Value) -> Result<Value> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let response = reqwest::Client::new().post(url).json(&request).send().await?;
    let mut answer: Value = response.json().await?;
    ensure!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
    Ok(answer["result"].take())
}

/// Foundry's anvil from npm. Missing is a failure, not a skip: the check would be silently lost.
fn anvil_program() -> Result<PathBuf> {
    if (std::env::consts::OS, std::env::consts::ARCH) != ("linux", "x86_64") {
        return Ok("anvil".into()); // npm carries Foundry for one platform; elsewhere the one on the PATH must do
    }
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/node_modules");
    let program = modules.join("@foundry-rs/anvil-linux-amd64/bin/anvil");
    if !program.is_file() {
        bail!("anvil is missing; run: npm ci --prefix contracts");
    }
    Ok(program)
}
