//! Plain pooling and dropout in a model: against candle's operations, one by one again, and on untrusted bytes.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor, Var};
use protocol::rng::Rng;

use super::*;
use crate::kernels::conv2d::Conv2d;
use crate::kernels::dense::DenseShape;
use crate::kernels::pooling::PoolShape;
use crate::kernels::random::Keep;

const SEED: u64 = 77;
const CLASSES: usize = 5;
const EXAMPLES: usize = 3;
const KEPT: f32 = 0.75;

/// A convolution, the greatest of each window, a convolution, the mean of each window, dropout, classes.
fn program() -> Program {
    let mut model = Builder::default();
    let conv = |channels, side, filters| Conv2d {
        channels,
        height: side,
        width: side,
        filters,
        kernel: 3,
        stride: 1,
        padding: 1,
    };
    let window = |side| PoolShape { height: side, width: side, window: 2, stride: 2 };
    let x = model.input("input", 12 * 12);
    let x = model.conv("conv1", x, conv(1, 12, 4));
    let x = model.max_pool("pool1", x, 4, window(12));
    let x = model.conv("conv2", x, conv(4, 6, 6));
    let x = model.mean_pool("pool2", x, 6, window(6));
    let x = model.dropout("drop", x, Keep::all_but(1.0 - KEPT));
    let logits = model.dense("fc", x, 1, DenseShape { inputs: 54, outputs: CLASSES, relu: false });
    model.finish(logits, CLASSES, 1)
}

fn draw(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    (0..count).map(|_| rng.unit() as f32 - 0.4).collect()
}

fn weights() -> Vec<f32> {
    draw(1, program().parameters().map(crate::zoo::Parameter::len).sum())
}

fn session(machine: Machine, optimiser: Optimiser) -> Session {
    Session::new(program(), &weights(), optimiser, machine).unwrap().seeded(SEED)
}

/// What a step's dropout multiplies by, as docs/REPRODUCIBILITY.md defines it.
fn mask(step: u64, count: usize) -> Vec<f32> {
    let mut rng = Rng::derive(&[SEED, 0x0064_726f_7000, step, 0]);
    let kept = (f64::from(KEPT) * f64::from(1u32 << 24)) as u64;
    (0..count).map(|_| if rng.next() >> 40 < kept { 1.0 / KEPT } else { 0.0 }).collect()
}

fn reference(vars: &BTreeMap<String, Var>, x: &[f32], mask: Option<&[f32]>) -> Result<Tensor> {
    let x = Tensor::from_slice(x, (EXAMPLES, 1, 12, 12), &Device::Cpu)?;
    let windows = |x: &Tensor| {
        let (n, channels, height, width) = x.dims4()?;
        x.reshape((n * channels, height / 2, 2, width / 2, 2))
    };
    let x = x.conv2d(&vars["conv1.weight"], 1, 1, 1, 1)?;
    let x = windows(&x)?.max(4)?.max(2)?.reshape((EXAMPLES, 4, 6, 6))?;
    let x = x.conv2d(&vars["conv2.weight"], 1, 1, 1, 1)?;
    let mut x = windows(&x)?.mean(4)?.mean(2)?.reshape((EXAMPLES, 54))?;
    if let Some(mask) = mask {
        x = (x * Tensor::from_slice(mask, (EXAMPLES, 54), &Device::Cpu)?)?;
    }
    x.matmul(&vars["fc.weight"].t()?)?.broadcast_add(&vars["fc.bias"])
}

