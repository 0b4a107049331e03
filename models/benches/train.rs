//! Training and inference, a step of each model: `cargo bench -p models --bench train`.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use divan::Bencher;
use divan::counter::ItemsCount;
use models::data::Dataset;
use models::infer::Loaded;
use models::kernels::matmul::{View, ViewMut, matmul};
use models::train::{Control, TrainParams, train};
use models::weights::Weights;
use protocol::job::{ModelKind, ModelSpec};
use protocol::rng::Rng;

fn main() {
    divan::main();
}

const STEPS: usize = 4;

fn case(name: &str) -> (ModelKind, usize) {
    match name {
        "logistic b64" => (ModelKind::Logistic, 64),
        "mlp b64" => (ModelKind::Mlp { hidden: vec![200, 200] }, 64),
        "cnn-flower b32" => (ModelKind::CnnFlower, 32),
        "cnn-flower b64" => (ModelKind::CnnFlower, 64),
        "cnn-fedavg b10" => (ModelKind::CnnFedavg, 10),
        _ => (ModelKind::CnnFedavg, 64),
    }
}

fn digits(count: usize) -> Dataset {
    let mut rng = Rng::new(1);
    // Like digits, most pixels are 0.
    let inputs = (0..count * 784).map(|_| if rng.chance(1, 5) { rng.unit() as f32 } else { 0.0 }).collect();
    Dataset::new(inputs, [1, 28, 28], (0..count).map(|at| at as u32 % 10).collect())
        .expect("the counts pair up")
}

fn weights(kind: ModelKind) -> Weights {
    Weights::init(&ModelSpec { kind, input: [1, 28, 28], classes: 10 }, 1).expect("the shapes fit")
}

/// Examples a second of the whole training step: forward, backward, SGD.
#[divan::bench(args = ["logistic b64", "mlp b64", "cnn-flower b32", "cnn-flower b64", "cnn-fedavg b10", "cnn-fedavg b64"])]
fn training(bencher: Bencher<'_, '_>, name: &str) {
    let (kind, minibatch) = case(name);
    let (data, weights) = (digits(STEPS * minibatch), weights(kind));
    let params = TrainParams {
        local_epochs: 1,
        minibatch: minibatch as u32,
        learning_rate: 0.01,
        momentum: 0.9,
        seed: 1,
    };
    bencher
        .counter(ItemsCount::new(data.len()))
        .bench_local(|| train(&weights, &data, &params, &mut |_| Control::Continue).expect("it trains"));
}

/// Answers a second.
#[divan::bench(args = ["mlp b64", "cnn-flower b64", "cnn-fedavg b64"])]
fn inference(bencher: Bencher<'_, '_>, name: &str) {
    let (data, loaded) = (digits(256), Loaded::new(&weights(case(name).0)).expect("the shapes fit"));
    bencher
        .counter(ItemsCount::new(data.len()))
        .bench_local(|| loaded.infer(data.inputs()).expect("it answers"));
}

/// The same training step out of candle's own layers, for comparison: two CNNs, minibatch 64.
#[divan::bench(args = ["cnn-flower b64", "cnn-fedavg b64"], sample_count = 10)]
fn training_by_candle(bencher: Bencher<'_, '_>, name: &str) {
    let (kind, n) = case(name);
    let padding = if kind == ModelKind::CnnFedavg { 2 } else { 0 };
    let vars: BTreeMap<String, Var> = weights(kind)
        .tensors()
        .expect("tensors")
        .into_iter()
        .map(|(name, tensor)| (name, Var::from_tensor(&tensor).expect("a variable")))
        .collect();
    let data = digits(n);
    bencher
        .counter(ItemsCount::new(n))
        .bench_local(|| candle_step(&vars, &data, padding).expect("it trains"));
}

fn candle_step(vars: &BTreeMap<String, Var>, data: &Dataset, padding: usize) -> candle_core::Result<()> {
    let dense = |x: &Tensor, name: &str| {
        x.matmul(&vars[&format!("{name}.weight")].t()?)?.broadcast_add(&vars[&format!("{name}.bias")])
    };
    let conv = |x: &Tensor, name: &str| {
        let bias = vars[&format!("{name}.bias")].reshape((1, (), 1, 1))?;
        let y = x.conv2d(&vars[&format!("{name}.weight")], padding, 1, 1, 1)?;
        y.broadcast_add(&bias)?.relu()?.max_pool2d(2)
    };
    let x = Tensor::from_slice(data.inputs(), (data.len(), 1, 28, 28), &Device::Cpu)?;
    let mut x = conv(&conv(&x, "conv1")?, "conv2")?.flatten_from(1)?;
    let layers = vars.len() / 2 - 2;
    for layer in 1..=layers {
        x = dense(&x, &format!("fc{layer}"))?;
        if layer < layers {
            x = x.relu()?;
        }
    }
    let labels = Tensor::from_slice(data.labels(), data.len(), &Device::Cpu)?;
    let gradients = candle_nn::loss::cross_entropy(&x, &labels)?.backward()?;
    for var in vars.values() {
        var.set(&(var.as_tensor() - (0.01 * gradients.get(var).expect("it takes part"))?)?)?;
    }
    Ok(())
}

/// Floating-point operations a second of the matrix product (items: 2 m n k).
#[divan::bench(args = [(512, 512, 512), (64, 512, 3136), (512, 3136, 64), (10, 120, 256)])]
fn matrix_product(bencher: Bencher<'_, '_>, (m, n, k): (usize, usize, usize)) {
    let mut rng = Rng::new(1);
    let a: Vec<f32> = (0..m * k).map(|_| rng.unit() as f32).collect();
    let b: Vec<f32> = (0..k * n).map(|_| rng.unit() as f32).collect();
    let mut c = vec![0.0; m * n];
    bencher.counter(ItemsCount::new(2 * m * n * k)).bench_local(|| {
        let into = ViewMut { data: &mut c, row: n, column: 1 };
        matmul(m, n, k, View::rows(&a, k), View::rows(&b, n), into);
    });
}
