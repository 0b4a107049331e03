//! Answers: a model held warm, inputs in, labels and scores out; or prompts in, tokens out.
//!
//! | file | holds |
//! | --- | --- |
//! | `infer.rs` | [`Loaded`]: labels and scores, and their blobs |
//! | [`generate`] | [`generate::Generator`]: the tokens that follow, greedily, from keys and values that are kept |
//! | [`prompts`] | the blobs of prompts and of the tokens that follow |
//! | [`task`] | [`task::Answering`]: whatever an inference task asks |

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use protocol::job::ModelSpec;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::engine::{Batch, Session};
use crate::error::ModelError;
use crate::kernels::Machine;
use crate::kernels::optimiser::Optimiser;
use crate::kernels::real::ln;
use crate::kernels::softmax::softmax;
use crate::train::check_data;
use crate::weights::{HEADER_BYTES_MAX, Weights};
use crate::zoo;

pub mod generate;
pub mod prompts;
pub mod task;

/// Inputs that go through a model together; an answer does not depend on it.
pub const INFER_MINIBATCH: usize = 64;

/// A model with its weights in memory, to be asked again and again.
#[derive(Debug)]
pub struct Loaded {
    spec: ModelSpec,
    /// Asked by one caller at a time.
    session: Mutex<Session>,
}

/// The answer for one input.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The class with the highest score; the first of equals.
    pub label: u32,
    /// Softmax scores, one a class.
    pub scores: Vec<f32>,
}

/// How well a model does on labelled examples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Examples asked.
    pub examples: u64,
    /// Examples answered with their label.
    pub correct: u64,
    /// Mean cross-entropy, of the scores as they are given.
    pub loss: f32,
}

impl Evaluation {
    /// The share answered right, in [0, 1].
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.examples as f64
    }
}

impl Loaded {
    /// Builds the model once, for one thread.
    pub fn new(weights: &Weights) -> Result<Self, ModelError> {
        Self::on(weights, Machine::new(1))
    }

    /// The same for any machine, to the same bits; refuses models of sequences.
    pub fn on(weights: &Weights, machine: Machine) -> Result<Self, ModelError> {
        if weights.spec().kind.is_sequential() {
            let (got, want) = ("values", "sequences of tokens");
            return Err(ModelError::InputKind { got, want });
        }
        let program = zoo::program(weights.spec(), 0)?;
        // No step is taken, so the optimiser does not matter.
        let none = Optimiser::Sgd { rate: 0.0, momentum: 0.0 };
        let session = Mutex::new(Session::new(program, weights.values(), none, machine)?);
        Ok(Self { spec: weights.spec().clone(), session })
    }

    /// The model's shapes.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Answers for inputs laid one after another; refuses a length that is no multiple of the model's input, and
    /// values that are not finite.
    ///
    /// Each answer depends on its own input only, to the bit.
    pub fn infer(&self, inputs: &[f32]) -> Result<Vec<Answer>, ModelError> {
        let each = self.spec.input_len();
        if !inputs.len().is_multiple_of(each) {
            return Err(ModelError::InputLength { got: inputs.len(), each });
        }
        if let Some(at) = inputs.iter().position(|value| !value.is_finite()) {
            return Err(crate::data::DataError::NotFinite { at: at / each }.into());
        }
        let mut answers = Vec::with_capacity(inputs.len() / each);
        for batch in inputs.chunks(each * INFER_MINIBATCH) {
            let scores = self.scores(batch)?;
            answers.extend(scores.chunks_exact(self.spec.classes as usize).map(|scores| {
                let best = scores
                    .iter()
                    .enumerate()
                    .fold(0, |best, (at, s)| if *s > scores[best] { at } else { best });
                Answer { label: best as u32, scores: scores.to_vec() }
            }));
        }
        Ok(answers)
    }

    /// Accuracy and loss on labelled examples.
    pub fn evaluate(&self, data: &Dataset) -> Result<Evaluation, ModelError> {
        check_data(&self.spec, data)?;
        let (mut correct, mut loss) = (0, 0.0);
        let each = self.spec.input_len() * INFER_MINIBATCH;
        for (inputs, labels) in data.inputs().chunks(each).zip(data.labels().chunks(INFER_MINIBATCH)) {
            for (answer, &label) in self.infer(inputs)?.iter().zip(labels) {
                correct += u64::from(answer.label == label);
                // A score that `f32` rounds to 0 counts as the smallest there is.
                loss -= ln(f64::from(answer.scores[label as usize].max(f32::MIN_POSITIVE)));
            }
        }
        let examples = data.len() as u64;
        Ok(Evaluation { examples, correct, loss: (loss / examples as f64) as f32 })
    }

