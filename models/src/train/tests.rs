//! Training learns, repeats itself to the bit, and says what stopped it.

use protocol::job::ModelKind;
use protocol::rng::Rng;

use super::*;
use crate::infer::Loaded;
use crate::update;
use crate::verify::{self, Verdict};

const PARAMS: TrainParams =
    TrainParams { local_epochs: 3, minibatch: 8, learning_rate: 0.05, momentum: 0.9, seed: 7 };

/// Stripes: the class is how far they are apart.
fn stripes(count: usize, side: usize) -> Dataset {
    let mut rng = Rng::new(11);
    let (mut inputs, mut labels) = (Vec::new(), Vec::new());
    for at in 0..count {
        let label = at % 3;
        for pixel in 0..side * side {
            let on = (pixel % side).is_multiple_of(label + 2);
            inputs.push(if on { 0.8 } else { 0.1 } + 0.1 * rng.unit() as f32);
        }
        labels.push(label as u32);
    }
    Dataset::new(inputs, [1, side as u32, side as u32], labels).unwrap()
}

fn spec(kind: ModelKind, side: u32) -> ModelSpec {
    ModelSpec { kind, input: [1, side, side], classes: 3 }
}

fn run(weights: &Weights, data: &Dataset, params: &TrainParams) -> Result<Trained, ModelError> {
    train(weights, data, params, &mut |_| Control::Continue)
}

#[test]
fn every_model_learns_and_repeats_itself_to_the_bit() {
    let data = stripes(120, 16);
    let kinds = [
        ModelKind::Logistic,
        ModelKind::Mlp { hidden: vec![24] },
        ModelKind::CnnFlower,
        ModelKind::CnnFedavg,
        ModelKind::Resnet20,
    ];
    for kind in kinds {
        let weights = Weights::init(&spec(kind.clone(), 16), 1).unwrap();
        let trained = run(&weights, &data, &PARAMS).unwrap();
        assert_eq!((trained.examples, trained.steps), (120, 45));
        let before = Loaded::new(&weights).unwrap().evaluate(&data).unwrap();
        let after = Loaded::new(&trained.weights).unwrap().evaluate(&data).unwrap();
        assert!(after.loss < 0.9 * before.loss, "{kind:?}: {before:?}, then {after:?}");
        assert_eq!(run(&weights, &data, &PARAMS).unwrap(), trained, "{kind:?}");
        let other = run(&weights, &data, &TrainParams { seed: 8, ..PARAMS }).unwrap();
        assert_ne!(other.weights, trained.weights, "{kind:?}: the order follows from the seed");
    }
}

#[test]
fn a_transformer_learns_what_follows_what_on_any_number_of_threads() {
    // Each token follows from the one before it, but for every fifth.
    let mut rng = Rng::new(3);
    let mut token = 0;
    let tokens: Vec<u32> = (0..96 * 13)
        .map(|_| {
            token = if rng.chance(1, 5) { rng.below(11) as u32 } else { (2 * token + 3) % 11 };
            token
        })
        .collect();
    let data = Dataset::sequences(&tokens, 12).unwrap();
    let kind = ModelKind::Gpt { layers: 2, heads: 2, width: 16, dropout: 0 };
    let spec = ModelSpec { kind, input: [1, 1, 12], classes: 11 };
    let weights = Weights::init(&spec, 1).unwrap();
    let params = TrainParams { local_epochs: 20, ..PARAMS };
    let run = |threads, go_on: &mut dyn FnMut(Progress) -> Control| {
        train_on(Machine::new(threads), &weights, &data, &params, go_on, None).unwrap()
    };
    let mut losses = Vec::new();
    let trained = run(1, &mut |now| {
        losses.push(now.loss);
        Control::Continue
    });
    // ln 11 is 2.4; knowing all but what is drawn would be 0.96.
    assert!((losses[0] - 2.4).abs() < 0.1 && trained.loss < 1.4, "{}, then {}", losses[0], trained.loss);
    assert_eq!(run(3, &mut |_| Control::Continue), trained);
    let values = stripes(6, 12);
    assert!(matches!(run_refused(&weights, &values), ModelError::InputKind { .. }));
    let wide = Dataset::sequences(&[11; 13], 12).unwrap();
    assert!(matches!(run_refused(&weights, &wide), ModelError::Token { token: 11, .. }));
    let long = Dataset::sequences(&[1; 14], 13).unwrap();
    assert!(matches!(run_refused(&weights, &long), ModelError::InputShape { .. }));
}

