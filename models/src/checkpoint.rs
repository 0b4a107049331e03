//! How often a training commits to its state: seldom enough that hashing hardly counts.

use protocol::job::ModelSpec;
use protocol::limits::CHECKPOINT_STEPS_MAX;

use crate::engine::{Op, Program};
use crate::error::ModelError;
use crate::zoo;

/// Additions and multiplications a second that a step is reckoned with: a convolution's on two threads, about.
const FLOPS_A_SECOND: u64 = 80_000_000_000;
/// Bytes a second that blake3 is reckoned with.
const HASHED_BYTES_A_SECOND: u64 = 2_000_000_000;
/// Hashing may take one part in so many of the time that training takes.
const SHARE: u64 = 100;

/// Optimiser steps between two commitments to weights and moments such that hashing them costs at most 1 % of the
/// training, on a processor that does 80 thousand million additions and multiplications, and hashes 2 GB, a second.
///
/// A function of the model and the minibatch alone.
pub fn usual_steps(spec: &ModelSpec, minibatch: u32) -> Result<u32, ModelError> {
    // Plain SGD keeps one moment for each weight.
    let program = zoo::program(spec, 1)?;
    let state_bytes = 2 * 4 * zoo::parameter_count(spec)? as u128;
    // Two gradients cost what the forward pass costs each.
    let flops = 2 * 3 * u128::from(multiply_adds(&program)) * u128::from(minibatch);
    let hashing = state_bytes * u128::from(FLOPS_A_SECOND) * u128::from(SHARE);
    let training = (flops * u128::from(HASHED_BYTES_A_SECOND)).max(1);
    let steps = hashing.div_ceil(training).clamp(1, CHECKPOINT_STEPS_MAX.into());
    Ok(u32::try_from(steps).expect("it has just been clamped"))
}

/// Multiplications, each followed by an addition, that one example takes in the forward pass's products.
fn multiply_adds(program: &Program) -> u64 {
    let forward = &program.nodes()[..program.forward_nodes()];
    let each = forward.iter().map(|node| match node.op {
        Op::Dense(shape) => (shape.inputs * program.value(node.outputs[0]).size.of(1)) as u64,
        Op::Attention(shape, positions) => (positions * positions * shape.width()) as u64,
        Op::ConvPool(shape) => {
            let (rows, columns) = shape.convolved();
            (shape.filters * shape.channels * shape.kernel * shape.kernel * rows * columns) as u64
        }
        Op::Conv(shape) => (shape.weights() / shape.filters * shape.output_len()) as u64,
        _ => 0,
    });
    each.sum()
}

#[cfg(test)]
mod tests {
    use protocol::job::ModelKind;

    use super::*;

    fn model(kind: ModelKind) -> ModelSpec {
        ModelSpec { kind, input: [1, 28, 28], classes: 10 }
    }

    #[test]
    fn products_are_counted_as_the_papers_count_them() {
        let of = |kind| multiply_adds(&zoo::program(&model(kind), 1).unwrap());
        assert_eq!(of(ModelKind::Logistic), 7_840);
        assert_eq!(of(ModelKind::Mlp { hidden: vec![200, 200] }), 784 * 200 + 200 * 200 + 200 * 10);
        // Two 5×5 convolutions of 32 and 64 filters, then 512 and 10 units.
        let cnn = 28 * 28 * 32 * 25 + 14 * 14 * 64 * 32 * 25 + 3_136 * 512 + 512 * 10;
        assert_eq!(of(ModelKind::CnnFedavg), cnn);
        let resnet = ModelSpec { kind: ModelKind::Resnet20, input: [3, 32, 32], classes: 10 };
        let count = multiply_adds(&zoo::program(&resnet, 1).unwrap());
        assert!((40_000_000..42_000_000).contains(&count), "{count}");
    }

    #[test]
    fn the_more_a_step_computes_the_sooner_the_next_commitment() {
        let steps = |kind, minibatch| usual_steps(&model(kind), minibatch).unwrap();
        // 8 bytes a weight at 2 GB/s, a hundredfold, against 6 operations a product and example at 80 GFLOP/s.
        assert_eq!(steps(ModelKind::Logistic, 1), 5_341);
        assert_eq!(steps(ModelKind::Logistic, 100), 54);
        assert!(steps(ModelKind::CnnFedavg, 10) < steps(ModelKind::Mlp { hidden: vec![200, 200] }, 10));
        assert_eq!(steps(ModelKind::CnnFedavg, 65_536), 1);
    }
}
