//! Honest parties win a dispute over a real training, whatever the other one did; the two sides never wait for long.

use std::sync::Arc;

use protocol::dispute::moves::{Asked, Body};
use protocol::dispute::shape::Trace;
use protocol::dispute::trace::{Computation, Player};
use protocol::dispute::{Dispute, Party as Side, Terms, Verdict};
use protocol::ids::{Address, JobId, Nonce, TaskId};
use protocol::job::ModelKind;
use protocol::rng::Rng;
use protocol::sign::NodeKey;
use protocol::sign::eip712::Domain;
use protocol::time::Millis;

use super::checkpoints::{Checkpoints, InMemory, NoCheckpoints};
use super::party::Party;
use super::referee::Referee;
use super::*;
use crate::data::Dataset;
use crate::kernels::Machine;
use crate::train::{Control, State, TrainParams, Training, train};
use crate::update;

/// What a party does instead of what the task says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Lie {
    None,
    /// Another step size.
    Rate(f32),
    /// Other examples.
    Shard(&'static Dataset),
    /// From this step on, nothing is learnt.
    Skipped(u64),
    /// A bit of a weight, after this step.
    Flipped(u64),
    /// A bit of a weight, after each of two steps.
    Both(u64, u64),
    /// All weights rounded, after the last step.
    Rounded(u64),
}

impl Lie {
    pub(super) fn params(&self, params: TrainParams) -> TrainParams {
        match self {
            Self::Rate(learning_rate) => TrainParams { learning_rate: *learning_rate, ..params },
            _ => params,
        }
    }

    pub(super) fn data<'a>(&self, own: &'a Dataset) -> &'a Dataset {
        match self {
            Self::Shard(other) => other,
            _ => own,
        }
    }

    pub(super) fn after_step<'a>(
        &self,
        before: &State,
        training: &mut Training<'a>,
        spec: &ModelSpec,
        data: &'a Dataset,
    ) {
        let mut state = training.state();
        match self {
            Self::Skipped(from) if state.step >= *from => {
                (state.weights, state.moments) = (before.weights.clone(), before.moments.clone());
            }
            Self::Flipped(at) | Self::Both(at, _) | Self::Both(_, at) if state.step == *at => {
                state.weights[7] = f32::from_bits(state.weights[7].to_bits() ^ 1 << 12);
            }
            Self::Rounded(at) if state.step == *at => {
                state.weights.iter_mut().for_each(|value| *value = (*value * 4096.0).round() / 4096.0);
            }
            _ => return,
        }
        *training = Training::resume(Machine::new(1), spec, &state, data, training.params()).unwrap();
    }
}

const GPT: ModelKind = ModelKind::Gpt { layers: 2, heads: 2, width: 8, dropout: 100 };

/// Noise around one point for each class.
fn examples(seed: u64, count: usize, side: u32) -> Dataset {
    let mut rng = Rng::new(seed);
    let each = (side * side) as usize;
    let (mut inputs, mut labels) = (Vec::new(), Vec::new());
    for at in 0..count {
        let label = at as u32 % 10;
        inputs.extend((0..each).map(|pixel| {
            let on = pixel % 10 == label as usize;
            0.5 * rng.unit() as f32 + if on { 0.5 } else { 0.0 }
        }));
        labels.push(label);
    }
    Dataset::new(inputs, [1, side, side], labels).unwrap()
}

/// Digits that each follow from the one before them, mostly.
fn sequences(seed: u64, count: usize, positions: u32) -> Dataset {
    let mut rng = Rng::new(seed);
    let mut token = 0;
    let tokens: Vec<u32> = (0..count * (positions as usize + 1))
        .map(|_| {
            token = if rng.chance(1, 8) { rng.below(10) as u32 } else { (3 * token + 1) % 10 };
            token
        })
        .collect();
    Dataset::sequences(&tokens, positions).unwrap()
}

pub(super) struct Scene {
    pub(super) task: TrainingTask,
    pub(super) weights: Arc<Weights>,
    pub(super) data: Arc<Dataset>,
}

