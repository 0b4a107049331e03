//! Batches in blobs by real programs: a coordinator posts them and keeps them, nodes do not serve them, and whoever has
//! their bytes from somewhere audits, claims and challenges as ever.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::extract::{Path as Asked, State as Has};
use axum::http::StatusCode;
use axum::response::Json;
use axum::routing::get;
use contracts::base_layer::{
    BaseLayer as _, BaseLayerWriter as _, BatchOnChain, ChainEvent, Challenger as _,
};
use contracts::kzg;
use contracts::rpc::{BlobSource, FRAUD_BOND_WEI, RpcChain, Windows};
use protocol::api::JobPhase;
use protocol::hash::Keccak;
use protocol::ledger::blob::BLOB_BYTES;
use protocol::ledger::{Batch, BatchMode};
use serde_json::{Value, json};
use tests::real::{Chain, Fate, Network, Proxy, Shell, training};

use crate::audit::{Rollup, pay, register};
use crate::challenge::{Follower, watcher};
use crate::network::{good_update, persistent};

const SETTINGS: &str = "seal_after_ms = 100\npoll_ms = 50\nbatch_data = \"blobs\"\n";
/// Seconds of a slot.
const SLOT_S: u64 = 12;

/// The chain as nodes of a real one are: without blobs.
async fn without_blobs(mut chain: Chain) -> Result<Chain> {
    let proxy = Proxy::before(&chain.url).await?;
    proxy.rule(|method, _| if method == "anvil_getBlobByHash" { Fate::Refused } else { Fate::Pass });
    chain.url = proxy.url;
    Ok(chain)
}

/// Everything posted, read with the blobs of one source.
pub(super) async fn posted(chain: &Chain, blobs: &str) -> Result<Vec<BatchOnChain>> {
    let source = BlobSource::parse(blobs).map_err(anyhow::Error::msg)?;
    let reader = RpcChain::connect(&chain.url, chain.rollup).await?.with_blobs(source);
    let head = reader.head().await?.number;
    let mut batches = Vec::new();
    let mut next = reader.deployed_block();
    while next <= head {
        let history = reader.history(next, head).await?;
        batches.extend(history.events.into_iter().filter_map(|event| match event {
            ChainEvent::Posted(batch) => Some(*batch),
            _ => None,
        }));
        next = history.next_block;
    }
    Ok(batches)
}

/// A beacon node with these blobs, by slot; one from before Fusaka knows blobs as sidecars only.
async fn beacon(batches: &[BatchOnChain], before_fusaka: bool) -> Result<String> {
    let genesis = batches.iter().map(|batch| batch.posted_at()).min().context("a batch")? - 5 * SLOT_S;
    let mut slots: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for batch in batches {
        let blobs = batch.posted.blobs.iter().flat_map(|blobs| &blobs.blobs);
        let slot = slots.entry((batch.posted_at() - genesis) / SLOT_S).or_default();
        slot.extend(blobs.map(|blob| alloy::hex::encode_prefixed(blob.bytes())));
    }
    let slots = Arc::new(slots);
    let blobs = |Has(slots): Has<Arc<BTreeMap<u64, Vec<String>>>>, Asked(slot): Asked<u64>| async move {
        slots.get(&slot).cloned().ok_or(StatusCode::NOT_FOUND)
    };
    let whole =
        move |has, slot| async move { Ok::<_, StatusCode>(Json(json!({ "data": blobs(has, slot).await? }))) };
    let sidecars = move |has, slot| async move {
        let sidecar = |blob: &String| json!({ "index": "0", "blob": blob });
        let sidecars: Vec<Value> = blobs(has, slot).await?.iter().map(sidecar).collect();
        Ok::<_, StatusCode>(Json(json!({ "data": sidecars })))
    };
    let began = Json(json!({ "data": { "genesis_time": genesis.to_string() } }));
    let router = Router::new().route("/eth/v1/beacon/genesis", get(move || async move { began }));
    let router = if before_fusaka {
        router.route("/eth/v1/beacon/blob_sidecars/{slot}", get(sidecars))
    } else {
        router.route("/eth/v1/beacon/blobs/{slot}", get(whole))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router.with_state(slots)).await });
    Ok(url)
}

