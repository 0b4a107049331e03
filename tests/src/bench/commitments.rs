//! What commitments to a training's state cost, as shares of the time that the training takes, and what they cost
//! together with running some of the results again.

use std::hint::black_box;

use anyhow::Result;
use models::checkpoint::usual_steps;
use models::data::Dataset;
use models::kernels::Machine;
use models::kernels::pool::cores;
use models::replay::leaf::Leaf;
use models::train::{TrainParams, Training};
use models::weights::Weights;
use protocol::hash::Digest;
use protocol::job::{ModelKind, ModelSpec};
use protocol::rng::Rng;

use super::measure::best_s;
use super::{Report, Row};

/// Of 10,000 results on a job's data, how many are run again by default (`[checks] rate_bps`).
const CHECK_BPS: f64 = 300.0;
const RUNS: usize = 9;
/// Seconds of training in a run, about.
const RUN_S: f64 = 0.1;

pub(super) fn run(report: &mut Report) -> Result<()> {
    let mlp = ModelKind::Mlp { hidden: vec![200, 200] };
    let gpt = ModelKind::Gpt { layers: 6, heads: 6, width: 384, dropout: 0 };
    let (digits, pictures, text) = ([1, 28, 28], [3, 32, 32], [1, 1, 256]);
    let mut threads = vec![1, cores()];
    threads.dedup();
    for (name, kind, input, classes, minibatch) in [
        ("MLP 200-200, minibatch 64", mlp, digits, 10, 64),
        ("FedAvg's CNN, minibatch 64", ModelKind::CnnFedavg, digits, 10, 64),
        ("FedAvg's CNN, minibatch 10", ModelKind::CnnFedavg, digits, 10, 10),
        ("ResNet-20, minibatch 32", ModelKind::Resnet20, pictures, 10, 32),
        ("transformer of 10.7 M, 4 × 256 tokens", gpt, text, 256, 4),
    ] {
        for &threads in &threads {
            let spec = ModelSpec { kind: kind.clone(), input, classes };
            let every = usual_steps(&spec, minibatch)?;
            let name = format!("{name}, {threads} threads, every {every}");
            if report.wants(&format!("commitments, {name}")) || report.wants(&format!("and checks, {name}")) {
                let share = share(&spec, minibatch, every, threads)?;
                report.add(Row::new(format!("commitments, {name}"), 100.0 * share, "%").at_most(1.0))?;
                // Whoever checks commits too.
                let checks = CHECK_BPS / 1e4 * (1.0 + share);
                let both = 100.0 * (share + checks);
                report.add(Row::new(format!("and checks, {name}"), both, "%").at_most(5.0))?;
            }
        }
    }
    Ok(())
}

/// A commitment's seconds over those of the steps between two.
fn share(spec: &ModelSpec, minibatch: u32, every: u32, threads: usize) -> Result<f64> {
    let weights = Weights::init(spec, 1)?;
    let data = examples(spec, minibatch as usize)?;
    let params = TrainParams { local_epochs: 1_000, minibatch, learning_rate: 1e-4, momentum: 0.9, seed: 1 };
    let mut training = Training::new(Machine::new(threads), &weights, &data, &params)?;
    training.advance(None)?;
    let once = best_s(1, || _ = training.advance(None).expect("it trains"));
    let steps = (RUN_S / once).clamp(1.0, 100.0) as usize;
    let (mut train, mut commit) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..RUNS {
        let steps_s = best_s(1, || (0..steps).for_each(|_| _ = training.advance(None).expect("it trains")));
        let commit_s = best_s(1, || _ = black_box(Leaf::state(&training).digest(&Digest([1; 32]))));
        (train, commit) = (train.min(steps_s / steps as f64), commit.min(commit_s));
    }
    Ok(commit / (train * f64::from(every)))
}

/// One minibatch: digits are mostly 0, other values are not.
fn examples(spec: &ModelSpec, count: usize) -> Result<Dataset> {
    let mut rng = Rng::new(1);
    if spec.kind.is_sequential() {
        let tokens = count * (spec.input_len() + 1);
        let tokens: Vec<u32> = (0..tokens).map(|_| rng.below(spec.classes.into()) as u32).collect();
        return Ok(Dataset::sequences(&tokens, spec.input[2])?);
    }
    let one_in = if spec.input[0] == 1 { 5 } else { 1 };
    let inputs = (0..count * spec.input_len())
        .map(|_| if rng.chance(1, one_in) { rng.unit() as f32 } else { 0.0 })
        .collect();
    Ok(Dataset::new(inputs, spec.input, (0..count as u32).map(|at| at % spec.classes).collect())?)
}
