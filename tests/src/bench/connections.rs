//! Ten thousand workers on one coordinator: what joining costs, and what being there costs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::measure::seconds_of;
use super::{Report, Row};
use crate::real::{Client, Network};

const WORKERS: u32 = 10_000;
/// Workers that join at once.
const AT_ONCE: usize = 64;
/// Seconds of idling that are measured: two of every worker's keep-alives.
const IDLE_S: u64 = 20;

pub(super) async fn run(report: &mut Report) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let network = Network::start(dir.path(), "").await?;
    let process = &network.coordinator.process;
    let before = process.usage()?;
    let mut clients = Vec::new();
    let joining = async {
        let (turn, mut joins) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
        for number in 0..WORKERS {
            let (turn, address) = (turn.clone(), network.coordinator.worker_address.clone());
            joins.spawn(async move {
                let _turn = turn.acquire().await?;
                Client::join_idle(&address, number, "bench").await
            });
        }
        while let Some(joined) = joins.join_next().await {
            clients.push(joined??);
        }
        anyhow::Ok(())
    };
    let seconds = seconds_of(joining).await?;
    let joined = process.usage()?;
    let listed: protocol::api::WorkerList = network.requester.get("/v1/workers").await?;
    let online = listed.workers.iter().filter(|worker| worker.connected).count();
    let row = Row::new("workers connected to one coordinator", online as f64, "workers");
    report.add(row.against("Psyche, a run", 256.0).at_least(f64::from(WORKERS)))?;
    report.add(Row::new("  joined a second", f64::from(WORKERS) / seconds, "workers/s"))?;
    let cpu_ms = (joined.cpu_s - before.cpu_s) * 1e3 / f64::from(WORKERS);
    report.add(Row::new("  server CPU of a join", cpu_ms, "ms"))?;
    let kb = joined.peak_bytes.saturating_sub(before.peak_bytes) as f64 / 1e3 / f64::from(WORKERS);
    report.add(Row::new("  server memory of each", kb, "kB"))?;
    tokio::time::sleep(Duration::from_secs(IDLE_S)).await;
    let idled = process.usage()?;
    let busy = (idled.cpu_s - joined.cpu_s) / IDLE_S as f64 * 100.0;
    report.add(Row::new("  server CPU while they idle", busy, "% of core"))?;
    let still: protocol::api::WorkerList = network.requester.get("/v1/workers").await?;
    let lost = online - still.workers.iter().filter(|worker| worker.connected).count().min(online);
    report.add(Row::new("  lost while they idle", lost as f64, "workers").at_most(0.0))?;
    clients.pop().context("there are workers").map(|_| ())
}
