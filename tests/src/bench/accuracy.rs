//! Accuracy of federated averaging on real data, against the figures that others published for the same settings.
//!
//! The workers' arithmetic, the updates' fixed point and the aggregator are those of a job; only the link is left out,
//! which moves the same bytes.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use models::aggregate::{Accumulator, Weighted};
use models::data::split::{Scheme, split};
use models::data::{Dataset, idx};
use models::infer::Loaded;
use models::train::{Control, TrainParams, train};
use models::update::{self, Update};
use models::weights::Weights;
use protocol::job::{ModelKind, ModelSpec};
use protocol::rng::Rng;

use super::{Report, Row};

const SCALE_BITS: u8 = 24;

/// Settings of the accuracy rows.
#[derive(Clone, Debug, Args)]
pub struct AccuracyArgs {
    /// Where Fashion-MNIST lies as IDX gz (Debian's dataset-fashion-mnist puts it here)
    #[arg(long, default_value = "/usr/share/datasets/fashion-mnist")]
    fashion_mnist: PathBuf,
    /// Seeds of the Fashion-MNIST rows; their mean counts
    #[arg(long, default_value_t = 1)]
    seeds: u64,
}

/// One federated run.
struct Run<'a> {
    examples: &'a Dataset,
    held_out: &'a Dataset,
    model: ModelKind,
    workers: u32,
    /// Workers drawn for a round.
    drawn: u32,
    scheme: Scheme,
    rounds: u32,
    local_epochs: u32,
    minibatch: u32,
    learning_rate: f32,
    momentum: f32,
    seed: u64,
}

pub(super) fn run(report: &mut Report, args: &AccuracyArgs) -> Result<()> {
    mnist(report)?;
    fashion_mnist(report, args)
}

/// McMahan et al. 2017, table 2, on the 8,000 digits of this repository instead of 60,000: a report, not a comparison.
fn mnist(report: &mut Report) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/data/mnist");
    let (examples, held_out) = (read(&folder, "train")?, read(&folder, "test")?);
    for (local_epochs, paper) in [(5, 20.0), (1, 34.0)] {
        let name = format!("MNIST 8k, FedAvg's CNN, IID, E={local_epochs} B=10: to 99 %");
        if !report.wants(&name) {
            continue;
        }
        let reached = federate(
            &Run {
                examples: &examples,
                held_out: &held_out,
                model: ModelKind::CnnFedavg,
                workers: 100,
                drawn: 10,
                scheme: Scheme::Iid,
                rounds: 300,
                local_epochs,
                minibatch: 10,
                learning_rate: 0.1,
                momentum: 0.0,
                seed: 1,
            },
            |accuracy| accuracy >= 0.99,
        )?;
        let (name, rounds) = match reached.iter().position(|accuracy| *accuracy >= 0.99) {
            Some(at) => (name, (at + 1) as f64),
            None => (format!("{name} (not reached)"), reached.len() as f64),
        };
        report.add(Row::new(name, rounds, "rounds").against("the paper, with 60,000 digits", paper))?;
    }
    Ok(())
}

/// Flower's baseline of NIID-Bench: 10 workers, 50 rounds, 10 local epochs, minibatch 64, rate 0.01, momentum 0.9.
fn fashion_mnist(report: &mut Report, args: &AccuracyArgs) -> Result<()> {
    let cases = [
        ("IID", Scheme::Iid, 89.23),
        ("Dirichlet(0.5)", Scheme::Dirichlet { alpha: 0.5 }, 88.09),
        ("2 labels a worker", Scheme::Labels { each: 2 }, 78.10),
    ];
    let read = |set: &str| read(&args.fashion_mnist, set);
    let mut data = None;
    for (label, scheme, flower) in cases {
        let name = format!("Fashion-MNIST, Flower's CNN, {label}");
        if !report.wants(&name) {
            continue;
        }
        let (examples, held_out) = match &data {
            Some(data) => data,
            None => data.insert((read("train")?, read("t10k")?)),
        };
        let mut sum = 0.0;
        for seed in 1..=args.seeds {
            let run = Run {
                examples,
                held_out,
                model: ModelKind::CnnFlower,
                workers: 10,
                drawn: 10,
                scheme,
                rounds: 50,
                local_epochs: 10,
                minibatch: 64,
                learning_rate: 0.01,
                momentum: 0.9,
                seed,
            };
            sum += federate(&run, |_| false)?.last().context("there is a round")?;
        }
        let mean = 100.0 * sum / args.seeds as f64;
        report.add(Row::new(name, mean, "%").against("Flower's baseline", flower).at_least(flower))?;
    }
    Ok(())
}

