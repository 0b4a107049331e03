//! Base layers that take blocks back, and base layers whose time is not ours: real nodes, a real coordinator.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use contracts::base_layer::{BaseLayer as _, ChainEvent};
use contracts::rpc::Windows;
use protocol::api::{BatchList, JobPhase};
use protocol::ids::JobId;
use protocol::ledger::Deriver;
use protocol::limits::BATCH_LAG_S_MAX;
use serde_json::json;
use tests::real::{Chain, Network, operator, training};
use tokio::task::JoinHandle;

use crate::network::{derive, good_update, persistent};

const SETTINGS: &str = "seal_after_ms = 100\npoll_ms = 50\n";
const PRICE: u128 = 1_500_000;
/// Long enough that nothing becomes final before the test says so.
const CHALLENGE_S: u64 = 120;
pub(super) const WINDOWS: Windows = Windows { challenge: CHALLENGE_S, ..Windows::DEVELOPMENT };

/// A job of two rounds for one worker, and that worker.
pub(super) async fn begin(network: &Network) -> Result<(JobId, JoinHandle<()>)> {
    let worker = persistent(network.coordinator.worker_address.clone(), 1, good_update()?);
    Ok((network.requester.submit(&training("reorganised", 2, 1)?, &[]).await?, worker))
}

/// Waits until every settlement of the job stands in a posted batch; returns how many batches there are.
pub(super) async fn all_posted(network: &Network, job: JobId) -> Result<u64> {
    for _ in 0..6_000 {
        let status = network.requester.status(job).await;
        let list: BatchList = network.requester.get("/v1/batches").await?;
        let posted = list.batches.iter().all(|batch| batch.state != "sealed");
        if posted && status.is_ok_and(|status| status.settled == status.settlements) {
            return Ok(list.batches.len() as u64);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("the job's settlements are not posted: {}", network.coordinator.log())
}

/// Takes back the blocks from the one that holds this batch on.
pub(super) async fn take_back(chain: &Chain, batch: u64) -> Result<()> {
    let layer = chain.writer(&operator()).await?;
    let head = layer.head().await?.number;
    let history = layer.history(layer.deployed_block(), head).await?;
    let of = |event: &ChainEvent| match event {
        ChainEvent::Posted(posted) if posted.number().0 == batch => Some(posted.place.block.number),
        _ => None,
    };
    let block = history.events.iter().find_map(of).context("the batch is posted")?;
    chain.ask("anvil_reorg", json!([head - block + 1, []])).await?;
    let (left, _) = layer.latest_batch().await?;
    ensure!(left.0 < batch, "batch {batch} was not taken back: {left} batches are left");
    Ok(())
}

/// Waits until the chain alone says that the job is settled, and that its worker was paid once.
pub(super) async fn comes_back(network: &Network, job: JobId) -> Result<Deriver> {
    for _ in 0..600 {
        // A chain that is being rearranged may contradict itself for a moment.
        if let Ok(deriver) = derive(network).await
            && let Some(leaf) = deriver.state().job(job).filter(|leaf| leaf.is_finished())
        {
            assert_eq!(leaf.spent.as_units(), 2 * PRICE + 2 * PRICE / 100);
            let earned = deriver.state().accounts().map(|(_, account)| account.earned.as_units());
            assert_eq!(earned.collect::<Vec<_>>(), [2 * PRICE]);
            return Ok(deriver);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("the job's batches did not come back: {}", network.coordinator.log())
}

/// Lets the challenge window pass and waits until the coordinator counts everything as final.
pub(super) async fn is_done(network: &Network, job: JobId) -> Result<()> {
    network.chain.ask("evm_increaseTime", json!([CHALLENGE_S])).await?;
    let done = network.requester.wait(job, 30, |status| status.phase == JobPhase::Done).await;
    done.with_context(|| network.coordinator.log()).map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_a_reorganisation_takes_back_are_posted_again() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut network = Network::on(Chain::anvil(&[], WINDOWS).await?, dir.path(), SETTINGS).await?;
    let (job, worker) = begin(&network).await?;
    let batches = all_posted(&network, job).await?;
    take_back(&network.chain, batches).await?;
    comes_back(&network, job).await?;

    // All of them, and while nobody watches.
    all_posted(&network, job).await?;
    network.coordinator.stop().await?;
    take_back(&network.chain, 1).await?;
    network.coordinator = network.coordinator.start_again().await?;
    comes_back(&network, job).await?;
    is_done(&network, job).await?;
    worker.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_too_old_when_it_is_taken_back_is_sealed_anew() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut network = Network::on(Chain::anvil(&[], WINDOWS).await?, dir.path(), SETTINGS).await?;
    let (job, worker) = begin(&network).await?;
    let batches = all_posted(&network, job).await?;
    let before = derive(&network).await?.time();
    network.coordinator.stop().await?;
    take_back(&network.chain, batches).await?;
    network.chain.ask("evm_increaseTime", json!([2 * BATCH_LAG_S_MAX])).await?;
    network.coordinator = network.coordinator.start_again().await?;
    let after = comes_back(&network, job).await?.time();
    assert!(after > before + BATCH_LAG_S_MAX, "dated {after}, before {before}");
    is_done(&network, job).await?;
    worker.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_with_finality_takes_back_what_is_not_final() -> Result<()> {
    let dir = tempfile::tempdir()?;
    // Not the development chain's id: only what is eight blocks old counts as final.
    let arguments = ["--chain-id", "1337", "--block-time", "1", "--slots-in-an-epoch", "4"];
    let chain = Chain::anvil(&arguments, Windows::REAL).await?;
    let network = Network::on(chain, dir.path(), SETTINGS).await?;
    let (job, worker) = begin(&network).await?;
    let batches = all_posted(&network, job).await?;
    take_back(&network.chain, batches).await?;
    comes_back(&network, job).await?;
    worker.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_whose_time_is_hours_ahead_or_behind_is_posted_to() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let ahead = Chain::start(&dir.path().join("chain")).await?;
    ahead.ask("evm_increaseTime", json!([3 * BATCH_LAG_S_MAX])).await?;
    let past = std::time::UNIX_EPOCH.elapsed()?.as_secs() - 3 * BATCH_LAG_S_MAX;
    let behind = Chain::anvil(&["--timestamp", &past.to_string()], WINDOWS).await?;
    for (name, chain) in [("ahead", ahead), ("behind", behind)] {
        let network = Network::on(chain, &dir.path().join(name), SETTINGS).await?;
        let (job, worker) = begin(&network).await?;
        comes_back(&network, job).await.context(name)?;
        is_done(&network, job).await.context(name)?;
        worker.abort();
    }
    Ok(())
}
