//! The pieces of work, by name: `matmul-1024` (a side), `mlp-64`, `cnn-fedavg-10`, `resnet20-32` (a minibatch),
//! `transformer-4`, `prefill-8`, `decode-1` (sequences).

use std::error::Error;

use models::data::Dataset;
use models::engine::{Batch, Session};
use models::infer::generate::Generator;
use models::infer::prompts::Prompt;
use models::kernels::Machine;
use models::kernels::matmul::{View, ViewMut, matmul};
use models::kernels::optimiser::Optimiser;
use models::train::{Control, TrainParams, train_on};
use models::weights::Weights;
use models::zoo::gpt;
use protocol::job::{ModelKind, ModelSpec};
use protocol::rng::Rng;

type Work = Box<dyn FnMut() -> Result<(), Box<dyn Error>>>;

/// One measurement of a case, to be repeated; `tests/peers/compare.py` says how much work it is.
pub fn ready(case: &str, threads: usize) -> Result<Work, Box<dyn Error>> {
    let (name, size) = case.rsplit_once('-').ok_or("a case ends in its size")?;
    let (size, digits) = (size.parse::<usize>()?, [1, 28, 28]);
    match name {
        "matmul" => Ok(product(size, threads)),
        "logistic" => training(ModelKind::Logistic, digits, size, 6400, threads),
        "mlp" => training(ModelKind::Mlp { hidden: vec![200, 200] }, digits, size, 6400, threads),
        "cnn-fedavg" => training(ModelKind::CnnFedavg, digits, size, 640, threads),
        "cnn-flower" => training(ModelKind::CnnFlower, digits, size, 6400, threads),
        "resnet20" => training(ModelKind::Resnet20, [3, 32, 32], size, 2 * size, threads),
        "transformer" => transformer(size, threads),
        "prefill" => generation(size, 192, 1, threads),
        "decode" => generation(size, 1, 192, threads),
        other => Err(format!("'{other}' is not a case").into()),
    }
}

fn product(side: usize, threads: usize) -> Work {
    let machine = Machine::new(threads);
    let mut rng = Rng::new(1);
    let mut draw = || (0..side * side).map(|_| rng.unit() as f32 - 0.5).collect::<Vec<f32>>();
    let (a, b, mut c) = (draw(), draw(), draw());
    Box::new(move || {
        let into = ViewMut { data: &mut c, row: side, column: 1 };
        matmul(&machine, side, side, side, View::rows(&a, side), View::rows(&b, side), into);
        Ok(())
    })
}

/// One epoch over so many examples, in a new order: a task as a worker runs it.
fn training(
    kind: ModelKind,
    input: [u32; 3],
    minibatch: usize,
    count: usize,
    threads: usize,
) -> Result<Work, Box<dyn Error>> {
    let spec = ModelSpec { kind, input, classes: 10 };
    let weights = Weights::init(&spec, 1)?;
    let mut rng = Rng::new(1);
    // Like digits, most pixels are 0.
    let mut pixel = || if rng.chance(1, 5) { rng.unit() as f32 } else { 0.0 };
    let inputs = (0..count * spec.input_len()).map(|_| pixel()).collect();
    let data = Dataset::new(inputs, input, (0..count as u32).map(|at| at % 10).collect())?;
    let minibatch = u32::try_from(minibatch)?;
    let mut params = TrainParams { local_epochs: 1, minibatch, learning_rate: 0.01, momentum: 0.9, seed: 1 };
    Ok(Box::new(move || {
        params.seed += 1;
        let go_on = &mut |_| Control::Continue;
        train_on(Machine::new(threads), &weights, &data, &params, go_on, None)?;
        Ok(())
    }))
}

/// A step of a transformer of 6 blocks, 6 heads and a width of 384 on sequences of 256 tokens.
fn transformer(sequences: usize, threads: usize) -> Result<Work, Box<dyn Error>> {
    const POSITIONS: usize = 256;
    let config =
        gpt::Config { vocabulary: 65, context: POSITIONS, layers: 6, heads: 6, width: 384, dropout: 0 };
    let optimiser = Optimiser::AdamW { rate: 1e-3, betas: [0.9, 0.99], epsilon: 1e-8, decay: 0.1 };
    let program = config.program(POSITIONS, optimiser.moments())?;
    let drawn = (0..).zip(program.parameters()).flat_map(|(number, own)| own.draw(1, number));
    let weights: Vec<f32> = drawn.collect();
    let mut session = Session::new(program, &weights, optimiser, Machine::new(threads))?;
    let mut rng = Rng::new(2);
    let tokens: Vec<u32> = (0..=POSITIONS * sequences).map(|_| rng.below(65) as u32).collect();
    let places: Vec<u32> = (0..sequences).flat_map(|_| 0..POSITIONS as u32).collect();
    Ok(Box::new(move || {
        let (inputs, labels) = (&tokens[..POSITIONS * sequences], &tokens[1..]);
        session.train(&[Batch::Tokens(inputs), Batch::Tokens(&places)], labels, None)?;
        Ok(())
    }))
}

/// So many tokens after each of some prompts, by the same transformer: what a worker answers a request with.
fn generation(sequences: usize, prompt: usize, wanted: u32, threads: usize) -> Result<Work, Box<dyn Error>> {
    let kind = ModelKind::Gpt { layers: 6, heads: 6, width: 384, dropout: 0 };
    let spec = ModelSpec { kind, input: [1, 1, 256], classes: 65 };
    let mut generator = Generator::new(&Weights::init(&spec, 1)?, Machine::new(threads))?;
    let mut rng = Rng::new(3);
    let mut draw = || (0..prompt).map(|_| rng.below(65) as u32).collect();
    let prompts: Vec<Prompt> = (0..sequences).map(|_| Prompt { tokens: draw(), wanted }).collect();
    Ok(Box::new(move || {
        std::hint::black_box(generator.generate(&prompts)?);
        Ok(())
    }))
}
