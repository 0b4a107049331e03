//! A training step of each model against the same step out of candle's own layers, and answers a second.

use std::collections::BTreeMap;
use std::hint::black_box;

use anyhow::{Context as _, Result};
use candle_core::{Device, Tensor, Var};
use models::data::Dataset;
use models::engine::{Batch, Session};
use models::infer::Loaded;
use models::kernels::optimiser::Optimiser;
use models::kernels::{Machine, Pool};
use models::train::{Control, TrainParams, train, train_on};
use models::weights::Weights;
use models::zoo::gpt;
use protocol::job::{ModelKind, ModelSpec};
use protocol::rng::Rng;

use super::measure::{best_of_both_s, best_s};
use super::{Report, Row};

const STEPS: usize = 4;
const RUNS: usize = 9;

fn digits(count: usize) -> Result<Dataset> {
    let mut rng = Rng::new(1);
    // Like digits, most pixels are 0.
    let inputs = (0..count * 784).map(|_| if rng.chance(1, 5) { rng.unit() as f32 } else { 0.0 }).collect();
    Ok(Dataset::new(inputs, [1, 28, 28], (0..count).map(|at| at as u32 % 10).collect())?)
}

pub(super) fn run(report: &mut Report) -> Result<()> {
    let mlp = || ModelKind::Mlp { hidden: vec![200, 200] };
    for (name, kind, minibatch) in [
        ("logistic regression, minibatch 64", ModelKind::Logistic, 64),
        ("MLP 200-200, minibatch 64", mlp(), 64),
        ("Flower's CNN, minibatch 32", ModelKind::CnnFlower, 32),
        ("FedAvg's CNN, minibatch 10", ModelKind::CnnFedavg, 10),
        ("FedAvg's CNN, minibatch 64", ModelKind::CnnFedavg, 64),
    ] {
        let name = format!("training {name}, one thread");
        if report.wants(&name) {
            report.add(step(name, kind, minibatch)?)?;
        }
    }
    let name = "two empty tasks for two threads, whoever does them";
    if report.wants(name) {
        let pool = Pool::new(2);
        let seconds = best_s(RUNS, || (0..1_000).for_each(|_| pool.run(2, &|task| _ = black_box(task))));
        report.add(Row::new(name, seconds * 1e3, "µs"))?;
    }
    for threads in [1, 2] {
        let name = format!("training ResNet-20, minibatch 32, {threads} threads");
        if report.wants(&name) {
            report.add(Row::new(name, resnet(threads)?, "GFLOP/s"))?;
        }
        let name = format!("training a transformer of 10.7 M, 4 × 256 tokens, {threads} threads");
        if report.wants(&name) {
            report.add(Row::new(name, transformer(threads)?, "GFLOP/s"))?;
        }
    }
    for (name, kind) in [("MLP 200-200", mlp()), ("Flower's CNN", ModelKind::CnnFlower)] {
        let (data, loaded) = (digits(256)?, Loaded::new(&weights(kind)?)?);
        let seconds = best_s(RUNS, || {
            black_box(loaded.infer(data.inputs()).ok());
        });
        report.add(Row::new(format!("answers of {name}"), data.len() as f64 / seconds / 1e3, "k items/s"))?;
    }
    Ok(())
}

fn weights(kind: ModelKind) -> Result<Weights> {
    Ok(Weights::init(&ModelSpec { kind, input: [1, 28, 28], classes: 10 }, 1)?)
}

/// Steps of ResNet-20 on 32×32 colour images: three passes of 2 × 40.8 M operations an image, as PyTorch's are
/// counted.
fn resnet(threads: usize) -> Result<f64> {
    const MINIBATCH: u32 = 32;
    const OPERATIONS: f64 = 3.0 * 2.0 * 40.8e6;
    let spec = ModelSpec { kind: ModelKind::Resnet20, input: [3, 32, 32], classes: 10 };
    let weights = Weights::init(&spec, 1)?;
    let mut rng = Rng::new(1);
    let inputs = (0..MINIBATCH as usize * spec.input_len()).map(|_| rng.unit() as f32).collect();
    let data = Dataset::new(inputs, spec.input, (0..MINIBATCH).map(|at| at % 10).collect())?;
    let params =
        TrainParams { local_epochs: 1, minibatch: MINIBATCH, learning_rate: 0.01, momentum: 0.9, seed: 1 };
    let mut failed: Option<anyhow::Error> = None;
    let seconds = best_s(RUNS, || {
        let go_on = &mut |_| Control::Continue;
        let trained = train_on(Machine::new(threads), &weights, &data, &params, go_on, None);
        failed = failed.take().or(trained.err().map(Into::into));
    });
    failed.map_or(Ok(f64::from(MINIBATCH) * OPERATIONS / seconds / 1e9), Err)
}