fn run_refused(weights: &Weights, data: &Dataset) -> ModelError {
    run(weights, data, &PARAMS).unwrap_err()
}

#[test]
fn the_bits_are_the_same_on_every_machine() {
    let data = stripes(60, 16);
    let weights = Weights::init(&spec(ModelKind::CnnFlower, 16), 1).unwrap();
    let trained = run(&weights, &data, &PARAMS).unwrap();
    assert_eq!(
        trained.weights.digest().to_string(),
        "0x82037b3d26fb320040b545cfdfe37f5b6bc2b813b33565af436f24821c2cab6f",
        "a change here makes every verifier disagree with every worker of before"
    );
}

#[test]
fn a_second_run_verifies_the_first_and_catches_a_changed_bit() {
    let data = stripes(40, 16);
    let weights = Weights::init(&spec(ModelKind::CnnFlower, 16), 1).unwrap();
    let trained = run(&weights, &data, &PARAMS).unwrap();
    let mut claimed = update::encode(weights.values(), trained.weights.values(), 24).unwrap();
    let check = |claimed: &[u8]| verify::training(&weights, &data, &PARAMS, 24, claimed).unwrap();
    assert_eq!(check(&claimed), Verdict::Same);
    claimed[100] ^= 1;
    assert_eq!(check(&claimed), Verdict::Differs { at: 100 });
    assert_eq!(check(&claimed[..50]), Verdict::Differs { at: 50 });
}

#[test]
fn it_stops_when_told_to_and_says_where() {
    let data = stripes(40, 16);
    let weights = Weights::init(&spec(ModelKind::Logistic, 16), 1).unwrap();
    let mut seen = Vec::new();
    let stopped = train(&weights, &data, &PARAMS, &mut |now| {
        seen.push((now.epoch, now.step, now.steps));
        if now.step == 6 { Control::Cancel } else { Control::Continue }
    });
    assert!(matches!(stopped, Err(ModelError::Cancelled { step: 6 })));
    assert_eq!(seen, [(1, 1, 15), (1, 2, 15), (1, 3, 15), (1, 4, 15), (1, 5, 15), (2, 6, 15)]);
}

#[test]
fn a_run_that_diverges_names_its_step() {
    let data = stripes(40, 16);
    let weights = Weights::init(&spec(ModelKind::CnnFlower, 16), 1).unwrap();
    let wild = TrainParams { learning_rate: 1e30, ..PARAMS };
    assert!(matches!(run(&weights, &data, &wild), Err(ModelError::NotFinite { step: 1..=3, .. })));
}

#[test]
fn what_does_not_fit_is_refused() {
    let data = stripes(6, 16);
    let weights = Weights::init(&spec(ModelKind::Logistic, 16), 1).unwrap();
    let refused = |params: TrainParams| run(&weights, &data, &params).unwrap_err().to_string();
    assert!(refused(TrainParams { local_epochs: 0, ..PARAMS }).contains("local_epochs"));
    assert!(refused(TrainParams { minibatch: 0, ..PARAMS }).contains("minibatch"));
    assert!(refused(TrainParams { learning_rate: f32::NAN, ..PARAMS }).contains("learning_rate"));
    assert!(refused(TrainParams { momentum: 1.0, ..PARAMS }).contains("momentum"));
    let other = Weights::init(&spec(ModelKind::Logistic, 15), 1).unwrap();
    assert!(matches!(run(&other, &data, &PARAMS), Err(ModelError::InputShape { .. })));
    let few = ModelSpec { classes: 2, ..spec(ModelKind::Logistic, 16) };
    let few = Weights::init(&few, 1).unwrap();
    assert!(matches!(run(&few, &data, &PARAMS), Err(ModelError::Label { at: 2, label: 2, classes: 2 })));
    let none = data.subset(&[]);
    assert!(matches!(run(&weights, &none, &PARAMS), Err(ModelError::NoExamples)));
}
