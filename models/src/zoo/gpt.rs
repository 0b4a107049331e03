//! A GPT-style transformer: token and position embeddings, blocks of causal attention and a two-layer perceptron with
//! GELU, each behind a layer normalisation and with a residual, and the embedding's own table as the last layer.
//! Tensors are named as GPT-2's; linear layers are [out, in].
//!
//! Its answers are logits at every position: of the token that follows.

use protocol::job::{ModelKind, ModelSpec};
use protocol::limits::{BLOCKS_MAX, DIMENSION_MAX, DROPOUT_MAX, POSITIONS_MAX};

use crate::engine::{Builder, Program, ValueId};
use crate::error::ModelError;
use crate::kernels::activation::Activation;
use crate::kernels::attention::Attention;
use crate::kernels::dense::DenseShape;
use crate::kernels::norm::{Norm, NormKind};
use crate::kernels::random::Keep;
use crate::zoo::{Init, within};

const EPSILON: f32 = 1e-5;
/// Deviation of the initial embeddings.
const DEVIATION: f64 = 0.02;

/// Sizes of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Tokens there are.
    pub vocabulary: usize,
    /// Positions the model has embeddings for.
    pub context: usize,
    /// Blocks.
    pub layers: usize,
    /// Heads of each attention.
    pub heads: usize,
    /// Values of a position; a multiple of `heads`.
    pub width: usize,
    /// Of 1,000 values of the embeddings and of what each block adds, how many are dropped while training; below 1,000.
    pub dropout: u32,
}

impl Config {
    /// The model of a spec: its sequences are as long as the input, its classes the vocabulary. Refuses other models.
    pub fn new(spec: &ModelSpec) -> Result<Self, ModelError> {
        let ModelKind::Gpt { layers, heads, width, dropout } = spec.kind else {
            return Err(ModelError::InputKind { got: "sequences of tokens", want: "values" });
        };
        let [channels, rows, positions] = spec.input;
        within("channels of sequences", channels.into(), 1, 1)?;
        within("rows of sequences", rows.into(), 1, 1)?;
        within("dropout in 1,000", dropout.into(), 0, DROPOUT_MAX.into())?;
        let [layers, heads, width] = [layers, heads, width].map(|size| size as usize);
        let (vocabulary, context) = (spec.classes as usize, positions as usize);
        let config = Self { vocabulary, context, layers, heads, width, dropout };
        config.check(config.context)?;
        Ok(config)
    }

    /// The model for sequences of so many positions, with its training; inputs are tokens, then position numbers.
    ///
    /// Refuses sizes of zero or too large to count, and sequences beyond the context.
    pub fn program(&self, positions: usize, moments: usize) -> Result<Program, ModelError> {
        self.check(positions)?;
        let mut model = Builder::default();
        let logits = self.build(&mut model, positions);
        Ok(model.finish(logits, self.vocabulary, moments))
    }

    fn check(&self, positions: usize) -> Result<(), ModelError> {
        let most = DIMENSION_MAX.into();
        within("vocabulary", self.vocabulary as u64, 2, most)?;
        within("context", self.context as u64, 1, POSITIONS_MAX.into())?;
        within("width", self.width as u64, 1, most)?;
        within("number of heads", self.heads as u64, 1, self.width as u64)?;
        within("width beyond whole heads", (self.width % self.heads) as u64, 0, 0)?;
        within("number of layers", self.layers as u64, 1, BLOCKS_MAX.into())?;
        within("number of positions", positions as u64, 1, self.context as u64)
    }

    /// Builds the model for sequences of so many positions; its logits.
    pub(super) fn build(&self, model: &mut Builder, positions: usize) -> ValueId {
        let width = self.width;
        let tokens = model.tokens("tokens", positions);
        let places = model.tokens("positions", positions);
        let normal = Init::Normal(DEVIATION);
        let table = model.weight("wte.weight", vec![self.vocabulary, width], normal);
        let place_table = model.weight("wpe.weight", vec![self.context, width], normal);
        let x = model.embed("wte", table, tokens, width);
        let places = model.embed("wpe", place_table, places, width);
        let x = model.add("embedding", x, places);
        let mut x = self.dropped(model, "embedding.drop", x);
        for layer in 0..self.layers {
            x = self.block(model, &format!("h.{layer}"), x, positions);
        }
        let x = norm(model, "ln_f", x, width);
        let shape = DenseShape { inputs: width, outputs: self.vocabulary, relu: false };
        model.dense_tied("lm_head", x, table, positions, shape)
    }

    fn block(&self, model: &mut Builder, name: &str, x: ValueId, positions: usize) -> ValueId {
        let width = self.width;
        let part = |part: &str| format!("{name}.{part}");
        let dense = |model: &mut Builder, part: String, x, inputs, outputs| {
            model.dense(&part, x, positions, DenseShape { inputs, outputs, relu: false })
        };
        let y = norm(model, &part("ln_1"), x, width);
        let qkv = dense(model, part("attn.c_attn"), y, width, 3 * width);
        let shape = Attention { heads: self.heads, depth: width / self.heads };
        let y = model.attention(&part("attn"), qkv, shape, positions);
        let y = dense(model, part("attn.c_proj"), y, width, width);
        let y = self.dropped(model, &part("attn.drop"), y);
        let x = model.add(&part("attn.sum"), x, y);
        let y = norm(model, &part("ln_2"), x, width);
        let y = dense(model, part("mlp.c_fc"), y, width, 4 * width);
        let y = model.activation(&part("mlp.gelu"), y, Activation::Gelu);
        let y = dense(model, part("mlp.c_proj"), y, 4 * width, width);
        let y = self.dropped(model, &part("mlp.drop"), y);
        model.add(&part("mlp.sum"), x, y)
    }

    fn dropped(&self, model: &mut Builder, name: &str, x: ValueId) -> ValueId {
        if self.dropout == 0 { x } else { model.dropout(name, x, Keep::all_but(self.dropout as f32 / 1e3)) }
    }
}

fn norm(model: &mut Builder, name: &str, x: ValueId, width: usize) -> ValueId {
    model.norm(name, x, Norm { kind: NormKind::Layer { width }, epsilon: EPSILON })
}

#[cfg(test)]
mod tests;
