//! The tokens that follow a prompt: at each place the one with the highest logit, the first of equals.
//!
//! Keys and values of what came before are kept, so that a step computes one position. All operators but attention work
//! row by row, and attention sums over the keys in their order ([`crate::kernels::attention`]): one pass over a
//! sequence, chunks of it, one token at a time and many sequences at once give the same bits.

use protocol::job::ModelSpec;

use super::prompts::Prompt;
use crate::engine::{Batch, Session};
use crate::error::ModelError;
use crate::kernels::Machine;
use crate::kernels::attention::{Attention, decode};
use crate::kernels::optimiser::Optimiser;
use crate::weights::Weights;
use crate::zoo::gpt;

/// Prompts that are gone on with together.
pub const TOGETHER: usize = 8;
/// Positions of a prompt that go through the model at a time.
const CHUNK: usize = 64;

/// A model of sequences with its weights in memory.
#[derive(Debug)]
pub struct Generator {
    spec: ModelSpec,
    layers: usize,
    width: usize,
    /// Of the model for one position.
    session: Session,
}

/// A sequence as far as the model has seen it.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// Keys and values of each layer, position after position.
    kept: Vec<[Vec<f32>; 2]>,
    len: usize,
}

impl Generator {
    /// Builds the model once; refuses models that are not of sequences.
    pub fn new(weights: &Weights, machine: Machine) -> Result<Self, ModelError> {
        let spec = weights.spec().clone();
        let config = gpt::Config::new(&spec)?;
        let program = config.program(1, 0)?;
        // No step is taken, so the optimiser does not matter.
        let none = Optimiser::Sgd { rate: 0.0, momentum: 0.0 };
        let session = Session::new(program, weights.values(), none, machine)?;
        Ok(Self { spec, layers: config.layers, width: config.width, session })
    }

    /// The model's shapes.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// A sequence of which the model has seen nothing.
    pub fn begin(&self) -> Sequence {
        Sequence { kept: vec![Default::default(); self.layers], len: 0 }
    }

    /// Shows the model the next tokens of some sequences; the logits after each token, piece after piece.
    ///
    /// Refuses tokens that the model does not have and sequences longer than its longest; what is not finite ends it,
    /// and the sequences are worth nothing then.
    pub fn extend(&mut self, pieces: &mut [(&mut Sequence, &[u32])]) -> Result<&[f32], ModelError> {
        let (most, vocabulary, width) = (self.spec.input_len(), self.spec.classes, self.width);
        let (mut tokens, mut places) = (Vec::new(), Vec::new());
        for (at, (sequence, piece)) in pieces.iter().enumerate() {
            let end = sequence.len + piece.len();
            if end > most {
                let (what, got, most) = ("length of a sequence", end as u64, most as u64);
                return Err(ModelError::Range { what, got, least: 1, most });
            }
            if let Some(&token) = piece.iter().find(|&&token| token >= vocabulary) {
                return Err(ModelError::Token { at, token, vocabulary });
            }
            tokens.extend_from_slice(piece);
            places.extend(sequence.len as u32..end as u32);
        }
        let mut layer = 0;
        let mut attend = |machine: &Machine, shape: Attention, qkv: &[f32], out: &mut [f32]| {
            let mut row = 0;
            for (sequence, piece) in pieces.iter_mut() {
                let rows = row..row + piece.len();
                let qkv = &qkv[3 * width * rows.start..3 * width * rows.end];
                let out = &mut out[width * rows.start..width * rows.end];
                follow(machine, shape, &mut sequence.kept[layer], sequence.len, qkv, out);
                row = rows.end;
            }
            layer += 1;
        };
        let inputs = [Batch::Tokens(&tokens), Batch::Tokens(&places)];
        self.session.infer_with(&inputs, &mut attend).map_err(|error| match error {
            ModelError::NotFinite { operator, .. } => ModelError::AnswerNotFinite { operator },
            error => error,
        })?;
        pieces.iter_mut().for_each(|(sequence, piece)| sequence.len += piece.len());
        Ok(self.session.logits())
    }

