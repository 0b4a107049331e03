//! What the leaves of a training's traces are digests of.

use std::sync::OnceLock;

use protocol::hash::{Digest, Keccak, Tag, tagged};
use protocol::merkle::StaticTree;
use serde::{Deserialize, Serialize};

use super::{TrainingTask, operator_of};
use crate::engine::Program;
use crate::error::ModelError;
use crate::train::Training;
use crate::update;

/// A leaf, opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leaf {
    /// All that a training goes on from.
    State {
        /// Steps taken.
        step: u64,
        /// The bits of the epoch's losses so far (`f64`), each minibatch's times its examples.
        loss: u64,
        /// blake3 of every tensor's weights and of its moments, in canonical order.
        tensors: Vec<Digest>,
    },
    /// blake3 of each of an operator's outputs; of the loss operator, as one more, of the loss (`f64`).
    Outputs(Vec<Digest>),
    /// The numbers ran away here: a leaf like it stands in all places that follow.
    Wild {
        /// The step, from 1.
        step: u64,
        /// The operator of the step, from 1.
        operator: u32,
    },
    /// What the training returned.
    Returned {
        /// The update, a blob.
        update: Digest,
        /// Examples trained on.
        examples: u64,
        /// The bits of the mean loss over the last epoch (`f32`).
        loss: u32,
    },
}

impl Leaf {
    /// The state of a training between two steps.
    pub fn state(training: &Training<'_>) -> Self {
        let session = training.session();
        let values: Vec<&[f32]> =
            session.tensors().flat_map(|(weights, moments)| [weights, moments]).collect();
        // The largest first, so that no thread begins with it when the others are done.
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by_key(|&at| std::cmp::Reverse(values[at].len()));
        let digests: Vec<OnceLock<Digest>> = values.iter().map(|_| OnceLock::new()).collect();
        session.machine().pool.run(order.len(), &|task| {
            let at = order[task];
            digests[at].get_or_init(|| of_floats(values[at]));
        });
        let tensors = digests.into_iter().map(|digest| digest.into_inner().expect("every task has run"));
        let tensors = tensors.collect();
        Self::State { step: training.step(), loss: training.loss().to_bits(), tensors }
    }

    /// What a training that started from the weights `base` returns after its last step: the update, and its leaf.
    pub fn returned(
        task: &TrainingTask,
        base: &[f32],
        training: &Training<'_>,
    ) -> Result<(Vec<u8>, Self), ModelError> {
        let update = update::encode(base, &training.session().weights(), task.scale_bits)?;
        let (digest, loss) = (Digest::of(&update), training.mean_loss().to_bits());
        Ok((update, Self::Returned { update: digest, examples: task.examples, loss }))
    }

    /// Where the numbers ran away, if that is what an error says.
    pub fn wild(program: &Program, error: ModelError) -> Result<Self, ModelError> {
        let ModelError::NotFinite { step, operator } = &error else { return Err(error) };
        match program.nodes().iter().position(|node| node.name == *operator) {
            Some(node) => Ok(Self::Wild { step: *step, operator: operator_of(node) }),
            None => Err(error),
        }
    }

    /// The leaf of this task's trace.
    pub fn digest(&self, task: &Digest) -> Keccak {
        match self {
            Self::State { step, loss, tensors } => {
                let leaves: Vec<Keccak> = tensors.iter().map(|digest| Keccak(digest.0)).collect();
                let root = StaticTree::new(&leaves).map_or(Keccak::ZERO, |tree| tree.root());
                let count = (tensors.len() as u32).to_be_bytes();
                let parts: [&[u8]; 5] = [&task.0, &step.to_be_bytes(), &loss.to_be_bytes(), &count, &root.0];
                tagged(Tag::TrainingState, &parts)
            }
            Self::Outputs(digests) => {
                let digests: Vec<&[u8]> = digests.iter().map(|digest| &digest.0[..]).collect();
                tagged(Tag::Outputs, &digests)
            }
            Self::Wild { step, operator } => {
                tagged(Tag::Wild, &[&task.0, &step.to_be_bytes(), &operator.to_be_bytes()])
            }
            Self::Returned { update, examples, loss } => {
                let parts: [&[u8]; 4] = [&task.0, &update.0, &examples.to_be_bytes(), &loss.to_be_bytes()];
                tagged(Tag::Returned, &parts)
            }
        }
    }
}

/// blake3 of `f32`s, little-endian.
pub fn of_floats(values: &[f32]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    // As much at once as its widest vectors take.
    let mut buffer = [0; 16 * 1024];
    for some in values.chunks(buffer.len() / 4) {
        let bytes = &mut buffer[..4 * some.len()];
        for (bytes, value) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(some) {
            *bytes = value.to_le_bytes();
        }
        hasher.update(bytes);
    }
    Digest(*hasher.finalize().as_bytes())
}
