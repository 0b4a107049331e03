//! What the base layer cost: batches by the credit, and as many ERC-20 transfers for comparison.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contracts::base_layer::BaseLayerWriter;
use contracts::rpc::RpcChain;
use protocol::amount::Amount;
use protocol::ids::Address;
use protocol::sign::EthKey;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::local::LocalWorker;

/// Milliseconds between two looks at the batches.
const LOOK_MS: u64 = 2_000;

/// Gas spent on batches so far, followed in the background until it is dropped.
#[derive(Debug)]
pub struct GasMeter {
    gas: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl GasMeter {
    /// Starts following.
    pub fn start(client: Client) -> Self {
        let gas = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&gas);
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(LOOK_MS));
            loop {
                ticks.tick().await;
                if let Ok(list) = client.batches().await {
                    seen.store(list.batches.iter().filter_map(|batch| batch.gas).sum(), Ordering::Relaxed);
                }
            }
        });
        Self { gas, task }
    }

    /// The gas so far.
    pub fn gas(&self) -> u64 {
        self.gas.load(Ordering::Relaxed)
    }
}

impl Drop for GasMeter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Measured costs.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// Gas of all batches.
    pub batches: u64,
    /// Credits in them.
    pub credits: u64,
    /// Gas of an ERC-20 transfer to an address that held tokens before: the cheap kind.
    pub transfer: u64,
    /// Gas of one to an address that held none.
    pub first_transfer: u64,
}

impl Costs {
    /// Gas of the batches by the credit.
    pub fn per_credit(&self) -> u64 {
        self.batches.checked_div(self.credits).unwrap_or(0)
    }
}

/// Sums the batches, and sends two real transfers of one unit to a worker that has claimed nothing.
pub async fn measure(
    client: &Client,
    rpc: &str,
    rollup: Address,
    key: &EthKey,
    workers: &[LocalWorker],
) -> anyhow::Result<Costs> {
    let batches = client.batches().await?.batches;
    let chain = RpcChain::connect(rpc, rollup).await?.with_key(key);
    let receiver = workers.last().map_or(Address([1; 20]), |worker| worker.payout);
    let first_transfer = chain.transfer(receiver, Amount::units(1)).await?.gas;
    let transfer = chain.transfer(receiver, Amount::units(1)).await?.gas;
    Ok(Costs {
        batches: batches.iter().filter_map(|batch| batch.gas).sum(),
        credits: batches.iter().map(|batch| u64::from(batch.credits)).sum(),
        transfer,
        first_transfer,
    })
}
