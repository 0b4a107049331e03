//! Fixed small trainings and inferences of every model, and of kernels that no model uses: what is run on every
//! machine, to be compared with the digests in `models/tests/vectors/reproduce.txt`.

use std::fmt::Write as _;

use protocol::hash::Digest;
use protocol::job::{ModelKind, ModelSpec};
use protocol::rng::Rng;

use crate::data::Dataset;
use crate::engine::{Batch, Node, Session};
use crate::error::ModelError;
use crate::infer::generate::Generator;
use crate::infer::prompts::{self, Prompt};
use crate::infer::{Loaded, write_answers};
use crate::kernels::Machine;
use crate::kernels::activation::{self, Activation};
use crate::kernels::optimiser::Optimiser;
use crate::kernels::quantised::{self, Activations, Format};
use crate::kernels::random::{Keep, Stream, dropout};
use crate::kernels::real::{cos, exp, ln, sin};
use crate::train::{Control, TrainParams, train_on};
use crate::weights::Weights;
use crate::zoo::gpt;

/// The committed digests: a line for each case, its name and its digest.
pub const VECTORS: &str = include_str!("../tests/vectors/reproduce.txt");

/// Runs every case on machines made by `machine`; a line for each, its name and its digest.
pub fn lines(machine: &dyn Fn() -> Machine) -> Result<String, ModelError> {
    let mut text = String::new();
    let mut line = |name: &str, digest: Digest| {
        writeln!(text, "{name} {digest}").expect("writing to a string cannot fail");
    };
    for (name, kind, side) in [
        ("logistic", ModelKind::Logistic, 9),
        ("mlp", ModelKind::Mlp { hidden: vec![70, 33] }, 20),
        ("cnn-flower", ModelKind::CnnFlower, 17),
        ("cnn-fedavg", ModelKind::CnnFedavg, 16),
        ("resnet20", ModelKind::Resnet20, 10),
    ] {
        let spec = ModelSpec { kind, input: [2, side, side], classes: 5 };
        let (trained, digest) = training(machine(), &spec)?;
        line(&format!("{name}.training"), digest);
        let answers = Loaded::on(&trained, machine())?.infer(examples(7, &spec)?.inputs())?;
        line(&format!("{name}.inference"), Digest::of(&write_answers(0, &answers)));
    }
    let kind = ModelKind::Gpt { layers: 2, heads: 3, width: 24, dropout: 100 };
    let spec = ModelSpec { kind, input: [1, 1, 19], classes: 21 };
    let (trained, digest) = training(machine(), &spec)?;
    line("gpt-by-sgd.training", digest);
    let mut rng = Rng::new(13);
    let mut prompt = |length, wanted| {
        let tokens = (0..length).map(|_| rng.below(21) as u32).collect();
        Prompt { tokens, wanted }
    };
    let asked: Vec<_> = (1..=10).map(|at| prompt(at, 9)).collect();
    let followed = Generator::new(&trained, machine())?.generate(&asked)?;
    line("gpt-by-sgd.generation", Digest::of(&prompts::write(0, &followed)));
    let [training, inference] = transformer(machine())?;
    line("gpt.training", training);
    line("gpt.inference", inference);
    line("functions", functions(&machine()));
    line("quantised", products(&machine()));
    line("random", numbers(&machine()));
    Ok(text)
}

fn examples(count: usize, spec: &ModelSpec) -> Result<Dataset, ModelError> {
    let mut rng = Rng::new(11);
    if spec.kind.is_sequential() {
        let tokens: Vec<u32> =
            (0..count * (spec.input_len() + 1)).map(|_| rng.below(spec.classes.into()) as u32).collect();
        return Ok(Dataset::sequences(&tokens, spec.input[2])?);
    }
    let inputs = (0..count * spec.input_len()).map(|_| rng.unit() as f32 - 0.3).collect();
    let labels = (0..count).map(|_| rng.below(spec.classes.into()) as u32).collect();
    Ok(Dataset::new(inputs, spec.input, labels)?)
}

/// Two epochs of two steps, the second of each smaller; the digest of every operator's outputs on the way.
fn training(machine: Machine, spec: &ModelSpec) -> Result<(Weights, Digest), ModelError> {
    let params = TrainParams { local_epochs: 2, minibatch: 5, learning_rate: 0.05, momentum: 0.9, seed: 3 };
    let mut seen = Vec::new();
    let mut trace = |step, node: &Node, output, bytes: &[u8]| note(&mut seen, step, node, output, bytes);
    let (weights, data) = (Weights::init(spec, 1)?, examples(8, spec)?);
    let go_on = &mut |_| Control::Continue;
    let trained = train_on(machine, &weights, &data, &params, go_on, Some(&mut trace))?;
    seen.extend(trained.weights.to_bytes());
    Ok((trained.weights, Digest::of(&seen)))
}

