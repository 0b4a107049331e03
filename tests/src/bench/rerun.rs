//! What it costs to run an accepted task again with `fedroll verify`, beside the training itself.

use std::fs::File;
use std::path::Path;

use anyhow::{Result, ensure};
use models::data::{Dataset, idx, shard};
use models::kernels::Machine;
use models::kernels::pool::cores;
use models::train::{Control, TrainParams, train_on};
use models::weights::Weights;
use protocol::api::JobPhase;
use protocol::hash::Digest;
use protocol::job::{ModelKind, ModelSpec, ShardBlob, Train, TrainData, TrainTask};

use super::measure::{best_s, seconds_of};
use super::{Report, Row};
use crate::real::{Network, Shell, Worker, job, train};

/// Examples of a shard.
const EXAMPLES: u32 = 2_000;
const MINIBATCH: u32 = 32;
/// Passes over it: a task of a usual length.
const EPOCHS: u32 = 5;
/// The best of so many runs counts.
const RUNS: usize = 3;
/// A process, four small requests, two digests and a comparison are all that comes on top of the training.
const OVERHEAD: f64 = 1.1;

pub(super) async fn run(report: &mut Report) -> Result<()> {
    for (label, kind) in [("Flower's CNN", ModelKind::CnnFlower), ("FedAvg's CNN", ModelKind::CnnFedavg)] {
        let name = format!("verify task, {label}, 2,000 digits, 5 epochs");
        if !report.wants(&name) {
            continue;
        }
        let model = ModelSpec { kind, input: [1, 28, 28], classes: 10 };
        let (stated, blob, data) = digits()?;
        let data_of_job = TrainData::Job(vec![stated]);
        let usual = train(model.clone(), "none", 1, 1)?;
        let work = Train { data: data_of_job, minibatch: MINIBATCH, local_epochs: EPOCHS, ..usual };
        let weights = Weights::init(&model, work.seed)?;
        let alone = best_s(RUNS, || alone(&work.task(0, 0, weights.digest()), &weights, &data));
        let again = verified(&work, &blob).await?;
        report.add(
            Row::new(name, again, "s")
                .against("the training alone", alone)
                .at_most((1e3 * alone * OVERHEAD).round() / 1e3),
        )?;
    }
    Ok(())
}

fn digits() -> Result<(ShardBlob, Vec<u8>, Dataset)> {
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/data/mnist");
    let open = |name: &str| File::open(digits.join(name));
    let all = idx::read(open("train-images.idx.gz")?, open("train-labels.idx.gz")?)?;
    let data = all.subset(&(0..EXAMPLES).collect::<Vec<_>>());
    let blob = shard::encode(&data)?;
    Ok((ShardBlob { digest: Digest::of(&blob), examples: EXAMPLES }, blob, data))
}

fn alone(task: &TrainTask, weights: &Weights, data: &Dataset) {
    let params = TrainParams {
        local_epochs: task.local_epochs,
        minibatch: task.minibatch,
        learning_rate: task.learning_rate.get(),
        momentum: task.momentum.get(),
        seed: task.seed,
    };
    // As the command does, on every core.
    let go_on = &mut |_| Control::Continue;
    train_on(Machine::new(cores()), weights, data, &params, go_on, None).expect("digits train");
}

/// Seconds that the command takes, with a real coordinator to fetch from.
async fn verified(work: &Train, blob: &[u8]) -> Result<f64> {
    let dir = tempfile::tempdir()?;
    let network = Network::start(dir.path(), "").await?;
    let address = &network.coordinator.worker_address;
    let _worker = Worker::without_data(&dir.path().join("worker"), address, 1).await?;
    let id = network.requester.submit(&job("again", work.clone())?, &[blob]).await?;
    let done = |phase| matches!(phase, JobPhase::Settling | JobPhase::Done);
    network.requester.wait(id, 300, |status| done(status.phase)).await?;
    let shell = Shell::new(dir.path());
    let line = format!("fedroll verify task {id}/0/0 --coordinator {}", network.coordinator.http);
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let again = seconds_of(async {
            let ran = shell.quietly(&line).await?;
            ensure!(ran.code == 0, "{ran:?}");
            anyhow::Ok(())
        });
        best = best.min(again.await?);
    }
    Ok(best)
}