    fn scores(&self, inputs: &[f32]) -> Result<Vec<f32>, ModelError> {
        let classes = self.spec.classes as usize;
        // A session that panicked has been given nothing that the next question does not give again.
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.infer(&[Batch::Floats(inputs)], None).map_err(|error| match error {
            ModelError::NotFinite { operator, .. } => ModelError::AnswerNotFinite { operator },
            error => error,
        })?;
        let mut scores = vec![0.0; session.logits().len()];
        softmax(session.machine(), session.logits(), classes, &mut scores);
        Ok(scores)
    }
}

/// The blob of one inference task's inputs: safetensors with one tensor "input" of [n, channels, height, width].
///
/// Refuses a length that is not whole examples.
pub fn encode_inputs(inputs: &[f32], shape: [u32; 3]) -> Result<Vec<u8>, ModelError> {
    let each: usize = shape.iter().map(|&side| side as usize).product();
    if each == 0 || !inputs.len().is_multiple_of(each) {
        return Err(ModelError::InputLength { got: inputs.len(), each });
    }
    let [channels, height, width] = shape.map(|side| side as usize);
    let bytes: Vec<u8> = inputs.iter().flat_map(|value| value.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![inputs.len() / each, channels, height, width], &bytes);
    let view = view.map_err(|error| ModelError::Format(error.to_string()))?;
    safetensors::serialize([(INPUT, view)], None).map_err(|error| ModelError::Format(error.to_string()))
}

/// The inputs in such a blob, for a model of this shape and at most `items_max` of them; all finite.
pub fn decode_inputs(spec: &ModelSpec, bytes: &[u8], items_max: u64) -> Result<Vec<f32>, ModelError> {
    let most = (4 * spec.input_len() as u64).saturating_mul(items_max).saturating_add(HEADER_BYTES_MAX);
    if bytes.len() as u64 > most {
        return Err(ModelError::Range { what: "input file size", got: bytes.len() as u64, least: 0, most });
    }
    let file = SafeTensors::deserialize(bytes).map_err(|error| ModelError::Format(error.to_string()))?;
    if let Some(name) = file.names().into_iter().find(|&name| name != INPUT) {
        return Err(ModelError::UnknownTensor(name.chars().take(100).collect()));
    }
    let view = file.tensor(INPUT).map_err(|_| ModelError::MissingTensor(INPUT.into()))?;
    let want = spec.input.map(|side| side as usize);
    let fits = matches!(view.shape(), [_, shape @ ..] if shape == want) && view.dtype() == Dtype::F32;
    if !fits {
        let got = format!("{:?} {:?}", view.dtype(), view.shape());
        return Err(ModelError::TensorShape { name: INPUT.into(), got, want: want.into() });
    }
    let items = view.shape()[0] as u64;
    if items > items_max {
        return Err(ModelError::Range { what: "number of inputs", got: items, least: 0, most: items_max });
    }
    let values: Vec<f32> =
        view.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(crate::data::DataError::NotFinite { at: at / spec.input_len() }.into()),
        None => Ok(values),
    }
}

/// The answers blob: JSON lines `{"item":…,"label":…,"scores":[…]}`, items counted from `first_item` on.
///
/// Scores have as many digits as bring back the same `f32`: equal answers have equal bytes.
pub fn write_answers(first_item: u64, answers: &[Answer]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (item, answer) in (first_item..).zip(answers) {
        let line = Line { item, label: answer.label, scores: Cow::Borrowed(&answer.scores) };
        serde_json::to_writer(&mut bytes, &line).expect("writing numbers to memory cannot fail");
        bytes.push(b'\n');
    }
    bytes
}

/// The answers in such a blob: exactly `count`, in order, each with a score a class.
pub fn read_answers(
    first_item: u64,
    count: usize,
    classes: u32,
    bytes: &[u8],
) -> Result<Vec<Answer>, ModelError> {
    let wrong = |line: usize, problem: String| ModelError::Answers { line: line + 1, problem };
    let mut answers = Vec::new();
    let mut lines = bytes.split(|&byte| byte == b'\n');
    for at in 0..count {
        let text = lines.next().unwrap_or_default();
        let line: Line<'_> = serde_json::from_slice(text).map_err(|error| wrong(at, error.to_string()))?;
        if line.item != first_item + at as u64
            || line.label >= classes
            || line.scores.len() != classes as usize
        {
            return Err(wrong(at, format!("expected item {} with {classes} scores", first_item + at as u64)));
        }
        if line.scores.iter().any(|score| !(0.0..=1.0).contains(score)) {
            return Err(wrong(at, "a score is not in [0, 1]".into()));
        }
        answers.push(Answer { label: line.label, scores: line.scores.into_owned() });
    }
    match (lines.next(), lines.next()) {
        (Some([]), None) => Ok(answers),
        _ => Err(wrong(count, "expected the end of the file".into())),
    }
}

const INPUT: &str = "input";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    item: u64,
    label: u32,
    scores: Cow<'a, [f32]>,
}

#[cfg(test)]
mod tests;
