//! Which model a job is about.

use serde::{Deserialize, Serialize};

use super::spec::SpecError;
use super::work::range;
use crate::limits::{BLOCKS_MAX, DIMENSION_MAX, DROPOUT_MAX, HIDDEN_LAYERS_MAX, POSITIONS_MAX};

/// The architecture. What it computes, and whether the shapes fit it, is for the crate `models` to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelKind {
    /// Multinomial logistic regression.
    Logistic,
    /// Fully connected layers with ReLU between them.
    Mlp {
        /// Width of each hidden layer, first to last.
        hidden: Vec<u32>,
    },
    /// The CNN of McMahan et al., "Communication-efficient learning of deep networks from decentralized data", 2017.
    CnnFedavg,
    /// The two-convolution CNN of Flower's NIID-Bench baseline (Li et al., 2022).
    CnnFlower,
    /// ResNet-20 of He et al., 2016, with group normalisation.
    Resnet20,
    /// A GPT-style transformer with tied embeddings. `input` is [1, 1, the longest sequence], `classes` the vocabulary;
    /// an example is a sequence of tokens, each of which is to be told from those before it.
    Gpt {
        /// Blocks of attention and perceptron.
        layers: u32,
        /// Heads of an attention.
        heads: u32,
        /// Values of a position, a multiple of `heads`.
        width: u32,
        /// Of 1,000 values of the embeddings and of each block's two additions, how many are dropped while training.
        dropout: u32,
    },
}

impl ModelKind {
    /// Whether examples are sequences of tokens, not values with a label.
    pub const fn is_sequential(&self) -> bool {
        matches!(self, Self::Gpt { .. })
    }
}

/// A model with its shapes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// The architecture.
    pub kind: ModelKind,
    /// One example's shape: channels, height, width.
    pub input: [u32; 3],
    /// Classes to tell apart.
    pub classes: u32,
}

impl ModelSpec {
    /// Values in one example.
    pub fn input_len(&self) -> usize {
        self.input.iter().map(|&side| side as usize).product()
    }

    pub(super) fn check(&self) -> Result<(), SpecError> {
        let within = |what: &'static str, got: u32, least: u32| {
            range(what, got.into(), least.into(), DIMENSION_MAX.into())
        };
        for side in self.input {
            within("model.input", side, 1)?;
        }
        let values: u64 =
            self.input.iter().map(|&side| u64::from(side)).try_fold(1, u64::checked_mul).unwrap_or(u64::MAX);
        range("model.input (values)", values, 1, 1 << 24)?;
        within("model.classes", self.classes, 2)?;
        match &self.kind {
            ModelKind::Mlp { hidden } => {
                range("model.hidden (layers)", hidden.len() as u64, 0, HIDDEN_LAYERS_MAX as u64)?;
                hidden.iter().try_for_each(|&width| within("model.hidden", width, 1))
            }
            ModelKind::Gpt { layers, heads, width, dropout } => {
                let [channels, height, positions] = self.input;
                range("model.input (channels of sequences)", channels.into(), 1, 1)?;
                range("model.input (rows of sequences)", height.into(), 1, 1)?;
                range("model.input (positions)", positions.into(), 1, POSITIONS_MAX.into())?;
                range("model.layers", (*layers).into(), 1, BLOCKS_MAX.into())?;
                within("model.width", *width, 1)?;
                range("model.dropout", (*dropout).into(), 0, DROPOUT_MAX.into())?;
                range("model.heads", (*heads).into(), 1, (*width).into())?;
                range("model.width (beyond whole heads)", (width % heads).into(), 0, 0)
            }
            ModelKind::Logistic | ModelKind::CnnFedavg | ModelKind::CnnFlower | ModelKind::Resnet20 => Ok(()),
        }
    }
}
