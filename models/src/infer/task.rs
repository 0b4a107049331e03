//! An inference task, whatever its model: an input blob in, an answers blob out.

use protocol::job::ModelSpec;

use super::generate::{self, Generator, TOGETHER};
use super::{Loaded, decode_inputs, prompts, read_answers, write_answers};
use crate::error::ModelError;
use crate::kernels::Machine;
use crate::train::{self, Control};
use crate::weights::Weights;

/// Items answered between two reports.
pub const ITEMS_AT_ONCE: usize = 256;
/// Bytes of an item's line beyond its scores or tokens.
const LINE_BYTES: u64 = 256;

/// A model with its weights in memory, for tasks.
#[derive(Debug)]
pub enum Answering {
    /// One that tells classes apart.
    Classes(Box<Loaded>),
    /// One that goes on with sequences.
    Tokens(Box<Generator>),
}

impl Answering {
    /// Builds the model once, for any machine.
    pub fn new(weights: &Weights, machine: Machine) -> Result<Self, ModelError> {
        Ok(if weights.spec().kind.is_sequential() {
            Self::Tokens(Box::new(Generator::new(weights, machine)?))
        } else {
            Self::Classes(Box::new(Loaded::on(weights, machine)?))
        })
    }

    /// The model's shapes.
    pub fn spec(&self) -> &ModelSpec {
        match self {
            Self::Classes(model) => model.spec(),
            Self::Tokens(model) => model.spec(),
        }
    }

    /// The answers blob to an input blob that must hold `items`, counted from `first_item` on; `progress` is told
    /// before each run of items how many are done, and may end it.
    pub fn answer(
        &mut self,
        first_item: u64,
        items: u32,
        input: &[u8],
        progress: &mut dyn FnMut(u64) -> Control,
    ) -> Result<Vec<u8>, ModelError> {
        let mut go_on = |done: usize| match progress(done as u64) {
            Control::Continue => Ok(first_item.saturating_add(done as u64)),
            Control::Cancel => Err(ModelError::Cancelled { step: done as u64 }),
        };
        let whole = |got: usize| match got as u64 == u64::from(items) {
            true => Ok(()),
            false => {
                let (what, got, want) = ("number of items in the input", got as u64, items.into());
                Err(ModelError::Range { what, got, least: want, most: want })
            }
        };
        let mut answers = Vec::new();
        match self {
            Self::Classes(model) => {
                let each = model.spec().input_len();
                let inputs = decode_inputs(model.spec(), input, items.into())?;
                whole(inputs.len() / each)?;
                for (at, some) in inputs.chunks(each * ITEMS_AT_ONCE).enumerate() {
                    let first = go_on(at * ITEMS_AT_ONCE)?;
                    answers.extend(write_answers(first, &model.infer(some)?));
                }
            }
            Self::Tokens(model) => {
                let prompts = prompts::decode(model.spec(), input, items.into())?;
                whole(prompts.len())?;
                for (at, some) in prompts.chunks(TOGETHER).enumerate() {
                    let first = go_on(at * TOGETHER)?;
                    answers.extend(prompts::write(first, &model.generate(some)?));
                }
            }
        }
        Ok(answers)
    }
}

/// The most bytes that the answers to so many items can have.
pub fn answers_bytes_max(spec: &ModelSpec, items: u32) -> u64 {
    let each = if spec.kind.is_sequential() {
        12u64.saturating_mul(spec.input_len() as u64)
    } else {
        24 * u64::from(spec.classes)
    };
    u64::from(items).saturating_mul(LINE_BYTES.saturating_add(each))
}

/// Whether an answers blob has the form that a model's answers have: exactly `count` items, in order.
pub fn check_answers(
    spec: &ModelSpec,
    first_item: u64,
    count: usize,
    bytes: &[u8],
) -> Result<(), ModelError> {
    if spec.kind.is_sequential() {
        prompts::read(spec, first_item, count, bytes).map(drop)
    } else {
        read_answers(first_item, count, spec.classes, bytes).map(drop)
    }
}

/// About the bytes that answering takes beside input and answers.
pub fn memory_bytes(spec: &ModelSpec, items: u32) -> Result<u64, ModelError> {
    if spec.kind.is_sequential() {
        generate::memory_bytes(spec)
    } else {
        train::memory_bytes(spec, items.min(ITEMS_AT_ONCE as u32))
    }
}
