//! A coordinator that cheats never gets past a watcher: each kind of lie is proven wrong by `fedroll audit
//! --challenge`, rolled back, and an honest batch goes on from before it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use contracts::base_layer::{BaseLayer as _, BaseLayerWriter as _, Bonds as _, Challenger as _};
use contracts::rpc::{FRAUD_BOND_WEI, Windows};
use protocol::amount::Amount;
use protocol::hash::Keccak;
use protocol::ids::{Address, BatchId};
use protocol::ledger::{Account, Batch, Job, Op, State, apply_chunk, parse_chunk};
use protocol::quic::key_file;
use protocol::sign::EthKey;
use tests::real::{Chain, program};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::audit::{Rollup, pay, register, richer, state_instead};

/// Long enough for a slow machine, and never over in a test.
const WINDOWS: Windows = Windows { challenge: 100, ..Windows::DEVELOPMENT };

/// Turns an honest batch on this state into a lie.
type Lie = fn(&State, &mut Batch) -> Result<()>;

const LIES: [(&str, Lie); 9] = [
    ("an account is richer than its credits", money_from_nothing),
    ("a payout address is another", another_payout),
    ("a job has spent less than was credited", spent_less),
    ("a job is funded with more than the queue says", funded_more),
    ("a queue item is passed over as if it were consumed", item_skipped),
    ("a registration is left out", registration_left_out),
    ("a root in the middle is wrong", wrong_in_the_middle),
    ("a credit over the price cap was applied", over_the_price),
    ("a chunk with a wrong declaration was applied", wrong_declaration),
];

/// The state with something changed.
fn changed(state: &State, change: impl FnOnce(&mut Vec<Account>, &mut Vec<Job>)) -> Result<State> {
    let mut accounts: Vec<_> = state.accounts().map(|(_, account)| *account).collect();
    let mut jobs: Vec<_> = state.jobs().map(|(_, job)| *job).collect();
    change(&mut accounts, &mut jobs);
    State::restore(&accounts, &jobs, state.queue_position()).context("the trees hold them")
}

fn money_from_nothing(honest: &State, batch: &mut Batch) -> Result<()> {
    state_instead(batch, &richer(honest, 1)?);
    Ok(())
}

fn another_payout(honest: &State, batch: &mut Batch) -> Result<()> {
    let lie = changed(honest, |accounts, _| accounts[2].payout = Address([0xba; 20]))?;
    state_instead(batch, &lie);
    Ok(())
}

fn spent_less(honest: &State, batch: &mut Batch) -> Result<()> {
    let lie = changed(honest, |_, jobs| jobs[0].spent = Amount::ZERO)?;
    state_instead(batch, &lie);
    Ok(())
}

fn funded_more(honest: &State, batch: &mut Batch) -> Result<()> {
    let lie = changed(honest, |_, jobs| jobs[0].funded = Amount::units(1 << 90))?;
    state_instead(batch, &lie);
    Ok(())
}

fn item_skipped(honest: &State, batch: &mut Batch) -> Result<()> {
    let lie = changed(honest, |_, jobs| jobs[0].funded = Amount::units(500_000_000))?;
    state_instead(batch, &lie);
    Ok(())
}

fn registration_left_out(honest: &State, batch: &mut Batch) -> Result<()> {
    let lie = changed(honest, |accounts, _| accounts.truncate(accounts.len() - 1))?;
    state_instead(batch, &lie);
    Ok(())
}

fn wrong_in_the_middle(_: &State, batch: &mut Batch) -> Result<()> {
    ensure!(batch.chunks.len() > 2, "{} chunks", batch.chunks.len());
    batch.chunks[1].post_root = Keccak([0x66; 32]);
    Ok(())
}

fn over_the_price(honest: &State, batch: &mut Batch) -> Result<()> {
    let last = batch.chunks.last_mut().context("there are chunks")?;
    let mut bytes = Vec::new();
    for mut op in parse_chunk(&last.bytes).ops {
        if let Op::Credits(credits) = &mut op {
            credits.credits[0].amount = 5_000_000;
        }
        op.encode(&mut bytes);
    }
    last.bytes = bytes;
    state_instead(batch, &richer(honest, 3_500_000)?);
    Ok(())
}

