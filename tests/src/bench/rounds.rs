//! Rounds over real QUIC with clients that compute nothing: what the coordinator itself costs.
//!
//! Flower 1.41's figures in DESIGN.md section 6 were measured on the same work: clients that fetch the model and send
//! an update of its size.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use protocol::api::JobPhase;
use protocol::job::{ModelKind, ModelSpec};
use tokio::sync::Semaphore;

use super::{Report, Row};
use crate::real::{Client, Network, Quirk, WorkKind, job, train};

/// Rounds of each measurement; the first is not counted.
const ROUNDS: u32 = 4;
/// Clients that hold an update in memory at once: the clients' memory, not the coordinator's.
const BUSY_CLIENTS: usize = 16;

/// A size of update, with the model that has it.
struct Size {
    name: &'static str,
    input: [u32; 3],
    hidden: Vec<u32>,
    /// Flower's seconds for a round of 100, and the seconds and MB to reach.
    flower_s: f64,
    round_s: f64,
    peak_mb: f64,
}

fn sizes() -> [Size; 3] {
    [
        Size {
            name: "4 KB",
            input: [1, 10, 10],
            hidden: vec![],
            flower_s: 22.0,
            round_s: 0.1,
            peak_mb: 100.0,
        },
        Size {
            name: "4 MB",
            input: [1, 28, 28],
            hidden: vec![1_280],
            flower_s: 32.0,
            round_s: 2.0,
            peak_mb: 100.0,
        },
        Size {
            name: "40 MB",
            input: [1, 28, 28],
            hidden: vec![12_800],
            flower_s: 105.0,
            round_s: 15.0,
            peak_mb: 300.0,
        },
    ]
}

/// Every number of workers and size of update.
pub(super) async fn run(report: &mut Report) -> Result<()> {
    for size in sizes() {
        for workers in [10, 50, 100] {
            let name = format!("round of {workers} × {}", size.name);
            if report.wants(&name) {
                for row in measure(&name, &size, workers).await.context(name)? {
                    report.add(row)?;
                }
            }
        }
    }
    Ok(())
}

async fn measure(name: &str, size: &Size, workers: u32) -> Result<Vec<Row>> {
    let dir = tempfile::tempdir()?;
    let network = Network::start(dir.path(), "seal_after_ms = 200\n").await?;
    let model =
        ModelSpec { kind: ModelKind::Mlp { hidden: size.hidden.clone() }, input: size.input, classes: 10 };
    let parameters = models::zoo::parameter_count(&model)?;
    let update = models::update::encode(&vec![0.0; parameters], &vec![0.001; parameters], 20)?;
    let kind = WorkKind::Update(Arc::new(update));
    let turn = Arc::new(Semaphore::new(BUSY_CLIENTS));
    let mut clients = Vec::new();
    for number in 0..workers {
        let mut client = Client::join(&network.coordinator.worker_address, number, "bench").await?;
        let (kind, turn) = (kind.clone(), turn.clone());
        clients
            .push(tokio::spawn(async move { client.work(&kind, Quirk::None, &turn, ROUNDS as usize).await }));
    }
    let spec = job("bench", train(model, "bench", ROUNDS, workers)?)?;
    let process = &network.coordinator.process;
    let job = network.requester.submit(&spec, &[]).await?;
    network.requester.wait(job, 600, |status| !status.rounds.is_empty()).await?;
    process.reset_peak()?;
    let before = process.usage()?;
    let done = network
        .requester
        .wait(job, 900, |status| matches!(status.phase, JobPhase::Settling | JobPhase::Done))
        .await?;
    let after = process.usage()?;
    for client in clients {
        tokio::time::timeout(Duration::from_secs(60), client).await???;
    }
    // From one round's beginning to the next's: handing out, uploads, checks, aggregation, the new model on disk.
    let began: Vec<u64> = done.rounds.iter().map(|round| round.began_ms).collect();
    let mut lengths: Vec<f64> =
        began.windows(2).skip(1).map(|pair| (pair[1] - pair[0]) as f64 / 1000.0).collect();
    lengths.sort_by(f64::total_cmp);
    let round_s = lengths[lengths.len() / 2];
    let updates = f64::from(ROUNDS * workers);
    let cpu_ms = (after.cpu_s - before.cpu_s) * 1000.0 / updates;
    let peak_mb = after.peak_bytes as f64 / 1e6;
    let mut rows = vec![
        Row::new(name, round_s, "s"),
        Row::new(format!("{name}: server CPU an update"), cpu_ms, "ms"),
        Row::new(format!("{name}: peak memory"), peak_mb, "MB"),
    ];
    if workers == 100 {
        let round = rows.remove(0).against("Flower 1.41", size.flower_s).at_most(size.round_s);
        rows.insert(0, round);
        let memory = rows.pop().context("three rows")?.at_most(size.peak_mb);
        rows.push(memory);
        if size.name == "4 KB" {
            let cpu = rows.remove(1).against("Flower 1.41", 150.0).at_most(1.0);
            rows.insert(1, cpu);
        }
    }
    Ok(rows)
}
