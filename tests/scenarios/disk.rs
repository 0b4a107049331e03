//! A disk that takes no more: the program says so and ends, nothing that was acknowledged is lost, and the job goes on
//! once there is room.
//!
//! The limit on the size of files stands for the full disk: it can be set on a running process, and needs no rights.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use protocol::api::JobPhase;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;
use tests::real::{Network, PRICE, Shell, Worker, program, training};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

const ROUNDS: u32 = 60;
/// Seconds until a program that cannot write must have said so and ended.
const END_S_MAX: u64 = 60;

/// A program whose disk can be filled: what it says goes to pipes, not to files.
struct Limited {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Limited {
    /// Starts a program that is told by an error, not killed, when a file must not grow; waits until it is ready.
    async fn start(name: &str, arguments: &[&str]) -> Result<Self> {
        let mut child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(program(name)?)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("stdout is piped")?);
        let mut line = String::new();
        stdout.read_line(&mut line).await?;
        ensure!(serde_json::from_str::<Value>(&line)?["ready"] == true, "{line}");
        Ok(Self { child, stdout })
    }

    /// From here on no file of this program grows.
    fn fill_the_disk(&self) -> Result<()> {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).context("it runs")?;
        prlimit(Some(pid), Resource::Fsize, Rlimit { current: Some(0), maximum: None })?;
        Ok(())
    }

    /// How it ends, with its last words on stderr.
    async fn end(mut self) -> Result<(i32, String)> {
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().context("stderr is piped")?;
        let ended = async {
            stderr.read_to_string(&mut said).await?;
            self.stdout.read_to_string(&mut String::new()).await?;
            anyhow::Ok(self.child.wait().await?)
        };
        let ended = tokio::time::timeout(Duration::from_secs(END_S_MAX), ended).await;
        let code = ended.context("it goes on although it cannot write")??;
        Ok((code.code().with_context(|| format!("it ended by a signal: {said}"))?, said))
    }
}

async fn job_with_two_workers(dir: &Path) -> Result<(Network, Vec<Worker>)> {
    let network = Network::start(dir, "seal_after_ms = 300\npoll_ms = 50\n").await?;
    let mut workers = Vec::new();
    for number in [1, 2] {
        let place = dir.join(format!("worker-{number}"));
        workers.push(Worker::start(&place, &network.coordinator.worker_address, number).await?);
    }
    Ok((network, workers))
}

/// Everyone is paid once for everything, as the base layer has it.
async fn check_pay(network: &Network) -> Result<()> {
    let line = format!(
        "fedroll audit --rpc {} --rollup {} --evidence {} --format json",
        network.chain.url, network.chain.rollup, network.coordinator.http
    );
    let audit = Shell::new(&network.dir).quietly(&line).await?;
    ensure!(audit.code == 0, "{audit:?}");
    let pay = (u64::from(ROUNDS) * PRICE / 1_000_000).to_string();
    let accounts = &audit.json()?["result"]["accounts"];
    ensure!((0..2).all(|account| accounts[account]["earned"] == pay.as_str()), "{accounts:#} want {pay}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_whose_disk_is_full_says_so_and_goes_on_once_there_is_room() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (mut network, _workers) = job_with_two_workers(dir.path()).await?;
    let job = network.requester.submit(&training("full", ROUNDS, 2)?, &[]).await?;
    network.coordinator.stop().await?;
    let config = network.coordinator.config();
    let config = config.to_str().context("a path in UTF-8")?;
    let limited = Limited::start("fedroll-coordinator", &["--config", config, "--format", "json"]).await?;
    network.requester.wait(job, 60, |status| status.rounds.len() > 2).await?;
    limited.fill_the_disk()?;
    let (code, said) = limited.end().await?;
    ensure!(code == 2, "exit {code}: {said}");
    let last = said.lines().last().unwrap_or_default();
    // Whichever file was to be written first: the store of facts, or a round's model.
    ensure!(last.starts_with("error: "), "{said}");
    ensure!(last.to_lowercase().contains("file too large"), "{said}");

    network.coordinator = network.coordinator.start_again().await?;
    let done = network.requester.wait(job, 90, |status| status.phase == JobPhase::Done).await?;
    ensure!(done.rounds.iter().all(|round| round.accepted == 2), "{:?}", done.rounds);
    check_pay(&network).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_disk_is_full_says_so_and_goes_on_once_there_is_room() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (network, mut workers) = job_with_two_workers(dir.path()).await?;
    let worker = workers.pop().context("two workers")?;
    let (arguments, own) = (worker.arguments(), worker.dir());
    worker.process.terminate().await?;
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let limited = Limited::start("fedroll-worker", &words).await?;
    let job = network.requester.submit(&training("full", ROUNDS, 2)?, &[]).await?;
    network.requester.wait(job, 60, |status| status.rounds.len() > 2).await?;
    limited.fill_the_disk()?;
    let (code, said) = limited.end().await?;
    ensure!(code == 2, "exit {code}: {said}");
    ensure!(said.lines().last().is_some_and(|line| line.starts_with("error: ")), "{said}");
    ensure!(said.contains("File too large"), "{said}");

    let _limited = Limited::start("fedroll-worker", &words).await?;
    let done = network.requester.wait(job, 90, |status| status.phase == JobPhase::Done).await?;
    ensure!(done.rounds.iter().all(|round| round.accepted == 2), "{:?}", done.rounds);
    check_pay(&network).await?;
    let line = format!("fedroll-worker --format json status --dir {}", own.display());
    let status = Shell::new(dir.path()).quietly(&line).await?.json()?;
    ensure!(status["owed"] == u64::from(ROUNDS) * PRICE, "{status:#}");
    Ok(())
}