pub(super) fn scene(
    kind: ModelKind,
    side: u32,
    examples_count: usize,
    local_epochs: u32,
    every: u32,
) -> Scene {
    let sequential = kind.is_sequential();
    let input = if sequential { [1, 1, side] } else { [1, side, side] };
    let model = ModelSpec { kind, input, classes: 10 };
    let weights = Weights::init(&model, 5).unwrap();
    let data =
        if sequential { sequences(1, examples_count, side) } else { examples(1, examples_count, side) };
    let task = TrainingTask {
        model,
        weights: weights.digest(),
        shard: Digest([3; 32]),
        examples: examples_count as u64,
        local_epochs,
        minibatch: 8,
        learning_rate: 0.05f32.try_into().unwrap(),
        momentum: 0.9f32.try_into().unwrap(),
        seed: 11,
        scale_bits: 24,
        checkpoint_steps: every,
    };
    Scene { task, weights: Arc::new(weights), data: Arc::new(data) }
}

impl Scene {
    pub(super) fn party(&self, lie: Lie) -> Party<InMemory> {
        let mut party = self.keeping(1, InMemory::default());
        party.lie = lie;
        party
    }

    fn keeping<C: Checkpoints>(&self, threads: usize, checkpoints: C) -> Party<C> {
        let (weights, data) = (self.weights.clone(), self.data.clone());
        Party::new(self.task.clone(), weights, data, threads, checkpoints).unwrap()
    }

    /// Both train, the worker with `lie`; the verdict, the number of moves, and the bytes of all of them.
    fn dispute(&self, lies: [Lie; 2]) -> (Verdict, usize, usize) {
        let keys = [NodeKey::from_seed(&[1; 32]), NodeKey::from_seed(&[2; 32])];
        let mut parties = lies.map(|lie| self.party(lie));
        let roots = parties.each_mut().map(|party| {
            let committed = party.train(&mut |_| Control::Continue).unwrap();
            (committed.root().unwrap(), *committed.leaves.last().unwrap())
        });
        let rollup = Domain { chain_id: 31_337, contract: Address([9; 20]) };
        let terms = Terms {
            rollup,
            task: TaskId { job: JobId(3), settlement: 1, slot: 4 },
            nonce: Nonce([7; 32]),
            parties: keys.each_ref().map(NodeKey::id),
            start: self.task.start(&self.weights).unwrap(),
            results: roots.map(|(_, result)| result),
            committed: Some(roots[0].0),
            shape: self.task.shape().unwrap(),
            move_ms: 1_000,
        };
        let mut dispute = Dispute::open(Millis(0), terms.clone()).unwrap();
        let referee = Referee::new(&self.task, &self.weights, &self.data, Machine::new(2)).unwrap();
        let mut players = parties.map(|party| Player::new(party, terms.shape.clone()));
        loop {
            match dispute.asked() {
                Asked::Nothing => break,
                Asked::Run { trace, operator, inputs } => {
                    let made = players.iter().find_map(|player| {
                        let opened = player.computation().open(trace, operator).ok()??;
                        referee.run(trace, operator, &inputs, &opened).ok()
                    });
                    dispute.ran(made);
                }
                asked => {
                    for (player, key) in players.iter_mut().zip(&keys) {
                        let Some(said) = player.answer(&asked).unwrap() else { continue };
                        let body = Body { rollup, dispute: terms.id(), round: dispute.round(), said };
                        // Either opens an operator's inputs: the second comes too late, which is no fault.
                        let late = dispute.asked() != asked;
                        assert_eq!(dispute.take(Millis(1), key.sign(body)).is_err(), late);
                    }
                }
            }
        }
        let moves = dispute.transcript();
        let bytes = moves.iter().map(|said| postcard::to_allocvec(&said.as_wire()).unwrap().len()).sum();
        (dispute.verdict().unwrap(), moves.len(), bytes)
    }
}

