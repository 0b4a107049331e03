//! Nobody serves the rollup any more: the coordinator's process and data are gone. Requesters and workers get what is
//! theirs all the same, by the command line and from the base layer alone, on both chains, with time put forward.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use contracts::base_layer::BaseLayerWriter as _;
use contracts::rpc::Windows;
use protocol::amount::Amount;
use protocol::ids::JobId;
use protocol::quic::key_file;
use serde_json::{Value, json};
use tests::real::{Chain, Network, Requester, Shell, operator, training};

use crate::network::{derive, good_update, persistent};

/// The requester's key file, in the shell's directory.
const KEY: &str = "requester.key";
/// Looks at the chain in one escape: each ends in a step or in a time to wait for.
const LOOKS_MAX: usize = 20;

/// Waits until the base layer has so many of a job's settlements.
pub(super) async fn has_settled(network: &Network, job: JobId, least: u32) -> Result<()> {
    while derive(network).await?.state().job(job).is_none_or(|job| job.next_settlement < least) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// A chain with a rollup that nobody serves, with a job under way.
struct Deserted {
    chain: Chain,
    requester: std::sync::Arc<Requester>,
    shell: Shell,
    job: JobId,
    before: u128,
}

impl Deserted {
    async fn on(chain: Chain, dir: &Path) -> Result<Self> {
        let network = Network::on(chain, dir, "seal_after_ms = 100\npoll_ms = 50\n").await?;
        let requester = network.requester.clone();
        let before = requester.balance().await?;
        let job = requester.submit(&training("deserted", 1_000, 2)?, &[]).await?;
        let clients = [0, 1].map(|number| {
            let address = network.coordinator.worker_address.clone();
            Ok::<_, anyhow::Error>(persistent(address, number, good_update()?))
        });
        has_settled(&network, job, 2).await?;
        for client in clients {
            client?.abort();
        }
        let data = network.coordinator.data();
        network.coordinator.process.kill().await?;
        fs::remove_dir_all(&data)?;
        key_file::write(&dir.join(KEY), &[0x42; 32])?;
        Ok(Self { chain: network.chain, requester, shell: Shell::new(dir), job, before })
    }

    fn line(&self, words: &str) -> String {
        let Chain { url, rollup, .. } = &self.chain;
        format!("fedroll {words} --rpc {url} --rollup {rollup}")
    }

    /// One `fedroll escape`: its answer.
    async fn escape(&self, flags: &str) -> Result<Value> {
        let words = format!("escape --job {} --key-file {KEY} --format json {flags}", self.job);
        let ran = self.shell.quietly(&self.line(&words)).await?;
        let answer = ran.json()?;
        ensure!(ran.code < 2, "{ran:?}");
        ensure!(
            (ran.code == 0) == (answer["result"]["done"] == true || flags.contains("--dry-run")),
            "{ran:?}"
        );
        Ok(answer["result"].clone())
    }

    /// Escapes, putting time forward wherever something has to be waited for. The names of the steps.
    async fn leave(&self, flags: &str) -> Result<Vec<String>> {
        let mut steps = Vec::new();
        for _ in 0..LOOKS_MAX {
            let answer = self.escape(flags).await?;
            for step in answer["steps"].as_array().context("steps")? {
                steps.push(step["what"].as_str().context("a name")?.to_owned());
            }
            if answer["done"] == true {
                return Ok(steps);
            }
            let until = answer["not_before"].as_u64().with_context(|| format!("a time: {answer}"))?;
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

    /// Everything that the ledger gives the requester is back, the workers claim theirs, and the audit holds.
    async fn is_settled(&self) -> Result<()> {
        let audit = self.shell.quietly(&self.line("audit --format json")).await?;
        ensure!(audit.code == 0, "{audit:?}");
        let audit = audit.json()?["result"].clone();
        let units = |value: &Value| Ok::<_, anyhow::Error>(text(value)?.parse::<Amount>()?.as_units());
        let (spent, earned) = (units(&audit["totals"]["spent"])?, units(&audit["totals"]["earned"])?);
        assert!(earned > 0, "work was paid: {audit}");
        assert_eq!(self.requester.balance().await?, self.before - spent, "the rest is back");
        let claim = self.line(&format!("claim --all --key-file {KEY} --format json"));
        let paid = self.shell.quietly(&claim).await?;
        ensure!(paid.code == 0, "{paid:?}");
        let paid = paid.json()?["result"]["paid"].clone();
        let payments = paid.as_array().context("payments")?;
        let sum = payments.iter().map(|payment| units(&payment["amount"])).sum::<Result<u128>>()?;
        assert_eq!(sum, earned, "the workers have theirs: {paid}");
        Ok(())
    }
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().with_context(|| format!("text: {value}"))?.to_owned())
}

async fn frozen(chain: Chain) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let deserted = Deserted::on(chain, dir.path()).await?;
    let plan = deserted.escape("--dry-run").await?;
    assert_eq!(plan["next"], "ask for the job to be closed", "{plan}");
    // Money that no batch will ever see comes back as well.
    deserted.requester.chain.top_up(deserted.job, Amount::units(77)).await?;
    let steps = deserted.leave("").await?;
    let standing = deserted.shell.quietly(&deserted.line("chain status")).await?;
    ensure!(standing.stdout.contains("frozen since"), "{standing:?}");
    let freeze = "freeze the rollup: nobody has served it for too long";
    let queued = "take 1 queue item(s) back that no batch consumed";
    let escrow = "take the escrow out by the last state";
    assert_eq!(steps, ["ask for the job to be closed", freeze, queued, escrow]);
    deserted.is_settled().await?;
    let again = deserted.escape("").await?;
    assert_eq!((&again["done"], again["steps"].as_array().map(Vec::len)), (&json!(true), Some(0)));
    Ok(())
}

async fn posted_by_the_requester(chain: Chain) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let deserted = Deserted::on(chain, dir.path()).await?;
    let steps = deserted.leave("--bond").await?;
    let post = "post a batch that consumes the queue";
    let bond = "make a bond, to post the missing batches with";
    assert_eq!(steps, ["ask for the job to be closed", bond, post, post, "claim the refund"]);
    deserted.is_settled().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn escrow_leaves_a_frozen_rollup() -> Result<()> {
    let dir = tempfile::tempdir()?;
    frozen(Chain::start(dir.path()).await?).await
}

/// Not the development chain's id, and the windows of a real one: only what is four blocks old counts as final.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn escrow_leaves_where_blocks_take_time_to_be_final() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let arguments = ["--chain-id", "1337", "--block-time", "1", "--slots-in-an-epoch", "2"];
    let chain = Chain::anvil(&arguments, Windows::REAL).await?;
    let deserted = Deserted::on(chain, dir.path()).await?;
    let steps = deserted.leave("--bond").await?;
    assert_eq!(steps.last().map(String::as_str), Some("claim the refund"), "{steps:?}");
    deserted.chain.ask("anvil_mine", json!([10])).await?;
    deserted.is_settled().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn escrow_leaves_a_frozen_rollup_on_anvil() -> Result<()> {
    frozen(Chain::anvil(&[], Windows::DEVELOPMENT).await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_posts_what_a_silent_proposer_does_not() -> Result<()> {
    let dir = tempfile::tempdir()?;
    posted_by_the_requester(Chain::start(dir.path()).await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_posts_what_a_silent_proposer_does_not_on_anvil() -> Result<()> {
    posted_by_the_requester(Chain::anvil(&[], Windows::DEVELOPMENT).await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_not_there_is_said_to_be_missing() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let chain = Chain::start(&dir.path().join("chain")).await?;
    key_file::write(&dir.path().join(KEY), &operator().secret())?;
    let line =
        format!("fedroll escape --job 3 --key-file {KEY} --rpc {} --rollup {}", chain.url, chain.rollup);
    let ran = Shell::new(dir.path()).quietly(&line).await?;
    assert!(ran.code == 2 && ran.stderr.contains("the rollup has no job 3"), "{ran:?}");
    Ok(())
}