fn wrong_declaration(_: &State, batch: &mut Batch) -> Result<()> {
    // Its ops count for nothing then, and the root after them says that they do.
    batch.chunks.last_mut().context("there are chunks")?.declared += 1;
    Ok(())
}

/// An honest batch with a bit of everything, and the state after it.
pub(super) async fn honest(rollup: &Rollup) -> Result<(Batch, State)> {
    let batch = rollup.seal(|builder| {
        builder.consume_queue()?;
        register(builder, 4..41)?;
        pay(builder, 1, 0..40)
    });
    let batch = batch.await?;
    let mut state = rollup.deriver.state().clone();
    let context = protocol::ledger::Context {
        deployment: rollup.poster.deployment(),
        time: batch.header.time,
        proposer: batch.proposer,
        queue: rollup.deriver.queue(),
        queue_end: batch.header.queue_end,
    };
    for chunk in &batch.chunks {
        apply_chunk(&mut state, &chunk.bytes, chunk.declared, &context);
    }
    ensure!(state.root() == batch.header.post.root());
    Ok((batch, state))
}

/// A key of its own with ether for gas, in `watcher.key`.
pub(super) async fn watcher(rollup: &Rollup) -> Result<EthKey> {
    let key = EthKey::from_secret(&[0x77; 32])?;
    rollup.poster.send_ether(key.address(), 10u128.pow(18)).await?;
    key_file::write(&rollup.shell.path("watcher.key"), &key.secret())?;
    Ok(key)
}

/// `fedroll audit --follow` as a process.
pub(super) struct Follower {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    metrics: String,
}

impl Follower {
    pub(super) async fn start(chain: &Chain, dir: &Path, words: &[&str]) -> Result<Self> {
        Self::start_at(&chain.url, chain, dir, words).await
    }

    /// One that asks another node about the chain.
    pub(super) async fn start_at(node: &str, chain: &Chain, dir: &Path, words: &[&str]) -> Result<Self> {
        let mut process = Command::new(program("fedroll")?)
            .args(["audit", "--rpc", node, "--rollup", &chain.rollup.to_string()])
            .args(["--follow", "--poll-ms", "50", "--metrics", "127.0.0.1:0"])
            .args(words)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let lines = BufReader::new(process.stdout.take().context("stdout is piped")?).lines();
        let mut follower = Self { process, lines, metrics: String::new() };
        let line = follower.line().await?;
        follower.metrics = line.strip_prefix("metrics at ").context("where metrics are")?.to_owned();
        Ok(follower)
    }

    async fn line(&mut self) -> Result<String> {
        let next = tokio::time::timeout(Duration::from_secs(30), self.lines.next_line());
        Ok(next.await.context("the watcher says nothing")??.unwrap_or_default())
    }

    /// Its next line begins so.
    pub(super) async fn says(&mut self, want: &str) -> Result<()> {
        let line = self.line().await?;
        ensure!(line.starts_with(want), "it says {line:?}, not {want:?}");
        Ok(())
    }

    /// One of its next lines begins so.
    pub(super) async fn says_at_last(&mut self, want: &str) -> Result<String> {
        loop {
            let line = self.line().await?;
            if line.starts_with(want) {
                return Ok(line);
            }
            ensure!(!line.is_empty(), "it ended, and never said {want:?}");
        }
    }