    /// What follows each of these prompts, [`TOGETHER`] at a time.
    ///
    /// Refuses prompts as [`Prompt::check`] does.
    pub fn generate(&mut self, prompts: &[Prompt]) -> Result<Vec<Vec<u32>>, ModelError> {
        prompts.iter().enumerate().try_for_each(|(at, prompt)| prompt.check(&self.spec, at))?;
        let mut all = Vec::with_capacity(prompts.len());
        for prompts in prompts.chunks(TOGETHER) {
            let mut runs = Vec::with_capacity(prompts.len());
            for prompt in prompts {
                let mut sequence = self.begin();
                let mut next = 0;
                for piece in prompt.tokens.chunks(CHUNK) {
                    next = self.last(&mut sequence, piece)?;
                }
                runs.push((sequence, vec![next], prompt.wanted as usize));
            }
            self.follow_up(&mut runs)?;
            all.extend(runs.into_iter().map(|(_, followed, _)| followed));
        }
        Ok(all)
    }

    /// The token after a sequence with this piece.
    fn last(&mut self, sequence: &mut Sequence, piece: &[u32]) -> Result<u32, ModelError> {
        let vocabulary = self.spec.classes as usize;
        let logits = self.extend(&mut [(sequence, piece)])?;
        Ok(highest(&logits[logits.len() - vocabulary..]))
    }

    /// Goes on until every sequence has as many tokens as are wanted.
    fn follow_up(&mut self, runs: &mut [(Sequence, Vec<u32>, usize)]) -> Result<(), ModelError> {
        let vocabulary = self.spec.classes as usize;
        loop {
            let mut open: Vec<_> = runs.iter_mut().filter(|(_, own, wanted)| own.len() < *wanted).collect();
            if open.is_empty() {
                return Ok(());
            }
            let newest: Vec<u32> = open.iter().map(|(_, own, _)| own[own.len() - 1]).collect();
            let mut pieces: Vec<_> = open
                .iter_mut()
                .zip(newest.chunks(1))
                .map(|((sequence, ..), piece)| (&mut *sequence, piece))
                .collect();
            let logits = self.extend(&mut pieces)?;
            for ((_, own, _), logits) in open.iter_mut().zip(logits.chunks_exact(vocabulary)) {
                own.push(highest(logits));
            }
        }
    }
}

/// Bytes that answering takes beside the prompts: the session's values, the weights, and what is kept of the sequences.
pub fn memory_bytes(spec: &ModelSpec) -> Result<u64, ModelError> {
    let config = gpt::Config::new(spec)?;
    let session = config.program(1, 0)?.memory_bytes(CHUNK.max(TOGETHER));
    let kept = 2 * 4 * (config.layers * config.width) as u64 * spec.input_len() as u64;
    // A vector that grows has room for twice as much.
    Ok(session.saturating_add((2 * TOGETHER as u64).saturating_mul(kept)))
}

/// The attention of the next positions of a sequence, whose keys and values join those that are kept.
fn follow(
    machine: &Machine,
    shape: Attention,
    kept: &mut [Vec<f32>; 2],
    first: usize,
    qkv: &[f32],
    out: &mut [f32],
) {
    let width = shape.width();
    let mut q = Vec::with_capacity(out.len());
    for row in qkv.chunks_exact(3 * width) {
        q.extend_from_slice(&row[..width]);
        kept[0].extend_from_slice(&row[width..2 * width]);
        kept[1].extend_from_slice(&row[2 * width..]);
    }
    decode(machine, shape, first, &q, &kept[0], &kept[1], out);
}

/// The place of the highest, the first of equals.
fn highest(logits: &[f32]) -> u32 {
    let place = |best: usize, (at, logit): (usize, &f32)| if *logit > logits[best] { at } else { best };
    logits.iter().enumerate().fold(0, place) as u32
}

#[cfg(test)]
mod tests;