#[test]
fn values_and_gradients_agree_with_candle() {
    let (program, weights) = (program(), weights());
    let (mut vars, mut rest) = (BTreeMap::new(), &weights[..]);
    for own in program.parameters() {
        let (values, after) = rest.split_at(own.len());
        rest = after;
        vars.insert(own.name.clone(), Var::from_slice(values, own.shape.clone(), &Device::Cpu).unwrap());
    }
    let (x, labels) = (draw(2, EXAMPLES * 144), [4u32, 0, 2]);
    let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let close = |what: &str, got: &[f32], want: &[f32]| {
        let size = want.iter().fold(1e-3f32, |most, value| most.max(value.abs()));
        assert_eq!(got.len(), want.len());
        assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 5e-5 * size), "{what}");
    };
    let optimiser = Optimiser::Sgd { rate: 1.0, momentum: 0.0 };
    let mut session = session(Machine::new(2), optimiser);
    // A forward pass alone drops nothing.
    let want = flat(&reference(&vars, &x, None).unwrap());
    close("logits", session.infer(&[Batch::Floats(&x)], None).unwrap(), &want);
    let logits = reference(&vars, &x, Some(&mask(1, EXAMPLES * 54))).unwrap();
    let target = Tensor::new(&labels, &Device::Cpu).unwrap();
    let loss = candle_nn::loss::cross_entropy(&logits, &target).unwrap();
    let gradients = loss.backward().unwrap();
    let got = session.train(&[Batch::Floats(&x)], &labels, None).unwrap();
    assert!((got - f64::from(loss.to_scalar::<f32>().unwrap())).abs() < 1e-5);
    let (after, mut start) = (session.weights(), 0);
    for own in program.parameters() {
        let range = start..start + own.len();
        let got: Vec<f32> = range.clone().map(|at| weights[at] - after[at]).collect();
        close(&own.name, &got, &flat(gradients.get(&vars[&own.name]).unwrap()));
        start = range.end;
    }
}

#[test]
fn the_bits_are_the_same_on_every_machine_and_one_operator_at_a_time() {
    let (x, labels) = (draw(2, EXAMPLES * 144), [4u32, 0, 2]);
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let words = labels.iter().flat_map(|label| label.to_le_bytes()).collect::<Vec<u8>>();
    let mut all = Vec::new();
    for machine in Machine::all(&[1, 2, 7]) {
        let mut session = session(machine, SGD);
        session.train(&[Batch::Floats(&x)], &labels, None).unwrap();
        let state: Vec<_> = session.tensors().map(|(own, kept)| [bytes(own), bytes(kept)]).collect();
        let (mut seen, mut nodes) = (Vec::<Vec<Vec<u8>>>::new(), 0);
        let mut trace = |_: u64, node: &Node, output: usize, bytes: &[u8]| {
            if output == 0 {
                seen.push(Vec::new());
                nodes += 1;
            }
            assert!(output <= node.outputs.len());
            seen[nodes - 1].push(bytes.to_vec());
        };
        session.train(&[Batch::Floats(&x)], &labels, Some(&mut trace)).unwrap();
        all.push((state, seen));
    }
    assert!(all.iter().all(|one| *one == all[0]));
    let (program, (state, seen)) = (program(), &all[0]);
    let (machine, turn) = (Machine::new(1), Turn { optimiser: SGD, step: 2, seed: SEED });
    for (at, want) in seen.iter().enumerate() {
        let read: Vec<Vec<u8>> = program
            .reads(at)
            .into_iter()
            .map(|value| match program.source(value) {
                Source::Batch(0) => bytes(&x),
                Source::Batch(_) => words.clone(),
                Source::State { tensor, moments } => state[tensor][usize::from(moments)].clone(),
                Source::Node { node, output } => seen[node][output].clone(),
            })
            .collect();
        let read: Vec<&[u8]> = read.iter().map(Vec::as_slice).collect();
        let made = program.run_one(&machine, turn, at, EXAMPLES, &read).unwrap();
        assert!(made.is_finite && made.outputs == *want, "{}", program.nodes()[at].name);
    }
    let other = Turn { seed: SEED + 1, ..turn };
    let drop = program.nodes().iter().position(|node| node.name == "drop").unwrap();
    let pooled: &[u8] = &seen[drop - 1][0];
    assert_ne!(program.run_one(&machine, other, drop, EXAMPLES, &[pooled]).unwrap().outputs, seen[drop]);
}

#[test]
fn places_outside_of_the_plane_are_nobodys() {
    let program = program();
    let at = program.nodes().iter().position(|node| matches!(node.op, Op::MaxPoolGradient(_))).unwrap();
    let turn = Turn { optimiser: SGD, step: 1, seed: 0 };
    let run = |place: u32| {
        let places: Vec<u8> = (0..4 * 36).flat_map(|_| place.to_le_bytes()).collect();
        program.run_one(&Machine::new(1), turn, at, 1, &[&places, &[0; 4 * 4 * 36]])
    };
    assert!(run(143).is_ok());
    assert!(matches!(run(144), Err(Unfit::Element { at: 0, .. })));
}
