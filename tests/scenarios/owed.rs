//! A coordinator that signed for work and then does nothing more: its bond pays, although it posts no batch that would
//! show what it did not do. Whoever is owed shows it, or a freeze does.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use contracts::base_layer::{BaseLayer as _, BaseLayerWriter as _, Leaver as _};
use contracts::rpc::Windows;
use protocol::amount::Amount;
use protocol::hash::Digest;
use protocol::ids::{AccountIndex, Address, JobId, SpecHash};
use protocol::job::{Acceptance, SignedAcceptance};
use protocol::quic::key_file;
use protocol::sign::EthKey;
use serde_json::{Value, json};
use tests::real::{Chain, Network, Shell, Worker, operator, training};

use crate::audit::Rollup;
use crate::omissions::export;

/// Looks at the chain in one claim: each ends in a step or in a time to wait for.
const LOOKS_MAX: usize = 20;
const BOND: &str = "make a bond, to post the missing batch with";
const POST: &str = "post a batch that shows that time has passed";

/// What account 2 was promised for settlement 1.
fn promised(rollup: &Rollup, settle_by: u64) -> SignedAcceptance {
    let acceptance = Acceptance {
        job: JobId(0),
        spec: SpecHash([7; 32]),
        settlement: 1,
        account: AccountIndex(2),
        payout: Address([3; 20]),
        tasks: 1,
        owed: 800_000,
        receipt: Digest([9; 32]),
        settle_by,
    };
    acceptance.sign(&rollup.poster.domain(), &operator())
}

/// Who is owed something, with a key that pays for gas.
struct Claimant<'a> {
    chain: &'a Chain,
    shell: &'a Shell,
}

impl<'a> Claimant<'a> {
    async fn new(chain: &'a Chain, shell: &'a Shell) -> Result<Self> {
        let key = EthKey::from_secret(&[0x55; 32])?;
        chain.writer(&operator()).await?.send_ether(key.address(), 10u128.pow(19)).await?;
        key_file::write(&shell.path("anyone.key"), &key.secret())?;
        Ok(Self { chain, shell })
    }

    async fn claim(&self, flags: &str) -> Result<Value> {
        let Chain { url, rollup, .. } = self.chain;
        let line = format!(
            "fedroll claim --omitted kept.json --key-file anyone.key --rpc {url} --rollup {rollup} \
             --format json {flags}"
        );
        let ran = self.shell.quietly(&line).await?;
        ensure!(ran.code == 0, "{ran:?}");
        Ok(ran.json()?["result"].clone())
    }

    /// Claims, putting time forward wherever something has to be waited for. The steps, and the last answer.
    async fn claim_at_last(&self, flags: &str) -> Result<(Vec<String>, Value)> {
        let mut steps = Vec::new();
        for _ in 0..LOOKS_MAX {
            let answer = self.claim(flags).await?;
            for step in answer["steps"].as_array().into_iter().flatten() {
                steps.push(step["what"].as_str().context("a name")?.to_owned());
            }
            let Some(until) = answer["not_before"].as_u64() else { return Ok((steps, answer)) };
            self.put_forward_to(until).await?;
        }
        bail!("no end after {steps:?}")
    }