/// `<set>-images…` of this repository, or `<set>-images-idx3-ubyte…` as the data sets' authors name them.
fn read(folder: &Path, set: &str) -> Result<Dataset> {
    let own = folder.join(format!("{set}-images.idx.gz"));
    let (images, labels) = if own.exists() {
        (own, folder.join(format!("{set}-labels.idx.gz")))
    } else {
        let named = |what: &str| folder.join(format!("{set}-{what}-ubyte.gz"));
        (named("images-idx3"), named("labels-idx1"))
    };
    idx::read_files(&images, &labels).with_context(|| format!("reading {}", images.display()))
}

/// The accuracy after every round, until enough.
fn federate(run: &Run<'_>, enough: impl Fn(f64) -> bool) -> Result<Vec<f64>> {
    let spec = ModelSpec { kind: run.model.clone(), input: run.examples.shape(), classes: 10 };
    let shards: Vec<Dataset> = split(run.examples, run.workers, run.scheme, run.minibatch, run.seed)?
        .iter()
        .map(|shard| run.examples.subset(shard))
        .collect();
    let mut weights = Weights::init(&spec, run.seed)?;
    let mut accuracies = Vec::new();
    let mut rng = Rng::new(run.seed);
    for round in 1..=run.rounds {
        let mut drawn: Vec<usize> = (0..shards.len()).collect();
        rng.shuffle(&mut drawn);
        drawn.truncate(run.drawn as usize);
        let parameters = weights.values().len();
        let mut sum = Accumulator::new(parameters);
        let train_one = |slot: usize| -> Result<Vec<u8>> {
            let params = TrainParams {
                local_epochs: run.local_epochs,
                minibatch: run.minibatch,
                learning_rate: run.learning_rate,
                momentum: run.momentum,
                seed: run.seed * 1_000_000 + u64::from(round) * 1_000 + slot as u64,
            };
            let trained = train(&weights, &shards[slot], &params, &mut |_| Control::Continue)?;
            Ok(update::encode(weights.values(), trained.weights.values(), SCALE_BITS)?)
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        for slots in drawn.chunks(threads) {
            let updates: Vec<Result<Vec<u8>>> = std::thread::scope(|scope| {
                let running: Vec<_> = slots.iter().map(|slot| scope.spawn(|| train_one(*slot))).collect();
                running
                    .into_iter()
                    .map(|one| one.join().map_err(|_| anyhow::anyhow!("training panicked"))?)
                    .collect()
            });
            for (slot, update) in slots.iter().zip(updates) {
                let update = update?;
                let update = Update::parse(update.as_ref(), parameters as u64, SCALE_BITS)?;
                let weight = u32::try_from(shards[*slot].len())?;
                sum.fold(&[Weighted { payload: update.payload(), weight }])?;
            }
        }
        weights = Weights::new(&spec, sum.finish(weights.into_values(), SCALE_BITS)?)?;
        let accuracy = Loaded::new(&weights)?.evaluate(run.held_out)?.accuracy();
        writeln!(std::io::stderr(), "  {} round {round}: {:.2} %", run.scheme, 100.0 * accuracy)?;
        accuracies.push(accuracy);
        if enough(accuracy) {
            break;
        }
    }
    Ok(accuracies)
}