/// Three AdamW steps of a small transformer on two sequences, then its logits.
fn transformer(machine: Machine) -> Result<[Digest; 2], ModelError> {
    let config = gpt::Config { vocabulary: 61, context: 40, layers: 2, heads: 3, width: 48, dropout: 0 };
    let positions = 37;
    let optimiser = Optimiser::AdamW { rate: 3e-3, betas: [0.9, 0.95], epsilon: 1e-8, decay: 0.1 };
    let program = config.program(positions, optimiser.moments())?;
    let drawn = (0..).zip(program.parameters()).flat_map(|(number, own)| own.draw(1, number));
    let weights: Vec<f32> = drawn.collect();
    let mut session = Session::new(program, &weights, optimiser, machine)?;
    let mut rng = Rng::new(2);
    let mut seen = Vec::new();
    let places: Vec<u32> = (0..2).flat_map(|_| 0..positions as u32).collect();
    let mut tokens: Vec<u32> = Vec::new();
    for _ in 0..3 {
        tokens = (0..=2 * positions).map(|_| rng.below(61) as u32).collect();
        let (labels, inputs) = (&tokens[1..], &tokens[..2 * positions]);
        let mut trace = |step, node: &Node, output, bytes: &[u8]| note(&mut seen, step, node, output, bytes);
        session.train(&[Batch::Tokens(inputs), Batch::Tokens(&places)], labels, Some(&mut trace))?;
    }
    let logits = session.infer(&[Batch::Tokens(&tokens[1..]), Batch::Tokens(&places)], None)?;
    Ok([Digest::of(&seen), digest(logits)])
}

fn note(seen: &mut Vec<u8>, step: u64, node: &Node, output: usize, bytes: &[u8]) {
    if output == node.outputs.len() {
        return; // The loss: a function of values that are here.
    }
    seen.extend(format!("{step} {} {output} ", node.name).bytes());
    seen.extend(Digest::of(bytes).0);
}

/// Every activation and its slope, and the functions of `f64`, over their whole range.
fn functions(machine: &Machine) -> Digest {
    let mut x: Vec<f32> = (-20_000..20_000).map(|at| at as f32 * 0.005_03).collect();
    x.extend([0.0, -0.0, 1e-38, -1e-30, 1e30, -1e30]);
    let mut all = Vec::new();
    for function in
        [Activation::Relu, Activation::Gelu, Activation::Silu, Activation::Tanh, Activation::Sigmoid]
    {
        let mut y = vec![0.0; x.len()];
        activation::forward(machine, function, &x, &mut y);
        all.extend_from_slice(&y);
        activation::backward(machine, function, &x, &x, &mut y);
        all.extend_from_slice(&y);
    }
    let mut bytes: Vec<u8> = all.iter().flat_map(|value| value.to_le_bytes()).collect();
    for x in x.iter().map(|&x| f64::from(x)).filter(|x| x.abs() < 1e5) {
        let values = [exp(x), ln(x.abs() + 1e-300), sin(x), cos(x)];
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    Digest::of(&bytes)
}

/// Products with quantised weights of every format.
fn products(machine: &Machine) -> Digest {
    let mut rng = Rng::new(7);
    let (count, outputs, blocks) = (3, 40, 18);
    let width = blocks * quantised::VALUES;
    let x: Vec<f32> = (0..count * width).map(|_| rng.unit() as f32 - 0.5).collect();
    let mut all = Vec::new();
    for format in [Format::Q8_0, Format::Q4_0, Format::Q4_1] {
        let mut weights: Vec<u8> =
            (0..outputs * blocks * format.block_bytes()).map(|_| rng.next() as u8).collect();
        for block in weights.chunks_exact_mut(format.block_bytes()) {
            // Scales (and minima) of a usual size.
            block[1] = block[1] & 0x83 | 0x20;
            block[3] = block[3] & 0x83 | 0x24;
        }
        let mut out = vec![0.0; count * outputs];
        quantised::matmul(machine, format, width, &weights, &Activations::new(machine, &x), &mut out);
        all.extend(out);
    }
    digest(&all)
}

/// Dropout and initial values.
fn numbers(machine: &Machine) -> Digest {
    let stream = Stream::new(&[5, 6]);
    let mut all: Vec<f32> = (0..5_000).map(|at| stream.normal(at, 0.02)).collect();
    all.extend((0..5_000).map(|at| stream.uniform(at, 0.1)));
    let mut dropped = vec![0.0; all.len()];
    dropout(machine, &stream, Keep::all_but(0.2), &all, &mut dropped);
    all.extend(dropped);
    digest(&all)
}

fn digest(values: &[f32]) -> Digest {
    Digest::of(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}