#[test]
fn a_committed_training_is_the_training() {
    let scene = scene(ModelKind::CnnFlower, 16, 44, 2, 5);
    let mut party = scene.party(Lie::None);
    let committed = party.train(&mut |_| Control::Continue).unwrap();
    let trained =
        train(&scene.weights, &scene.data, &scene.task.params(), &mut |_| Control::Continue).unwrap();
    let update = update::encode(scene.weights.values(), trained.weights.values(), 24).unwrap();
    assert_eq!((committed.update, committed.loss), (update, trained.loss));
    assert_eq!(committed.leaves.len() as u32, scene.task.shape().unwrap().leaves(Trace::Task));
    assert_eq!(committed.leaves[0], scene.task.start(&scene.weights).unwrap());
}

#[test]
fn every_trace_leads_from_a_leaf_to_the_next_with_and_without_checkpoints() {
    let kinds = [
        ModelKind::Logistic,
        ModelKind::Mlp { hidden: vec![9] },
        ModelKind::CnnFlower,
        ModelKind::Resnet20,
        GPT,
    ];
    for kind in kinds {
        let scene = scene(kind, 16, 12, 3, 4);
        let shape = scene.task.shape().unwrap();
        let mut trained = scene.party(Lie::None);
        let task = trained.train(&mut |_| Control::Continue).unwrap().leaves;
        let mut again = scene.keeping(2, NoCheckpoints);
        assert_eq!(again.leaves(Trace::Task).unwrap(), task);
        assert_eq!(task.len(), 2 + 2, "6 steps, a commitment after 4 and 6");
        let referee = Referee::new(&scene.task, &scene.weights, &scene.data, Machine::new(2)).unwrap();
        for (interval, ends) in (1..).zip(task.windows(2)) {
            let states = trained.leaves(Trace::Interval(interval)).unwrap();
            assert_eq!(states, again.leaves(Trace::Interval(interval)).unwrap());
            assert_eq!(states.len() as u32, shape.leaves(Trace::Interval(interval)));
            assert_eq!([states[0], *states.last().unwrap()], ends);
            for (step, ends) in (1..).zip(states.windows(2)) {
                let trace = Trace::Step { interval, step };
                let leaves = trained.leaves(trace).unwrap();
                assert_eq!(leaves, again.leaves(trace).unwrap());
                assert_eq!(leaves.len() as u32, shape.leaves(trace));
                assert_eq!([leaves[0], *leaves.last().unwrap()], ends);
                // The referee comes to every leaf by itself; that takes a while, so of long lists some are looked at.
                let last = if step == 1 { leaves.len() } else { 0 };
                for operator in (1..last as u32).rev().step_by(leaves.len().div_ceil(40)) {
                    let inputs = shape.inputs(trace, operator).iter().map(|&at| leaves[at as usize]);
                    let opened = trained.open(trace, operator).unwrap().unwrap();
                    let made = referee.run(trace, operator, &inputs.collect::<Vec<_>>(), &opened);
                    assert_eq!(made, Ok(leaves[operator as usize]), "{trace:?} {operator}");
                }
            }
        }
    }
}

#[test]
fn whatever_the_lie_its_first_error_is_found() {
    let scene = scene(ModelKind::Mlp { hidden: vec![12] }, 10, 64, 4, 5);
    let other: &'static Dataset = Box::leak(Box::new(examples(2, 64, 10)));
    let last = scene.task.steps();
    let lies = [
        Lie::Rate(0.051),
        Lie::Shard(other),
        Lie::Skipped(20),
        Lie::Flipped(1),
        Lie::Flipped(17),
        Lie::Flipped(last),
        Lie::Rounded(last),
    ];
    for lie in lies {
        let (verdict, ..) = scene.dispute([lie.clone(), Lie::None]);
        assert_eq!(verdict, Verdict::Wrong(Side::Worker), "{lie:?}");
        let (verdict, ..) = scene.dispute([Lie::None, lie.clone()]);
        assert_eq!(verdict, Verdict::Wrong(Side::Challenger), "{lie:?}");
    }
    let (verdict, ..) = scene.dispute([Lie::Flipped(17), Lie::Skipped(18)]);
    assert_eq!(verdict, Verdict::Wrong(Side::Worker), "the first error decides");
}

