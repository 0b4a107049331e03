//! What a worker's process takes at its peak, against what it reckons with under `--memory-limit`.

use std::path::Path;

use anyhow::{Context as _, Result};
use protocol::api::JobPhase;
use protocol::hash::Digest;
use protocol::job::{ModelKind, ModelSpec, TaskData, TaskWork, Train, TrainTask};

use super::{Report, Row};
use crate::real::{Network, Process, job, train};

const DATA: &str = "mnist";
const EXAMPLES: u64 = 8_000;
const MINIBATCH: u32 = 64;

pub(super) async fn run(report: &mut Report) -> Result<()> {
    for (label, kind) in [("Flower's CNN", ModelKind::CnnFlower), ("FedAvg's CNN", ModelKind::CnnFedavg)] {
        let name = format!("worker, {label}, 8,000 digits: peak memory");
        if report.wants(&name) {
            let model = ModelSpec { kind, input: [1, 28, 28], classes: 10 };
            let reckoned = worker::node::estimate::memory_bytes(&work(model.clone())?, EXAMPLES) as f64 / 1e6;
            let peak = peak_mb(model).await?;
            report.add(
                Row::new(name, peak, "MB").against("what it reckons with", reckoned).at_most(reckoned),
            )?;
        }
    }
    Ok(())
}

fn work(model: ModelSpec) -> Result<TaskWork> {
    Ok(TaskWork::Train(TrainTask {
        model,
        weights: Digest([0; 32]),
        data: TaskData::Local(DATA.parse()?),
        local_epochs: 1,
        minibatch: MINIBATCH,
        learning_rate: 0.05.try_into()?,
        momentum: 0.9.try_into()?,
        seed: 1,
        scale_bits: 24,
        checkpoint_steps: 100,
        evaluate: false,
    }))
}

async fn peak_mb(model: ModelSpec) -> Result<f64> {
    let dir = tempfile::tempdir()?;
    let network = Network::start(dir.path(), "").await?;
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/data/mnist");
    let own = dir.path().join("digits");
    std::fs::create_dir(&own)?;
    for file in ["train-images.idx.gz", "train-labels.idx.gz"] {
        std::fs::copy(data.join(file), own.join(file))?;
    }
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path in UTF-8");
    let payout = format!("0x{}", "01".repeat(20));
    let home = text(&dir.path().join("worker"))?;
    let source = format!("{DATA}={}", text(&own)?);
    let address = &network.coordinator.worker_address;
    let words = ["--format", "json", "run", "--coordinator", address, "--payout", &payout];
    let words = [&words[..], &["--dir", &home, "--data", &source]].concat();
    let process = Process::start("fedroll-worker", &words, &dir.path().join("worker.log")).await?;
    let train = Train { minibatch: MINIBATCH, ..train(model, DATA, 2, 1)? };
    let job = network.requester.submit(&job("memory", train)?, &[]).await?;
    let done = |phase| matches!(phase, JobPhase::Settling | JobPhase::Done);
    network.requester.wait(job, 300, |status| done(status.phase)).await?;
    Ok(process.usage()?.peak_bytes as f64 / 1e6)
}
