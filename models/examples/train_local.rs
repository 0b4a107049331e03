//! One worker, no network: trains a model on the digits of `models/data/mnist` and prints its accuracy by epoch.
//! `cargo run --release -p models --example train_local -- [logistic|mlp|cnn-fedavg|cnn-flower|resnet20] [epochs] [minibatch] [rate] [momentum] [threads] [file to save]`
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "an example prints, and measures time")]

use std::path::Path;
use std::time::Instant;

use models::data::idx;
use models::infer::Loaded;
use models::kernels::Machine;
use models::train::{Control, TrainParams, train_on};
use models::weights::Weights;
use protocol::job::{ModelKind, ModelSpec};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let kind = match args.first().map_or("cnn-flower", String::as_str) {
        "logistic" => ModelKind::Logistic,
        "mlp" => ModelKind::Mlp { hidden: vec![200, 200] },
        "cnn-fedavg" => ModelKind::CnnFedavg,
        "cnn-flower" => ModelKind::CnnFlower,
        "resnet20" => ModelKind::Resnet20,
        other => return Err(format!("'{other}' is not a model").into()),
    };
    let number = |at: usize, default: f32| args.get(at).map_or(Ok(default), |text| text.parse::<f32>());
    let epochs = number(1, 5.0)? as u64;
    let threads = number(5, 1.0)? as usize;
    let mut params = TrainParams {
        local_epochs: 1,
        minibatch: number(2, 32.0)? as u32,
        learning_rate: number(3, 0.05)?,
        momentum: number(4, 0.9)?,
        seed: 0,
    };
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/mnist");
    let read = |set: &str| {
        idx::read_files(
            &data.join(format!("{set}-images.idx.gz")),
            &data.join(format!("{set}-labels.idx.gz")),
        )
    };
    let (examples, held_out) = (read("train")?, read("test")?);
    let spec = ModelSpec { kind, input: examples.shape(), classes: 10 };
    let mut weights = Weights::init(&spec, 1)?;
    println!("{:?}: {} parameters, {} examples", spec.kind, weights.values().len(), examples.len());
    for epoch in 1..=epochs {
        params.seed = epoch;
        let start = Instant::now();
        let go_on = &mut |_| Control::Continue;
        let trained = train_on(Machine::new(threads), &weights, &examples, &params, go_on, None)?;
        let rate = examples.len() as f64 / start.elapsed().as_secs_f64();
        weights = trained.weights;
        let found = Loaded::new(&weights)?.evaluate(&held_out)?;
        println!(
            "epoch {epoch}: loss {:.4}, held-out accuracy {:.2} %, {rate:.0} examples/s",
            trained.loss,
            100.0 * found.accuracy()
        );
    }
    if let Some(path) = args.get(6) {
        std::fs::write(path, weights.to_bytes())?;
    }
    println!("model {}", weights.digest());
    Ok(())
}
