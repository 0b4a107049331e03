//! A watcher goes on: whoever lies twice is proven wrong twice, and neither a source that keeps it waiting nor a node
//! that answers nonsense, nor an empty purse, ends it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use contracts::base_layer::{BaseLayer as _, BaseLayerWriter as _, Challenger as _};
use contracts::rpc::FRAUD_BOND_WEI;
use protocol::ids::BatchId;
use protocol::quic::key_file;
use protocol::sign::EthKey;
use tests::real::{Chain, Fate, Proxy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::audit::{Rollup, richer, state_instead};
use crate::challenge::{Follower, honest, watcher};
use crate::replayed::{WINDOWS, wrong};

const CHALLENGE: [&str; 3] = ["--challenge", "--key-file", "watcher.key"];

async fn rollup(dir: &Path) -> Result<Rollup> {
    Rollup::on(Chain::start_with(&dir.join("chain"), WINDOWS).await?, dir).await
}

/// A coordinator that answers every request with a byte now and then, for ever.
async fn dripping() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let head = b"HTTP/1.1 200 OK\r\ncontent-length: 60000000\r\n\r\n";
                let mut alive = stream.write_all(head).await.is_ok();
                let mut drops = tokio::time::interval(Duration::from_millis(100));
                while alive {
                    drops.tick().await;
                    alive = stream.write_all(b" ").await.is_ok();
                }
            });
        }
    });
    Ok(url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_lie_is_proven_as_often_as_it_is_posted() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let rollup = rollup(dir.path()).await?;
    watcher(&rollup).await?;
    let mut follower = Follower::start(&rollup.chain, dir.path(), &CHALLENGE).await?;
    follower.says("batch 1: 3 credits, holds").await?;
    let batch = wrong(&rollup).await?;
    for _ in 0..3 {
        // The same bytes, and so the same commitment.
        rollup.post(&batch).await?;
        follower.says("batch 2: does not match: chunk ").await?;
        follower.says("proven: chunk ").await?;
        rollup.poster.make_bond(rollup.poster.sender(), FRAUD_BOND_WEI).await?;
    }
    follower.counts(&["fedroll_audit_batches_proven_total 3", "fedroll_audit_batches_wrong_total 3"]).await?;
    ensure!(follower.stop().await? == 1, "a watcher that saw a lie ends with 1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lets_evidence_drip_keeps_no_watcher_from_a_proof() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let rollup = rollup(dir.path()).await?;
    watcher(&rollup).await?;
    let url = dripping().await?;
    let words = [&["--evidence", &url][..], &CHALLENGE].concat();
    let mut follower = Follower::start(&rollup.chain, dir.path(), &words).await?;
    follower.says("batch 1: 3 credits, holds").await?;
    let batch = wrong(&rollup).await?;
    rollup.post(&batch).await?;
    follower.says("batch 2: does not match: chunk ").await?;
    follower.says("proven: chunk ").await?;
    ensure!(follower.stop().await? == 1);

    // The same of an audit that looks once.
    rollup.poster.make_bond(rollup.poster.sender(), FRAUD_BOND_WEI).await?;
    rollup.post(&batch).await?;
    let Chain { url: rpc, rollup: address, .. } = &rollup.chain;
    let line = format!(
        "fedroll audit --rpc {rpc} --rollup {address} --evidence {url} --challenge --key-file watcher.key"
    );
    let falls = async {
        while rollup.poster.latest_batch().await?.0 != BatchId(1) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        ran = rollup.shell.quietly(&line) => anyhow::bail!("it waits for nobody: {ran:?}"),
        fell = tokio::time::timeout(Duration::from_secs(30), falls) => fell.context("it was not proven")?,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_answers_nonsense_for_a_while_is_asked_again() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut rollup = rollup(dir.path()).await?;
    watcher(&rollup).await?;
    let proxy = Proxy::before(&rollup.chain.url).await?;
    let mut follower = Follower::start_at(&proxy.url, &rollup.chain, dir.path(), &CHALLENGE).await?;
    follower.says("batch 1: 3 credits, holds").await?;
    for fate in [Fate::Nonsense, Fate::Refused, Fate::Empty] {
        proxy.rule(move |method, _| if method == "eth_getBlockByNumber" { fate } else { Fate::Pass });
        follower.counts(&["fedroll_audit_blind 1"]).await?;
        proxy.heal();
        follower.counts(&["fedroll_audit_blind 0"]).await?;
    }
    // A node behind the others says that nothing happened in blocks in which a wrong batch was posted.
    proxy.rule(|method, _| if method == "eth_getLogs" { Fate::Empty } else { Fate::Pass });
    let batch = wrong(&rollup).await?;
    let before = proxy.count("eth_getLogs", Fate::Empty);
    rollup.post(&batch).await?;
    let read = async {
        while proxy.count("eth_getLogs", Fate::Empty) <= before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), read).await.context("it reads on")?;
    proxy.heal();
    // What comes next does not fit what was read, and is no proof of anything.
    let mut next = rollup.seal(|_| Ok(())).await?;
    let (root, post) = (batch.header.post.root(), batch.header.post);
    (next.header.number, next.header.pre_root, next.header.post) = (BatchId(3), root, post);
    rollup.post(&next).await?;
    follower.says("batch 2: does not match: chunk ").await?;
    follower.says("batch 3: does not match: it builds on batch 2").await?;
    follower.says("proven: chunk ").await?;
    rollup.poster.make_bond(rollup.poster.sender(), FRAUD_BOND_WEI).await?;
    rollup.catch_up().await?;
    let (batch, _) = honest(&rollup).await?;
    rollup.post(&batch).await?;
    follower.says("batch 2: 40 credits, holds").await?;
    ensure!(follower.stop().await? == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_without_ether_raises_the_alarm_and_tries_again() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let rollup = rollup(dir.path()).await?;
    let key = EthKey::from_secret(&[0x77; 32])?;
    key_file::write(&rollup.shell.path("watcher.key"), &key.secret())?;
    let mut follower = Follower::start(&rollup.chain, dir.path(), &CHALLENGE).await?;
    follower.says("batch 1: 3 credits, holds").await?;
    let (mut batch, state) = honest(&rollup).await?;
    state_instead(&mut batch, &richer(&state, 9)?);
    rollup.post(&batch).await?;
    follower.says("batch 2: does not match: chunk ").await?;
    follower.counts(&["fedroll_audit_alarm 1", "fedroll_audit_challenge_fails 1"]).await?;
    rollup.poster.send_ether(key.address(), 10u128.pow(18)).await?;
    follower.says("proven: chunk ").await?;
    follower.counts(&["fedroll_audit_alarm 0", "fedroll_audit_challenge_fails 0"]).await?;
    ensure!(follower.stop().await? == 1);
    Ok(())
}
