//! The transformer against candle's operations, and its answers against each other.

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Result, Tensor, Var};
use protocol::rng::Rng;

use super::*;
use crate::engine::{Batch, Session};
use crate::kernels::Machine;
use crate::kernels::optimiser::Optimiser;

const SMALL: Config = Config { vocabulary: 29, context: 40, layers: 2, heads: 3, width: 24, dropout: 0 };

fn weights(program: &Program) -> Vec<f32> {
    // Larger than usual, or attention would be all but even.
    (0..).zip(program.parameters()).flat_map(|(number, own)| own.draw(4, number)).map(|w| 2.0 * w).collect()
}

fn tokens(seed: u64, count: usize) -> Vec<u32> {
    let mut rng = Rng::new(seed);
    (0..count).map(|_| rng.below(29) as u32).collect()
}

fn places(positions: usize, sequences: usize) -> Vec<u32> {
    (0..sequences).flat_map(|_| 0..positions as u32).collect()
}

fn reference(vars: &BTreeMap<String, Var>, tokens: &[u32], positions: usize) -> Result<Tensor> {
    let Config { heads, width, layers, .. } = SMALL;
    let (n, cpu) = (tokens.len() / positions, Device::Cpu);
    let norm = |x: &Tensor, name: &str| {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + 1e-5)?.sqrt()?;
        centred
            .broadcast_div(&deviation)?
            .broadcast_mul(&vars[&format!("{name}.weight")])?
            .broadcast_add(&vars[&format!("{name}.bias")])
    };
    let dense = |x: &Tensor, name: &str| {
        let rows = x.reshape(((), x.dim(D::Minus1)?))?;
        rows.matmul(&vars[&format!("{name}.weight")].t()?)?.broadcast_add(&vars[&format!("{name}.bias")])
    };
    let table = vars["wte.weight"].as_tensor();
    let x = table.index_select(&Tensor::new(tokens, &cpu)?, 0)?.reshape((n, positions, width))?;
    let mut x = x.broadcast_add(&vars["wpe.weight"].narrow(0, 0, positions)?)?;
    let mask: Vec<f32> = (0..positions * positions)
        .map(|at| if at % positions > at / positions { f32::NEG_INFINITY } else { 0.0 })
        .collect();
    let mask = Tensor::from_vec(mask, (positions, positions), &cpu)?;
    for layer in 0..layers {
        let name = |part: &str| format!("h.{layer}.{part}");
        let qkv = dense(&norm(&x, &name("ln_1"))?, &name("attn.c_attn"))?;
        let qkv = qkv.reshape((n, positions, 3, heads, width / heads))?;
        let part = |at| qkv.narrow(2, at, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous();
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let scores = (q.matmul(&k.transpose(2, 3)?.contiguous()?)? * f64::from(1.0 / (8f32).sqrt()))?;
        let p = candle_nn::ops::softmax(&scores.broadcast_add(&mask)?, D::Minus1)?;
        let y = p.matmul(&v)?.transpose(1, 2)?.contiguous()?.reshape((n, positions, width))?;
        x = (x + dense(&y, &name("attn.c_proj"))?.reshape((n, positions, width))?)?;
        let y = dense(&norm(&x, &name("ln_2"))?, &name("mlp.c_fc"))?.gelu_erf()?;
        x = (x + dense(&y, &name("mlp.c_proj"))?.reshape((n, positions, width))?)?;
    }
    norm(&x, "ln_f")?.reshape((n * positions, width))?.matmul(&table.t()?)
}

#[test]
fn a_training_step_agrees_with_candle() {
    let (positions, sequences) = (11, 3);
    let program = SMALL.program(positions, 1).unwrap();
    let weights = weights(&program);
    let (tokens, labels) = (tokens(1, positions * sequences), tokens(2, positions * sequences));
    let mut vars = BTreeMap::new();
    let mut rest = &weights[..];
    for own in program.parameters() {
        let (values, after) = rest.split_at(own.len());
        rest = after;
        let var = Var::from_slice(values, own.shape.clone(), &Device::Cpu).unwrap();
        vars.insert(own.name.clone(), var);
    }
    let logits = reference(&vars, &tokens, positions).unwrap();
    let target = Tensor::new(&labels[..], &Device::Cpu).unwrap();
    let loss = candle_nn::loss::cross_entropy(&logits, &target).unwrap();
    let gradients = loss.backward().unwrap();

    let optimiser = Optimiser::Sgd { rate: 1.0, momentum: 0.0 };
    let mut session = Session::new(program.clone(), &weights, optimiser, Machine::new(2)).unwrap();
    let places = places(positions, sequences);
    let inputs = [Batch::Tokens(&tokens), Batch::Tokens(&places)];
    let ours = session.infer(&inputs, None).unwrap().to_vec();
    let theirs = logits.flatten_all().unwrap().to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap();
    assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-5), "logits");
    let got = session.train(&inputs, &labels, None).unwrap();
    assert!((got - f64::from(loss.to_scalar::<f32>().unwrap())).abs() < 1e-5);
    let after = session.weights();
    let mut start = 0;
    for own in program.parameters() {
        let want = gradients.get(&vars[&own.name]).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let size = want.iter().fold(1e-3f32, |most, value| most.max(value.abs()));
        for (at, want) in (start..).zip(&want) {
            let got = weights[at] - after[at];
            assert!((got - want).abs() < 2e-4 * size, "{} at {}: {got}, not {want}", own.name, at - start);
        }
        start += own.len();
    }
}

#[test]
fn a_position_depends_on_what_stands_before_it_only_to_the_bit() {
    let positions = 33;
    let sequences = 8;
    let tokens = tokens(5, positions * sequences);
    let optimiser = Optimiser::Sgd { rate: 1.0, momentum: 0.0 };
    let weights = weights(&SMALL.program(1, 0).unwrap());
    let answer = |positions: usize, tokens: &[u32], threads| {
        let program = SMALL.program(positions, 0).unwrap();
        let mut session = Session::new(program, &weights, optimiser, Machine::new(threads)).unwrap();
        let places = places(positions, tokens.len() / positions);
        session.infer(&[Batch::Tokens(tokens), Batch::Tokens(&places)], None).unwrap().to_vec()
    };
    let together = answer(positions, &tokens, 2);
    for (at, own) in tokens.chunks(positions).enumerate() {
        let whole = &together[at * positions * 29..][..positions * 29];
        assert!(answer(positions, own, 1) == whole, "alone as among {sequences}");
        for shorter in [1, 2, 17, 32] {
            assert!(answer(shorter, &own[..shorter], 1) == whole[..shorter * 29], "the first {shorter}");
        }
    }
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    for (config, positions) in [
        (Config { width: 25, ..SMALL }, 4),
        (Config { heads: 0, ..SMALL }, 4),
        (Config { layers: 0, ..SMALL }, 4),
        (SMALL, 41),
        (SMALL, 0),
    ] {
        assert!(matches!(config.program(positions, 1), Err(ModelError::Range { .. })), "{config:?}");
    }
}