async fn settles_in_blobs(chain: Chain, dir: &Path) -> Result<()> {
    let mut network = Network::on(without_blobs(chain).await?, dir, SETTINGS).await?;
    let worker = persistent(network.coordinator.worker_address.clone(), 1, good_update()?);
    let job = network.requester.submit(&training("in-blobs", 2, 1)?, &[]).await?;
    let done = network.requester.wait(job, 60, |status| status.phase == JobPhase::Done).await;
    done.with_context(|| network.coordinator.log())?;
    worker.abort();

    // The coordinator has them, and after a restart as well.
    network.coordinator = network.coordinator.crash().await?;
    let http = network.coordinator.http.clone();
    let batches = posted(&network.chain, &http).await?;
    ensure!(!batches.is_empty());
    for batch in &batches {
        let (number, mode) = (batch.number(), batch.posted.mode());
        ensure!(mode == BatchMode::Blobs && batch.posted.data_bytes() == BLOB_BYTES, "{number}: {mode:?}");
    }
    let status = reqwest::get(format!("{http}/blobs/0x{}", "01".repeat(32))).await?.status();
    ensure!(status == StatusCode::NOT_FOUND.as_u16(), "{status}");

    let shell = Shell::new(dir);
    let rollup = format!("--rpc {} --rollup {}", network.chain.url, network.chain.rollup);
    let nowhere = shell.quietly(&format!("fedroll audit {rollup}")).await?;
    ensure!(nowhere.code == 2 && nowhere.stdout.contains("is not to be had"), "{nowhere:?}");
    let mirrored = format!("fedroll audit {rollup} --blobs {http} --evidence {http} --mirror mirror");
    let audit = shell.quietly(&mirrored).await?;
    ensure!(audit.code == 0, "{audit:?}");
    let claim = format!("fedroll claim --all {rollup} --key-file coordinator/operator.key --format json");
    let refused = shell.quietly(&claim).await?;
    ensure!(refused.code == 2 && refused.stdout.contains("--blobs"), "{refused:?}");
    network.coordinator.stop().await?;

    // Gone, and its disk with it: a mirror, or a beacon node while it remembers, will do.
    let (beacon, old) = (beacon(&batches, false).await?, beacon(&batches, true).await?);
    for source in ["mirror/blobs", &beacon, &old] {
        let audit = shell.quietly(&format!("fedroll audit {rollup} --blobs {source}")).await?;
        ensure!(audit.code == 0, "{source}: {audit:?}");
    }
    let paid = shell.quietly(&format!("{claim} --blobs {beacon}")).await?;
    ensure!(paid.code == 0 && paid.json()?["result"]["paid"][0]["amount"] == "3", "{paid:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_settled_in_blobs_and_paid_from_whoever_kept_them() -> Result<()> {
    let dir = tempfile::tempdir()?;
    settles_in_blobs(Chain::start(&dir.path().join("chain")).await?, dir.path()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_settled_in_blobs_on_anvil() -> Result<()> {
    let dir = tempfile::tempdir()?;
    settles_in_blobs(Chain::anvil(&["--block-time", "1"], Windows::DEVELOPMENT).await?, dir.path()).await
}

/// Keeps a batch's blobs as a mirror does.
fn mirror(dir: &Path, batch: &Batch) -> Result<()> {
    let folder = dir.join("blobs");
    std::fs::create_dir_all(&folder)?;
    for blob in batch.blobs() {
        std::fs::write(folder.join(kzg::versioned_hash(&blob).to_string()), blob.bytes())?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lie_in_a_blob_is_proven_by_whoever_has_the_blob() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let windows = Windows { challenge: 100, ..Windows::DEVELOPMENT };
    let chain = Chain::start_with(&dir.path().join("chain"), windows).await?;
    let rollup = Rollup::on(without_blobs(chain).await?, dir.path()).await?;
    watcher(&rollup).await?;
    let seal = rollup.seal_for(BatchMode::Blobs, |builder| {
        register(builder, 4..41)?;
        pay(builder, 1, 0..40)
    });
    let mut batch = seal.await?;
    ensure!(batch.chunks.len() > 2, "{} chunks", batch.chunks.len());
    batch.chunks[1].post_root = Keccak([0x66; 32]);
    rollup.post(&batch).await?;

    let audit = format!("fedroll audit --rpc {} --rollup {}", rollup.chain.url, rollup.chain.rollup);
    let challenge = format!("{audit} --format json --challenge --key-file watcher.key");
    let blind = rollup.shell.quietly(&challenge).await?;
    ensure!(blind.code == 2 && blind.json()?["result"]["challenge"].is_null(), "{blind:?}");
    mirror(dir.path(), &batch)?;
    let seen = rollup.shell.quietly(&format!("{challenge} --blobs blobs")).await?;
    ensure!(seen.code == 1, "{seen:?}");
    let answer = seen.json()?["result"]["challenge"].clone();
    ensure!(answer["outcome"] == "proven" && answer["batch"] == "2", "{answer}");
    ensure!(rollup.poster.latest_batch().await?.0.0 == 1, "it is rolled back");
    let after = rollup.shell.quietly(&audit).await?;
    ensure!(after.stdout.contains("was proven wrong"), "{after:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_outlives_a_missing_blob() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let windows = Windows { challenge: 100, ..Windows::DEVELOPMENT };
    let chain = Chain::start_with(&dir.path().join("chain"), windows).await?;
    let rollup = Rollup::on(without_blobs(chain).await?, dir.path()).await?;
    watcher(&rollup).await?;
    std::fs::create_dir(dir.path().join("blobs"))?;
    let words = ["--blobs", "blobs", "--challenge", "--key-file", "watcher.key"];
    let mut follower = Follower::start(&rollup.chain, dir.path(), &words).await?;
    follower.says("batch 1: 3 credits, holds").await?;

    // A lie that it cannot see: somebody else does, and it goes on.
    let mut lie = rollup.seal_for(BatchMode::Blobs, |builder| pay(builder, 1, 0..2)).await?;
    lie.chunks[0].post_root = Keccak([0x66; 32]);
    lie.header.post.next_account += 1;
    rollup.post(&lie).await?;
    follower.says("batch 2: blob 0x01").await?;
    let metrics = follower.metrics().await?;
    ensure!(metrics.contains("fedroll_audit_blobs_missing 1") && metrics.contains("fedroll_audit_alarm 0"));
    let elsewhere = tempfile::tempdir()?;
    mirror(elsewhere.path(), &lie)?;
    let audit = format!("fedroll audit --rpc {} --rollup {}", rollup.chain.url, rollup.chain.rollup);
    let source = elsewhere.path().join("blobs");
    let proven = format!("{audit} --challenge --key-file watcher.key --blobs {}", source.display());
    let proven = rollup.shell.quietly(&proven).await?;
    ensure!(proven.code == 1 && proven.stdout.contains("proven"), "{proven:?}");
    rollup.poster.make_bond(rollup.poster.sender(), FRAUD_BOND_WEI).await?;

    // A right one whose blob comes late, and one after it.
    let batch = rollup.seal_for(BatchMode::Blobs, |builder| pay(builder, 1, 0..2)).await?;
    rollup.post(&batch).await?;
    follower.says("batch 2: blob 0x01").await?;
    mirror(dir.path(), &batch)?;
    follower.says("batch 2: 2 credits, holds").await?;
    let metrics = follower.metrics().await?;
    ensure!(metrics.contains("fedroll_audit_blobs_missing 0"), "{metrics}");
    ensure!(follower.stop().await? == 0, "what it saw holds");
    Ok(())
}