#[test]
fn a_dispute_over_a_transformer_ends_with_whoever_lied() {
    let scene = scene(GPT, 12, 40, 2, 3);
    for lie in [Lie::Flipped(4), Lie::Skipped(7), Lie::Rate(0.051)] {
        let (verdict, ..) = scene.dispute([lie.clone(), Lie::None]);
        assert_eq!(verdict, Verdict::Wrong(Side::Worker), "{lie:?}");
    }
}

#[test]
fn numbers_that_run_away_are_a_result_too() {
    let mut scene = scene(ModelKind::Mlp { hidden: vec![12] }, 10, 64, 4, 5);
    scene.task.learning_rate = 1e30f32.try_into().unwrap();
    let mut party = scene.party(Lie::None);
    let leaves = party.leaves(Trace::Task).unwrap();
    assert!(party.train(&mut |_| Control::Continue).is_err());
    let wild = *leaves.last().unwrap();
    let first = leaves.iter().position(|leaf| *leaf == wild).unwrap() as u32;
    assert!(leaves[first as usize..].iter().all(|leaf| *leaf == wild));
    let states = party.leaves(Trace::Interval(first)).unwrap();
    let step = states.iter().position(|leaf| *leaf == wild).unwrap() as u32;
    let trace = Trace::Step { interval: first, step };
    let operators = party.leaves(trace).unwrap();
    let referee = Referee::new(&scene.task, &scene.weights, &scene.data, Machine::new(2)).unwrap();
    let shape = scene.task.shape().unwrap();
    for operator in 1..operators.len() as u32 {
        let inputs: Vec<_> = shape.inputs(trace, operator).iter().map(|&at| operators[at as usize]).collect();
        let opened = party.open(trace, operator).unwrap().unwrap();
        let made = referee.run(trace, operator, &inputs, &opened);
        assert_eq!(made, Ok(operators[operator as usize]), "{operator}");
    }
    assert_eq!(operators.last(), Some(&wild));
}

#[test]
fn what_is_not_shown_is_not_run() {
    use super::referee::{NotShown, Opened};
    let scene = scene(ModelKind::Logistic, 8, 20, 1, 2);
    let mut party = scene.party(Lie::None);
    let trace = Trace::Step { interval: 1, step: 1 };
    let leaves = party.leaves(trace).unwrap();
    let referee = Referee::new(&scene.task, &scene.weights, &scene.data, Machine::new(2)).unwrap();
    let shape = scene.task.shape().unwrap();
    let inputs: Vec<_> = shape.inputs(trace, 2).iter().map(|&at| leaves[at as usize]).collect();
    let opened = party.open(trace, 2).unwrap().unwrap();
    let run = |opened: &Opened| referee.run(trace, 2, &inputs, opened);
    assert_eq!(run(&Opened::default()), Err(NotShown::Leaves { want: 2, got: 0 }));
    let mut other = opened.clone();
    other.leaves.swap(0, 1);
    assert_eq!(run(&other), Err(NotShown::Leaf { at: 0 }));
    let mut other = opened.clone();
    other.tensors[1][0] ^= 1;
    assert_eq!(run(&other), Err(NotShown::Value { at: 1 }));
    let mut other = opened.clone();
    other.tensors.pop();
    assert!(matches!(run(&other), Err(NotShown::Value { .. })));
    assert_eq!(run(&opened), Ok(leaves[2]));
    assert_eq!(party.open(trace, 99).unwrap(), None);
}

#[test]
fn a_dispute_over_two_thousand_steps_of_the_cnn_takes_few_moves() {
    let scene = scene(ModelKind::CnnFlower, 28, 512, 32, 64);
    assert_eq!(scene.task.steps(), 2_048);
    let (verdict, moves, bytes) = scene.dispute([Lie::Flipped(1_500), Lie::None]);
    assert_eq!(verdict, Verdict::Wrong(Side::Worker));
    assert!(moves <= 48, "{moves} moves, {bytes} bytes");
    assert!(bytes <= 48 * 1024, "{moves} moves, {bytes} bytes");
}