    async fn put_forward_to(&self, time: u64) -> Result<()> {
        let newest = self.chain.ask("eth_getBlockByNumber", json!(["pending", false])).await?;
        let now = newest["timestamp"].as_str().and_then(|text| u64::from_str_radix(text.get(2..)?, 16).ok());
        let ahead = time.saturating_sub(now.context("a block's time")?);
        self.chain.ask("evm_increaseTime", json!([ahead + 1])).await?;
        self.chain.ask("evm_mine", json!([])).await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_owed_posts_the_batch_that_shows_it() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let rollup = Rollup::on(Chain::start(&dir.path().join("chain")).await?, dir.path()).await?;
    let settle_by = rollup.poster.now().await? + 15;
    export(&rollup.shell.path("kept.json"), &[promised(&rollup, settle_by)])?;
    let claimant = Claimant::new(&rollup.chain, &rollup.shell).await?;

    let early = claimant.claim("").await?;
    ensure!(early["waiting"] == 1 && early["not_before"] == settle_by + 1, "{early:#}");
    ensure!(
        early["waits"][0]["why"].as_str().is_some_and(|why| why.contains("is to be settled by")),
        "{early:#}"
    );
    claimant.put_forward_to(settle_by + 1).await?;
    // Without a bond it says what is missing, and stops there.
    let late = claimant.claim("").await?;
    ensure!(late["waits"][0]["why"].as_str().is_some_and(|why| why.contains("no batch")), "{late:#}");
    ensure!(late["next"].as_str().is_some_and(|next| next.contains("--bond")), "{late:#}");
    ensure!(late["not_before"].is_null() && late["steps"].is_null(), "{late:#}");

    let (steps, done) = claimant.claim_at_last("--bond").await?;
    ensure!(steps == [BOND, POST], "{steps:?}");
    ensure!(done["omissions"][0]["paid"] == "0.8" && done["waiting"] == 0, "{done:#}");
    ensure!(rollup.poster.token_balance(Address([3; 20])).await? == Amount::units(800_000));
    let (steps, _) = claimant.claim_at_last("--bond").await?;
    ensure!(steps.is_empty(), "nothing is left to do: {steps:?}");
    ensure!(rollup.poster.token_balance(Address([3; 20])).await? == Amount::units(800_000), "paid once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_rollup_counts_as_dated_when_it_was_frozen() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let rollup = Rollup::on(Chain::start(&dir.path().join("chain")).await?, dir.path()).await?;
    let settle_by = rollup.poster.now().await? + 15;
    let never = Acceptance { settlement: 2, settle_by: u64::MAX, ..promised(&rollup, 0).acceptance };
    let never = never.sign(&rollup.poster.domain(), &operator());
    export(&rollup.shell.path("kept.json"), &[promised(&rollup, settle_by), never])?;
    let claimant = Claimant::new(&rollup.chain, &rollup.shell).await?;
    rollup.top_up().await?;
    let (overdue, now) = (Windows::DEVELOPMENT, rollup.poster.now().await?);
    claimant.put_forward_to(now + overdue.inclusion + overdue.freeze_overdue + 1).await?;
    rollup.poster.freeze().await?;
    let (steps, done) = claimant.claim_at_last("").await?;
    ensure!(steps.is_empty() && done["omissions"][0]["paid"] == "0.8", "{done:#}");
    let why = done["waits"][0]["why"].as_str().context("why")?;
    ensure!(why.contains("the rollup was frozen before"), "{why}");
    ensure!(rollup.poster.token_balance(Address([3; 20])).await? == Amount::units(800_000));
    Ok(())
}

/// A worker's own promises, of a coordinator that was killed before its first batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_of_a_killed_coordinator_has_its_due() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let windows = Windows { inclusion: 600, ..Windows::DEVELOPMENT };
    let chain = Chain::start_with(&dir.path().join("chain"), windows).await?;
    let network = Network::on(chain, dir.path(), "seal_after_ms = 600000\npoll_ms = 50\n").await?;
    network.requester.submit(&training("silent", 1_000, 1)?, &[]).await?;
    let worker = Worker::start(&dir.path().join("one"), &network.coordinator.worker_address, 1).await?;
    let shell = Shell::new(dir.path());
    let export = format!("fedroll-worker --format json acceptances --dir {}", worker.dir().display());
    let kept = loop {
        let ran = shell.quietly(&export).await?;
        if ran.code == 0 && ran.json()?["acceptances"].as_array().is_some_and(|kept| !kept.is_empty()) {
            break ran.stdout;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let data = network.coordinator.data();
    network.coordinator.process.kill().await?;
    fs::remove_dir_all(&data)?;
    ensure!(network.requester.chain.latest_batch().await?.0.0 == 0, "it has posted nothing");
    fs::write(shell.path("kept.json"), &kept)?;

    let claimant = Claimant::new(&network.chain, &shell).await?;
    let (steps, done) = claimant.claim_at_last("--bond").await?;
    ensure!(steps == [BOND, POST], "{steps:?}");
    let lines = done["omissions"].as_array().context("omissions")?;
    ensure!(!lines.is_empty() && done["waiting"] == 0, "{done:#}");
    let mut due = Amount::ZERO;
    for line in lines {
        ensure!(line["paid"] == line["promised"], "{line}");
        due = due.add(line["paid"].as_str().context("a sum")?.parse()?)?;
    }
    ensure!(network.requester.chain.token_balance(Address([1; 20])).await? == due, "{due}");
    Ok(())
}
