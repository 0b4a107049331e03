//! The list's order, what a session shows of it, and what it says when numbers run away.

mod pooling;

use std::collections::BTreeSet;

use protocol::job::{ModelKind, ModelSpec};

use super::*;
use crate::error::ModelError;
use crate::kernels::Machine;
use crate::kernels::optimiser::Optimiser;
use crate::weights::Weights;
use crate::zoo::{self, gpt};

const SGD: Optimiser = Optimiser::Sgd { rate: 0.1, momentum: 0.5 };

fn mlp() -> ModelSpec {
    ModelSpec { kind: ModelKind::Mlp { hidden: vec![5] }, input: [1, 2, 3], classes: 3 }
}

fn session(spec: &ModelSpec, optimiser: Optimiser) -> Session {
    let weights = Weights::init(spec, 1).unwrap();
    let program = zoo::program(spec, optimiser.moments()).unwrap();
    Session::new(program, weights.values(), optimiser, Machine::new(1)).unwrap()
}

#[test]
fn the_list_is_forward_loss_gradients_and_steps() {
    let names =
        |program: &Program| -> Vec<String> { program.nodes().iter().map(|node| node.name.clone()).collect() };
    assert_eq!(
        names(&zoo::program(&mlp(), 1).unwrap()),
        [
            "fc1",
            "fc2",
            "loss",
            "fc2.gradient",
            "fc1.gradient.alive",
            "fc1.gradient",
            "fc1.bias.step",
            "fc1.weight.step",
            "fc2.bias.step",
            "fc2.weight.step",
        ]
    );
    let config = gpt::Config { vocabulary: 7, context: 4, layers: 1, heads: 1, width: 2, dropout: 0 };
    let program = config.program(4, 1).unwrap();
    // The last layer's table is the embedding's: its two gradients meet, the later user's first.
    let fan_in = program.nodes().iter().find(|node| node.name.starts_with("wte.weight.gradients")).unwrap();
    let sources: Vec<&str> = fan_in.inputs.iter().map(|&id| program.value(id).name.as_str()).collect();
    assert_eq!(sources, ["lm_head.gradient.of.wte.weight", "wte.gradient.of.wte.weight"]);
    for program in [program, zoo::program(&ModelSpec { kind: ModelKind::Resnet20, ..mlp() }, 1).unwrap()] {
        let names = names(&program);
        assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len(), "names are unique");
    }
}

#[test]
fn a_trace_shows_every_output_and_changes_nothing() {
    let (x, labels) = ([0.1, 0.9, -0.4, 0.3, 0.0, 1.0, 0.5, 0.5, 0.2, -0.1, 0.7, 0.6], [2, 0]);
    let (mut traced, mut plain) = (session(&mlp(), SGD), session(&mlp(), SGD));
    for step in 1..=3 {
        let mut seen = Vec::new();
        let mut trace = |step: u64, node: &Node, output: usize, bytes: &[u8]| {
            seen.push((step, node.name.clone(), output, bytes.len()));
        };
        let loss = traced.train(&[Batch::Floats(&x)], &labels, Some(&mut trace)).unwrap();
        assert_eq!(loss, plain.train(&[Batch::Floats(&x)], &labels, None).unwrap());
        let outputs: usize = traced.program().nodes().iter().map(|node| node.outputs.len()).sum();
        assert_eq!(seen.len(), outputs + 1, "and the loss");
        assert_eq!(seen[0], (step, "fc1".into(), 0, 2 * 5 * 4));
    }
    assert_eq!(traced.weights(), plain.weights());
}

#[test]
fn a_smaller_minibatch_uses_the_same_session() {
    let x: Vec<f32> = (0..60).map(|at| at as f32 / 60.0).collect();
    let mut session = session(&mlp(), SGD);
    let ten = session.infer(&[Batch::Floats(&x)], None).unwrap().to_vec();
    assert_eq!(session.infer(&[Batch::Floats(&x[6..24])], None).unwrap(), &ten[3..12]);
    session.train(&[Batch::Floats(&x)], &[1; 10], None).unwrap();
    session.train(&[Batch::Floats(&x[..6])], &[1], None).unwrap();
    assert_eq!(session.infer(&[Batch::Floats(&x)], None).unwrap().len(), 30);
}

#[test]
fn the_first_operator_whose_output_is_not_finite_is_named() {
    let failed = |session: &mut Session, x: &[f32]| match session.train(&[Batch::Floats(x)], &[1], None) {
        Err(ModelError::NotFinite { step, operator }) => (step, operator),
        other => panic!("{other:?}"),
    };
    let with = |weights: &[f32]| {
        Session::new(zoo::program(&mlp(), 1).unwrap(), weights, SGD, Machine::new(1)).unwrap()
    };
    assert_eq!(failed(&mut with(&[3e38; 53]), &[1.0; 6]), (1, "fc1".into()));
    // Bias and weight of fc1, then of fc2: logits of ±5e8 and a gradient of 2e38 at fc1's outputs, so that only its
    // weight's gradient overflows, which nothing but the optimiser reads.
    let mut weights = vec![0.0; 53];
    weights[..5].fill(1e-30);
    weights[38..43].fill(1e38);
    weights[43..48].fill(-1e38);
    assert_eq!(failed(&mut with(&weights), &[1e3; 6]), (1, "fc1.gradient".into()));
    let mut fast = session(&mlp(), Optimiser::Sgd { rate: 3e38, momentum: 0.0 });
    let (step, operator) = failed(&mut fast, &[100.0; 6]);
    assert!(step == 1 && operator.ends_with(".step"), "{operator}");
}

#[test]
fn memory_is_reckoned_from_what_is_alive() {
    let program = zoo::program(&mlp(), 1).unwrap();
    let weights = 4 * (5 * 6 + 5 + 3 * 5 + 3);
    let (one, ten) = (program.memory_bytes(1), program.memory_bytes(10));
    assert!(one > 2 * weights && ten > one && ten < 10 * one, "{one}, {ten}");
    assert_eq!(program.memory_bytes(usize::MAX), u64::MAX);
}
