//! Numbers that were free again: a batch is proven wrong, another takes its number and becomes final. Whoever rebuilds
//! the ledger later, in stretches of history as short as its node allows, must not take the one for the other.

use std::path::Path;

use anyhow::{Result, ensure};
use contracts::base_layer::{BaseLayer as _, BaseLayerWriter as _, Challenger as _};
use contracts::rpc::{FRAUD_BOND_WEI, Windows};
use protocol::ids::BatchId;
use protocol::ledger::Batch;
use protocol::quic::key_file;
use serde_json::{Value, json};
use tests::real::{Chain, Fate, Proxy};

use crate::audit::{Rollup, pay, richer, state_instead};
use crate::challenge::watcher;

/// A wrong batch is not final before a slow machine has proven it.
pub(super) const WINDOWS: Windows = Windows { challenge: 100, ..Windows::DEVELOPMENT };

/// A batch that pays account 0, with a richer account than that makes.
pub(super) async fn wrong(rollup: &Rollup) -> Result<Batch> {
    let mut batch = rollup.seal(|builder| pay(builder, 1, 0..1)).await?;
    state_instead(&mut batch, &richer(rollup.deriver.state(), 9_000_000)?);
    Ok(batch)
}

/// Lets everything that was posted become final.
pub(super) async fn is_final(rollup: &Rollup) -> Result<()> {
    rollup.chain.ask("evm_increaseTime", json!([WINDOWS.challenge + 1])).await?;
    rollup.chain.ask("evm_mine", json!([])).await?;
    Ok(())
}

/// A rollup whose batch 2 was wrong, was proven wrong, was posted again by this, and is final.
pub(super) async fn posted_twice(
    dir: &Path,
    again: impl AsyncFnOnce(&mut Rollup) -> Result<()>,
) -> Result<Rollup> {
    let chain = Chain::start_with(&dir.join("chain"), WINDOWS).await?;
    let mut rollup = Rollup::on(chain, dir).await?;
    let key = watcher(&rollup).await?;
    let batch = wrong(&rollup).await?;
    rollup.post(&batch).await?;
    let audit = format!("fedroll audit --rpc {} --rollup {}", rollup.chain.url, rollup.chain.rollup);
    let ran = rollup.shell.quietly(&format!("{audit} --challenge --key-file watcher.key")).await?;
    ensure!(ran.code == 1 && ran.stdout.contains("the batch is gone"), "{ran:?}");
    ensure!(rollup.poster.latest_batch().await?.0 == BatchId(1));
    ensure!(rollup.poster.ether_balance(key.address()).await? > 0);
    rollup.poster.make_bond(rollup.poster.sender(), FRAUD_BOND_WEI).await?;
    rollup.catch_up().await?;
    again(&mut rollup).await?;
    is_final(&rollup).await?;
    ensure!(rollup.poster.final_batch().await? == BatchId(2));
    Ok(rollup)
}

/// A node that answers for this many blocks at once, as providers do.
async fn in_stretches(node: &str, blocks: u64) -> Result<Proxy> {
    let proxy = Proxy::before(node).await?;
    let number = |value: &Value| {
        value.as_str().and_then(|text| u64::from_str_radix(text.get(2..)?, 16).ok()).unwrap_or_default()
    };
    proxy.rule(move |method, params| {
        let asked = 1 + number(&params[0]["toBlock"])
            - number(&params[0]["fromBlock"]).min(number(&params[0]["toBlock"]));
        if method == "eth_getLogs" && asked > blocks { Fate::Refused } else { Fate::Pass }
    });
    Ok(proxy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_fell_and_is_final_is_read_in_stretches_of_any_length() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let rollup = posted_twice(dir.path(), async |rollup| {
        let batch = rollup.seal(|builder| pay(builder, 1, 0..1)).await?;
        rollup.post(&batch).await
    });
    let rollup = rollup.await?;
    key_file::write(&dir.path().join("requester.key"), &[7; 32])?;
    for blocks in [1, 3, 1_000] {
        let proxy = in_stretches(&rollup.chain.url, blocks).await?;
        let line =
            |words: &str| format!("fedroll {words} --rpc {} --rollup {}", proxy.url, rollup.chain.rollup);
        let ran = rollup.shell.quietly(&line("audit")).await?;
        ensure!(ran.code == 0 && ran.stdout.contains("batch 2 of "), "audit by {blocks}: {ran:?}");
        let ran = rollup.shell.quietly(&line("claim --account 0 --dry-run")).await?;
        ensure!(ran.code == 0 && ran.stdout.contains("       3\n"), "claim by {blocks}: {ran:?}");
        let ran = rollup.shell.quietly(&line("escape --job 0 --key-file requester.key --dry-run")).await?;
        ensure!(ran.code == 0 && ran.stdout.contains("next: "), "escape by {blocks}: {ran:?}");
    }
    Ok(())
}
