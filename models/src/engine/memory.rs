//! The memory of a session's values: what they take at their peak, and pieces that are used again.

use std::mem;

use super::execute::Data;
use super::{Element, Op, Program, Size, ValueId};
use crate::kernels::BLOCK;
use crate::kernels::pool::cores;

/// Memory of values that nobody needs any more.
#[derive(Debug, Default)]
pub(super) struct Free {
    floats: Vec<Vec<f32>>,
    words: Vec<Vec<u32>>,
    bytes: Vec<Vec<u8>>,
}

impl Free {
    /// Makes room for `len` elements: with the smallest free piece that is large enough, or the largest.
    pub(super) fn take(&mut self, data: &mut Data, len: usize) {
        match data {
            Data::Floats(values) => fit(&mut self.floats, values, len),
            Data::Bytes(values) => fit(&mut self.bytes, values, len),
            Data::Words(values) => fit(&mut self.words, values, len),
        }
    }

    pub(super) fn give(&mut self, data: &mut Data) {
        match data {
            Data::Floats(values) if values.capacity() > 0 => self.floats.push(mem::take(values)),
            Data::Bytes(values) if values.capacity() > 0 => self.bytes.push(mem::take(values)),
            Data::Words(values) if values.capacity() > 0 => self.words.push(mem::take(values)),
            _ => {}
        }
    }
}

fn fit<T: Copy + Default>(free: &mut Vec<Vec<T>>, values: &mut Vec<T>, len: usize) {
    if values.capacity() < len {
        // A piece of over twice the size is kept for a value of its own size.
        let fitting =
            free.iter().enumerate().filter(|(_, piece)| (len..=2 * len).contains(&piece.capacity()));
        if let Some((at, _)) = fitting.min_by_key(|(_, piece)| piece.capacity()) {
            *values = free.swap_remove(at);
        }
    }
    // What is in it does not matter: only what it lacks is filled.
    values.resize(len, T::default());
}

/// What a session's values take at its peak: what stays, and in each operator what is alive.
pub(super) fn memory_bytes(program: &Program, examples: usize) -> u64 {
    let bytes = |id: ValueId| {
        let value = &program.values[id.at()];
        let each: u64 = if value.element == Element::Byte { 1 } else { 4 };
        match value.size {
            Size::Fixed(len) => each.saturating_mul(len as u64),
            Size::Each(len) => each.saturating_mul(len as u64).saturating_mul(examples as u64),
        }
    };
    let ids = (0..program.values.len() as u32).map(ValueId);
    let last = program.last_uses(program.nodes.len());
    let mut first = vec![None; program.values.len()];
    for (at, node) in program.nodes.iter().enumerate() {
        node.outputs.iter().for_each(|id| first[id.at()] = first[id.at()].or(Some(at)));
    }
    let stays = |id: ValueId| {
        let weight = program.parameters.iter().any(|(_, own)| *own == id) || program.moments.contains(&id);
        weight || first[id.at()].is_none()
    };
    let mut changes = vec![0i128; program.nodes.len() + 1];
    let mut kept = 0u64;
    for id in ids {
        match first[id.at()] {
            Some(at) if !stays(id) => {
                changes[at] += i128::from(bytes(id));
                changes[last[id.at()] + 1] -= i128::from(bytes(id));
            }
            _ => kept = kept.saturating_add(bytes(id)),
        }
    }
    // Attention's gradient holds two rows of scores for each query of a block, on every thread.
    for (at, node) in program.nodes.iter().enumerate() {
        if let Op::AttentionGradient(shape, positions) = node.op {
            let threads = cores().min(shape.heads.saturating_mul(examples)) as i128;
            let scores = 8 * threads * (BLOCK.min(positions) * positions) as i128;
            changes[at] += scores;
            changes[at + 1] -= scores;
        }
    }
    let (mut alive, mut peak) = (0, 0);
    for change in changes {
        alive += change;
        peak = peak.max(alive);
    }
    kept.saturating_add(u64::try_from(peak).unwrap_or(u64::MAX))
}