    /// Waits until its metrics say all of this.
    pub(super) async fn counts(&self, want: &[&str]) -> Result<()> {
        let mut text = String::new();
        for _ in 0..600 {
            text = self.metrics().await?;
            if want.iter().all(|line| text.lines().any(|said| said == *line)) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("never {want:?}\n{text}")
    }

    pub(super) async fn metrics(&self) -> Result<String> {
        Ok(reqwest::get(&self.metrics).await?.text().await?)
    }

    /// Asks it to end; its exit code.
    pub(super) async fn stop(&mut self) -> Result<i32> {
        let id = self.process.id().and_then(|id| rustix::process::Pid::from_raw(id as i32));
        rustix::process::kill_process(id.context("it runs")?, rustix::process::Signal::TERM)?;
        let status = tokio::time::timeout(Duration::from_secs(10), self.process.wait()).await??;
        status.code().context("it ends by itself")
    }
}

async fn every_lie_falls(chain: Chain, dir: &Path) -> Result<()> {
    let mut rollup = Rollup::on(chain, dir).await?;
    let key = watcher(&rollup).await?;
    let audit = format!("fedroll audit --rpc {} --rollup {}", rollup.chain.url, rollup.chain.rollup);
    let challenge = format!("{audit} --format json --challenge --key-file watcher.key");
    for (name, lie) in LIES {
        rollup.top_up().await?;
        rollup.catch_up().await?;
        let (mut batch, state) = honest(&rollup).await?;
        lie(&state, &mut batch).context(name)?;
        rollup.post(&batch).await.context(name)?;
        let before = rollup.poster.ether_balance(key.address()).await?;
        let ran = rollup.shell.quietly(&challenge).await?;
        ensure!(ran.code == 1, "{name}: {ran:?}");
        let answer = ran.json()?["result"]["challenge"].clone();
        ensure!(answer["outcome"] == "proven" && answer["batch"] == "2", "{name}: {answer}");
        let reward: u128 = answer["reward_wei"].as_str().context("a sum")?.parse()?;
        ensure!(reward == FRAUD_BOND_WEI / 8 * 3, "{name}: {reward}");
        ensure!(rollup.poster.ether_balance(key.address()).await? > before, "{name}");
        ensure!(rollup.poster.bond(rollup.poster.sender()).await?.wei == 0, "{name}");
        ensure!(rollup.poster.latest_batch().await?.0 == BatchId(1), "{name}");
        let ran = rollup.shell.quietly(&audit).await?;
        ensure!(ran.code == 0 && ran.stdout.contains("was proven wrong"), "{name}: {ran:?}");
        rollup.poster.make_bond(rollup.poster.sender(), FRAUD_BOND_WEI).await?;
    }
    rollup.catch_up().await?;
    let (batch, state) = honest(&rollup).await?;
    rollup.post(&batch).await?;
    let ran = rollup.shell.quietly(&challenge).await?;
    ensure!(ran.code == 0 && ran.json()?["result"]["challenge"].is_null(), "{ran:?}");
    ensure!(rollup.poster.latest_batch().await? == (BatchId(2), state.root()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lie_gets_past_a_challenger() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let chain = Chain::start_with(&dir.path().join("chain"), WINDOWS).await?;
    every_lie_falls(chain, dir.path()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lie_gets_past_a_challenger_on_anvil() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let chain = Chain::anvil(&[], WINDOWS).await?;
    every_lie_falls(chain, dir.path()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_challenges_by_itself_and_goes_on() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let chain = Chain::start_with(&dir.path().join("chain"), WINDOWS).await?;
    let mut rollup = Rollup::on(chain, dir.path()).await?;
    watcher(&rollup).await?;
    let mut follower =
        Follower::start(&rollup.chain, dir.path(), &["--challenge", "--key-file", "watcher.key"]).await?;
    follower.says("batch 1: 3 credits, holds").await?;

    let (mut batch, state) = honest(&rollup).await?;
    state_instead(&mut batch, &richer(&state, 9)?);
    rollup.post(&batch).await?;
    follower.says("batch 2: does not match: chunk ").await?;
    follower.says("proven: chunk ").await?;
    rollup.poster.make_bond(rollup.poster.sender(), FRAUD_BOND_WEI).await?;
    rollup.catch_up().await?;
    let (batch, _) = honest(&rollup).await?;
    rollup.post(&batch).await?;
    follower.says("batch 2: 40 credits, holds").await?;
    let text = follower.metrics().await?;
    for want in
        ["fedroll_audit_batches_total 3", "fedroll_audit_batches_proven_total 1", "fedroll_audit_alarm 0"]
    {
        ensure!(text.contains(want), "{want}\n{text}");
    }
    ensure!(follower.stop().await? == 1, "a watcher that saw a lie ends with 1");
    Ok(())
}
