//! Federated averaging without a network: workers in turn, updates as integers, accuracy by round.
//! `cargo run --release -p models --example fedavg -- workers=4 alpha=0.5 rounds=20 epochs=4 minibatch=64 rate=0.05 momentum=0.9 seed=1 split=1`
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "an example prints, and measures time")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use models::aggregate::{Accumulator, Weighted};
use models::data::split::{Scheme, split};
use models::data::{Dataset, idx};
use models::infer::Loaded;
use models::train::{Control, TrainParams, train};
use models::update::{self, Update};
use models::weights::Weights;
use protocol::job::{ModelKind, ModelSpec};

const SCALE_BITS: u8 = 24;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut given = BTreeMap::new();
    for arg in std::env::args().skip(1) {
        let (name, value) = arg.split_once('=').ok_or("arguments are name=value")?;
        given.insert(name.to_owned(), value.to_owned());
    }
    let number = |name: &str, default: f64| given.get(name).map_or(Ok(default), |text| text.parse::<f64>());
    let kind = match given.get("model").map_or("cnn-flower", String::as_str) {
        "cnn-fedavg" => ModelKind::CnnFedavg,
        "mlp" => ModelKind::Mlp { hidden: vec![200, 200] },
        "logistic" => ModelKind::Logistic,
        _ => ModelKind::CnnFlower,
    };
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/mnist");
    let read = |set: &str| {
        idx::read_files(
            &data.join(format!("{set}-images.idx.gz")),
            &data.join(format!("{set}-labels.idx.gz")),
        )
    };
    let (examples, held_out) = (read("train")?, read("test")?);
    let seed = number("seed", 1.0)? as u64;
    let alpha = number("alpha", 0.5)?;
    let scheme = if alpha == 0.0 { Scheme::Iid } else { Scheme::Dirichlet { alpha } };
    let minibatch = number("minibatch", 64.0)? as u32;
    let split_seed = number("split", seed as f64)? as u64;
    let shards: Vec<Dataset> =
        split(&examples, number("workers", 4.0)? as u32, scheme, minibatch, split_seed)?
            .iter()
            .map(|shard| examples.subset(shard))
            .collect();
    println!("shards of {:?} examples", shards.iter().map(Dataset::len).collect::<Vec<_>>());
    let spec = ModelSpec { kind, input: examples.shape(), classes: 10 };
    let mut weights = Weights::init(&spec, seed)?;
    let start = Instant::now();
    for round in 1..=number("rounds", 20.0)? as u64 {
        let mut updates = Vec::new();
        for (slot, shard) in shards.iter().enumerate() {
            let params = TrainParams {
                local_epochs: number("epochs", 4.0)? as u32,
                minibatch,
                learning_rate: number("rate", 0.05)? as f32,
                momentum: number("momentum", 0.9)? as f32,
                seed: seed * 1_000_000 + round * 1_000 + slot as u64,
            };
            let trained = train(&weights, shard, &params, &mut |_| Control::Continue)?;
            updates.push(update::encode(weights.values(), trained.weights.values(), SCALE_BITS)?);
        }
        let parameters = weights.values().len();
        let mut sum = Accumulator::new(parameters);
        for (update, shard) in updates.iter().zip(&shards) {
            let update = Update::parse(update, parameters as u64, SCALE_BITS)?;
            sum.fold(&[Weighted { payload: update.payload(), weight: shard.len() as u32 }])?;
        }
        weights = Weights::new(&spec, sum.finish(weights.values(), SCALE_BITS)?)?;
        let found = Loaded::new(&weights)?.evaluate(&held_out)?;
        let seconds = start.elapsed().as_secs_f64();
        println!("round {round}: accuracy {:.2} %, {seconds:.1} s", 100.0 * found.accuracy());
    }
    println!("model {}", weights.digest());
    Ok(())
}
