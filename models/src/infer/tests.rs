//! Answers do not depend on their neighbours; the blobs come back as they went.

use proptest::prelude::*;
use protocol::job::ModelKind;
use protocol::rng::Rng;

use super::*;
use crate::verify::{self, Verdict};

fn spec() -> ModelSpec {
    ModelSpec { kind: ModelKind::CnnFlower, input: [1, 16, 16], classes: 4 }
}

fn inputs(count: usize) -> Vec<f32> {
    let mut rng = Rng::new(2);
    (0..count * 256).map(|_| rng.unit() as f32).collect()
}

#[test]
fn an_answer_is_the_same_bits_alone_and_among_others() {
    let loaded = Loaded::new(&Weights::init(&spec(), 3).unwrap()).unwrap();
    let inputs = inputs(INFER_MINIBATCH + 3);
    let together = loaded.infer(&inputs).unwrap();
    assert_eq!(together.len(), INFER_MINIBATCH + 3);
    for at in [0, 1, 40, INFER_MINIBATCH, INFER_MINIBATCH + 2] {
        assert_eq!(loaded.infer(&inputs[at * 256..][..256]).unwrap(), [together[at].clone()]);
    }
}

#[test]
fn evaluation_counts_what_inference_answers() {
    let loaded = Loaded::new(&Weights::init(&spec(), 3).unwrap()).unwrap();
    let inputs = inputs(70);
    let answers = loaded.infer(&inputs).unwrap();
    let labels = answers.iter().enumerate().map(|(at, a)| if at < 10 { (a.label + 1) % 4 } else { a.label });
    let data = Dataset::new(inputs, [1, 16, 16], labels.collect()).unwrap();
    let found = loaded.evaluate(&data).unwrap();
    assert_eq!((found.examples, found.correct), (70, 60));
    assert!((found.accuracy() - 60.0 / 70.0).abs() < 1e-12);
}

#[test]
fn blobs_come_back_and_verify() {
    let weights = Weights::init(&spec(), 3).unwrap();
    let inputs = inputs(5);
    let blob = encode_inputs(&inputs, [1, 16, 16]).unwrap();
    assert_eq!(decode_inputs(&spec(), &blob, 5).unwrap(), inputs);
    let answers = Loaded::new(&weights).unwrap().infer(&inputs).unwrap();
    let mut bytes = write_answers(100, &answers);
    assert!(bytes.starts_with(br#"{"item":100,"label":"#));
    assert_eq!(read_answers(100, 5, 4, &bytes).unwrap(), answers);
    assert_eq!(verify::inference(&weights, &inputs, 100, &bytes).unwrap(), Verdict::Same);
    bytes[9] = b'9';
    assert_eq!(verify::inference(&weights, &inputs, 100, &bytes).unwrap(), Verdict::Differs { at: 9 });
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let loaded = Loaded::new(&Weights::init(&spec(), 3).unwrap()).unwrap();
    assert!(matches!(loaded.infer(&[0.0; 255]), Err(ModelError::InputLength { got: 255, each: 256 })));
    assert!(loaded.infer(&[f32::NAN; 256]).is_err());
    let blob = encode_inputs(&inputs(5), [1, 16, 16]).unwrap();
    assert!(matches!(decode_inputs(&spec(), &blob, 4), Err(ModelError::Range { .. })));
    let other = encode_inputs(&inputs(5), [1, 8, 32]).unwrap();
    assert!(matches!(decode_inputs(&spec(), &other, 5), Err(ModelError::TensorShape { .. })));
    let nan = encode_inputs(&[f32::NAN; 256], [1, 16, 16]).unwrap();
    assert!(decode_inputs(&spec(), &nan, 5).is_err());
    let weights = Weights::init(&spec(), 3).unwrap().to_bytes();
    assert!(matches!(decode_inputs(&spec(), &weights, 5), Err(ModelError::UnknownTensor(_))));
}

#[test]
fn answers_out_of_order_or_with_a_tail_are_refused() {
    let answer = Answer { label: 1, scores: vec![0.25, 0.5, 0.125, 0.125] };
    let good = write_answers(7, &[answer.clone(), answer]);
    assert!(read_answers(7, 2, 4, &good).is_ok());
    assert!(read_answers(8, 2, 4, &good).is_err());
    assert!(read_answers(7, 1, 4, &good).is_err());
    assert!(read_answers(7, 3, 4, &good).is_err());
    assert!(read_answers(7, 2, 5, &good).is_err());
    assert!(read_answers(7, 2, 4, &[&good[..], b"\n"].concat()).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = decode_inputs(&spec(), &bytes, 3);
        let _ = read_answers(0, 2, 4, &bytes);
    }
}
