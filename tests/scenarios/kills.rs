//! kill -9 at random moments, to the coordinator and to the workers: the job goes on, its model is the one that nobody
//! disturbed would have made, and everyone is paid once for everything.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use protocol::api::{JobPhase, JobStatus};
use protocol::ids::JobId;
use protocol::rng::Rng;
use tests::real::{Network, PRICE, Shell, Worker, training};

const SETTINGS: &str = "seal_after_ms = 300\npoll_ms = 50\n";
const WORKERS: u32 = 3;
const ROUNDS: u32 = 60;
/// Killing ends after this many, or when the job's work is done.
const KILLS_MAX: u32 = 25;
/// Milliseconds between two kills, at most: many hit a program that is only starting.
const BETWEEN_KILLS_MS_MAX: u64 = 400;

/// `SEED=42` makes the kills of one run again, as far as the machine lets it.
#[expect(clippy::disallowed_methods, reason = "a test has no command line of its own")]
fn seed() -> Result<u64> {
    match std::env::var("SEED") {
        Ok(seed) => Ok(seed.parse()?),
        Err(_) => Ok(u64::from(std::time::UNIX_EPOCH.elapsed()?.subsec_nanos())),
    }
}

async fn start(dir: &Path) -> Result<(Network, Vec<Worker>, JobId)> {
    let network = Network::start(dir, SETTINGS).await?;
    let mut workers = Vec::new();
    for number in 1..=WORKERS as u8 {
        let place = dir.join(format!("worker-{number}"));
        workers.push(Worker::start(&place, &network.coordinator.worker_address, number).await?);
    }
    let job = network.requester.submit(&training("kills", ROUNDS, WORKERS)?, &[]).await?;
    Ok((network, workers, job))
}

fn is_over(status: &JobStatus) -> bool {
    matches!(status.phase, JobPhase::Settling | JobPhase::Done)
}

async fn undisturbed() -> Result<JobStatus> {
    let dir = tempfile::tempdir()?;
    let (network, _workers, job) = start(dir.path()).await?;
    network.requester.wait(job, 60, is_over).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_random_moments_change_neither_the_model_nor_the_pay() -> Result<()> {
    let seed = seed()?;
    let dir = tempfile::tempdir()?;
    let logs = || {
        let files = ["coordinator/coordinator.log", "worker-1/worker.log", "worker-2/worker.log"];
        let ends = files.map(|file| {
            let text = std::fs::read_to_string(dir.path().join(file)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            format!("{file}:\n{}", lines[lines.len().saturating_sub(25)..].join("\n"))
        });
        format!("SEED={seed}\n{}", ends.join("\n"))
    };
    kill_and_compare(dir.path(), seed).await.with_context(logs)
}

async fn kill_and_compare(dir: &Path, seed: u64) -> Result<()> {
    let mut rng = Rng::new(seed);
    let (mut network, mut workers, job) = start(dir).await?;
    let mut kills = [0; 1 + WORKERS as usize];
    while kills.iter().sum::<u32>() < KILLS_MAX {
        // A random moment is what this is about, so here alone time is let pass.
        tokio::time::sleep(Duration::from_millis(rng.below(BETWEEN_KILLS_MS_MAX))).await;
        let victim = rng.below(1 + u64::from(WORKERS)) as usize;
        kills[victim] += 1;
        if victim == 0 {
            network.coordinator = network.coordinator.crash_at_once().await?;
        } else {
            let worker = workers.remove(victim - 1).crash_at_once().await?;
            workers.insert(victim - 1, worker);
        }
        if network.requester.status(job).await.is_ok_and(|status| is_over(&status)) {
            break;
        }
    }
    let done = network.requester.wait(job, 90, |status| status.phase == JobPhase::Done);
    let (done, undisturbed) = tokio::try_join!(done, undisturbed())?;
    ensure!(kills.iter().sum::<u32>() > 5, "only {kills:?} kills");
    ensure!(done.rounds.len() as u32 == ROUNDS, "{} rounds", done.rounds.len());
    ensure!(done.rounds.iter().all(|round| round.accepted == WORKERS), "{:?}", done.rounds);
    let (got, want) = (done.model, undisturbed.model);
    ensure!(got == want, "the model is {got:?}, undisturbed {want:?}");

    let shell = Shell::new(dir);
    let line = format!(
        "fedroll audit --rpc {} --rollup {} --evidence {} --format json",
        network.chain.url, network.chain.rollup, network.coordinator.http
    );
    let audit = shell.quietly(&line).await?;
    ensure!(audit.code == 0, "{audit:?}");
    let accounts = audit.json()?["result"]["accounts"].as_array().context("accounts")?.clone();
    let pay = format!("{}", u128::from(PRICE) * u128::from(ROUNDS) / 1_000_000);
    ensure!(accounts.len() == WORKERS as usize, "{accounts:?}");
    ensure!(accounts.iter().all(|account| account["earned"] == pay.as_str()), "{accounts:?} want {pay}");
    for worker in &workers {
        let line = format!("fedroll-worker --format json status --dir {}", worker.dir().display());
        let owed = &shell.quietly(&line).await?.json()?["owed"];
        ensure!(*owed == PRICE * u64::from(ROUNDS), "{owed} {}", worker.log());
    }
    Ok(())
}
