//! States of a training, kept so that a part of it can be run again without what comes before.
//!
//! A file of one is, little-endian: `FRS1`; steps taken (8 bytes); the epoch's losses so far (`f64`); the number of
//! weights (8); the weights (`f32`); what the optimiser keeps (`f32`); blake3 of all that (32).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use protocol::hash::Digest;

use super::party::to_bytes;
use crate::train::State;

/// Where states are kept.
pub trait Checkpoints {
    /// Keeps a state. One that cannot be kept costs time later, nothing else.
    fn keep(&self, state: &mut dyn FnMut() -> State);

    /// The latest kept state that is not after step `step`.
    fn before(&self, step: u64) -> Option<State>;
}

/// Keeps nothing: every trace starts from the first step.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCheckpoints;

impl Checkpoints for NoCheckpoints {
    fn keep(&self, _: &mut dyn FnMut() -> State) {}

    fn before(&self, _: u64) -> Option<State> {
        None
    }
}

/// Keeps states in memory.
#[derive(Debug, Default)]
pub struct InMemory(Mutex<BTreeMap<u64, State>>);

impl Checkpoints for InMemory {
    fn keep(&self, state: &mut dyn FnMut() -> State) {
        let state = state();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(state.step, state);
    }

    fn before(&self, step: u64) -> Option<State> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.range(..=step).next_back().map(|(_, state)| state.clone())
    }
}

const MAGIC: [u8; 4] = *b"FRS1";
const HEADER: usize = 28;
const CHECKSUM: usize = 32;

/// Bytes of the file of a state of so many weights and moments.
pub fn bytes_of([weights, moments]: [usize; 2]) -> u64 {
    4 * (weights as u64 + moments as u64) + (HEADER + CHECKSUM) as u64
}

/// The file of a state.
pub fn encode(state: &State) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(state.step.to_le_bytes());
    bytes.extend(state.loss.to_le_bytes());
    bytes.extend((state.weights.len() as u64).to_le_bytes());
    bytes.extend(to_bytes(&state.weights));
    bytes.extend(to_bytes(&state.moments));
    let checksum = Digest::of(&bytes);
    bytes.extend(checksum.0);
    bytes
}

/// The state in a file of one with so many weights and moments; `None` if it is no such file, or a damaged one.
pub fn decode(file: &[u8], [weights, moments]: [usize; 2]) -> Option<State> {
    if file.len() as u64 != bytes_of([weights, moments]) {
        return None;
    }
    let (state, checksum) = file.split_at_checked(file.len() - CHECKSUM)?;
    let word = |at: usize| state.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let whole = state.starts_with(&MAGIC) && word(20)? == weights as u64 && Digest::of(state).0 == checksum;
    let floats = |bytes: &[u8]| {
        bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect::<Vec<f32>>()
    };
    let (own, kept) = state[HEADER..].split_at(4 * weights);
    let (step, loss) = (word(4)?, f64::from_bits(word(12)?));
    whole.then(|| State { step, loss, weights: floats(own), moments: floats(kept) })
}

/// Keeps states as files of a directory, which is made when the first one comes.
#[derive(Clone, Debug)]
pub struct InDirectory {
    path: PathBuf,
    /// Values that a state of the model has, weights and moments.
    values: [usize; 2],
}

impl InDirectory {
    /// Keeps states of a model of so many weights, with so many moments in all.
    pub const fn new(path: PathBuf, weights: usize, moments: usize) -> Self {
        Self { path, values: [weights, moments] }
    }

    fn file(&self, step: u64) -> PathBuf {
        self.path.join(format!("{step:016}.state"))
    }

    fn read(&self, step: u64) -> Option<State> {
        let path = self.file(step);
        // A file of another length is not read at all.
        if std::fs::metadata(&path).ok()?.len() != bytes_of(self.values) {
            return None;
        }
        decode(&std::fs::read(path).ok()?, self.values).filter(|state| state.step == step)
    }
}

impl Checkpoints for InDirectory {
    fn keep(&self, state: &mut dyn FnMut() -> State) {
        let state = state();
        let bytes = encode(&state);
        // Whoever lacks one starts from an earlier one: nothing here is worth failing a task for.
        let _ =
            std::fs::create_dir_all(&self.path).and_then(|()| std::fs::write(self.file(state.step), bytes));
    }

    fn before(&self, step: u64) -> Option<State> {
        let number = |name: &str| name.strip_suffix(".state")?.parse::<u64>().ok();
        let entries = std::fs::read_dir(&self.path).ok()?;
        let mut steps: Vec<u64> = entries
            .filter_map(|entry| number(entry.ok()?.file_name().to_str()?))
            .filter(|at| *at <= step)
            .collect();
        steps.sort_unstable();
        steps.into_iter().rev().find_map(|step| self.read(step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(step: u64) -> State {
        State { step, loss: step as f64 / 3.0, weights: vec![1.5, -0.0, step as f32], moments: vec![2.0; 6] }
    }

    #[test]
    fn a_state_comes_back_and_a_broken_file_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let kept = InDirectory::new(directory.path().join("task"), 3, 6);
        assert_eq!(kept.before(9), None);
        for step in [3, 6, 9] {
            kept.keep(&mut || state(step));
        }
        assert_eq!(kept.before(2), None);
        assert_eq!(kept.before(5), Some(state(3)));
        assert_eq!(kept.before(6), Some(state(6)));
        assert_eq!(kept.before(100), Some(state(9)));
        let file = kept.file(6);
        let good = std::fs::read(&file).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&file, bad).unwrap();
            assert_eq!(kept.before(8), Some(state(3)), "byte {at}");
        }
        std::fs::write(&file, &good[..good.len() - 1]).unwrap();
        assert_eq!(kept.before(8), Some(state(3)));
        assert_eq!(InDirectory::new(directory.path().join("task"), 4, 8).before(9), None);
    }
}