/// Steps of a transformer of 6 blocks, 6 heads and a width of 384: 6 operations a weight and token, as is usual.
fn transformer(threads: usize) -> Result<f64> {
    const POSITIONS: usize = 256;
    const SEQUENCES: usize = 4;
    let config =
        gpt::Config { vocabulary: 65, context: POSITIONS, layers: 6, heads: 6, width: 384, dropout: 0 };
    let optimiser = Optimiser::AdamW { rate: 1e-3, betas: [0.9, 0.99], epsilon: 1e-8, decay: 0.1 };
    let program = config.program(POSITIONS, optimiser.moments())?;
    let drawn = (0..).zip(program.parameters()).flat_map(|(number, own)| own.draw(1, number));
    let weights: Vec<f32> = drawn.collect();
    let mut session = Session::new(program, &weights, optimiser, Machine::new(threads))?;
    let mut rng = Rng::new(2);
    let tokens: Vec<u32> = (0..=POSITIONS * SEQUENCES).map(|_| rng.below(65) as u32).collect();
    let places: Vec<u32> = (0..SEQUENCES).flat_map(|_| 0..POSITIONS as u32).collect();
    let (inputs, labels) = (&tokens[..POSITIONS * SEQUENCES], &tokens[1..]);
    let mut failed: Option<anyhow::Error> = None;
    let seconds = best_s(3, || {
        let loss = session.train(&[Batch::Tokens(inputs), Batch::Tokens(&places)], labels, None);
        failed = failed.take().or(loss.err().map(Into::into));
    });
    let operations = 6.0 * weights.len() as f64 * inputs.len() as f64;
    failed.map_or(Ok(operations / seconds / 1e9), Err)
}

/// Forward, backward, SGD.
fn step(name: String, kind: ModelKind, minibatch: usize) -> Result<Row> {
    let padding = if kind == ModelKind::CnnFedavg { 2 } else { 0 };
    let (data, weights) = (digits(STEPS * minibatch)?, weights(kind)?);
    let params = TrainParams {
        local_epochs: 1,
        minibatch: u32::try_from(minibatch)?,
        learning_rate: 0.01,
        momentum: 0.9,
        seed: 1,
    };
    let vars: BTreeMap<String, Var> = weights
        .tensors()
        .map(|(name, shape, values)| Ok((name, Var::from_slice(values, shape, &Device::Cpu)?)))
        .collect::<Result<_>>()?;
    let one = digits(minibatch)?;
    let mut failed: Option<anyhow::Error> = None;
    let mut theirs_failed = None;
    let (ours, theirs) = best_of_both_s(
        RUNS,
        || {
            failed = failed
                .take()
                .or(train(&weights, &data, &params, &mut |_| Control::Continue).err().map(Into::into))
        },
        || theirs_failed = theirs_failed.take().or(candle_step(&vars, &one, padding).err()),
    );
    failed.or(theirs_failed).map_or(Ok(()), Err)?;
    let k_samples = |examples: usize, seconds: f64| examples as f64 / seconds / 1e3;
    Ok(Row::new(name, k_samples(data.len(), ours), "k samples/s")
        .against("candle's layers, all threads", k_samples(minibatch, theirs)))
}

fn candle_step(vars: &BTreeMap<String, Var>, data: &Dataset, padding: usize) -> Result<()> {
    let var = |name: &str| vars.get(name).with_context(|| format!("the model has {name}"));
    let dense = |x: &Tensor, name: &str| -> Result<Tensor> {
        let product = x.matmul(&var(&format!("{name}.weight"))?.t()?)?;
        Ok(product.broadcast_add(var(&format!("{name}.bias"))?)?)
    };
    let conv = |x: &Tensor, name: &str| -> Result<Tensor> {
        let bias = var(&format!("{name}.bias"))?.reshape((1, (), 1, 1))?;
        let y = x.conv2d(var(&format!("{name}.weight"))?, padding, 1, 1, 1)?;
        Ok(y.broadcast_add(&bias)?.relu()?.max_pool2d(2)?)
    };
    let x = Tensor::from_slice(data.inputs(), (data.len(), 1, 28, 28), &Device::Cpu)?;
    let layers = |kind: &str| -> Vec<&str> {
        let weights = vars.keys().filter(|name| name.starts_with(kind));
        weights.filter_map(|name| name.strip_suffix(".weight")).collect()
    };
    let mut x = layers("conv").into_iter().try_fold(x, |x, name| conv(&x, name))?.flatten_from(1)?;
    let mut rest = layers("fc").into_iter().peekable();
    while let Some(name) = rest.next() {
        x = dense(&x, name)?;
        if rest.peek().is_some() {
            x = x.relu()?;
        }
    }
    let labels = Tensor::from_slice(data.labels(), data.len(), &Device::Cpu)?;
    let gradients = candle_nn::loss::cross_entropy(&x, &labels)?.backward()?;
    for var in vars.values() {
        let gradient = gradients.get(var).context("every variable takes part")?;
        var.set(&(var.as_tensor() - (0.01 * gradient)?)?)?;
    }
    Ok(())
}
