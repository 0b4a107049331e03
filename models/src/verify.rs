//! Running a task again, to compare.
//!
//! Training and inference use kernels whose every sum has its order, so an honest result has the same bytes wherever it
//! was computed: not only on this machine. So has a round's model, made of the same updates in any order.

use std::ops::Range;
use std::sync::Arc;

use protocol::job::{InferTask, ModelSpec, ShardBlob, TrainTask};

use crate::aggregate::{Accumulator, AggregateError};
use crate::data::{Dataset, shard};
use crate::error::ModelError;
use crate::infer::task::Answering;
use crate::infer::{Loaded, write_answers};
use crate::kernels::Machine;
use crate::replay::TrainingTask;
use crate::replay::checkpoints::NoCheckpoints;
use crate::replay::party::{Committed, Party};
use crate::train::{Control, Progress, TrainParams, train};
use crate::update::{self, HEADER_BYTES};
use crate::weights::Weights;
use crate::zoo;

/// What a second run says about a first one's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The same bytes.
    Same,
    /// Other bytes.
    Differs {
        /// The first byte that differs, or where the shorter one ends.
        at: u64,
    },
}

/// What comes of a task on a shard, and the commitments to it, from the blobs of its weights and its shard, on any
/// machine with so many threads; `progress` is asked after each step.
///
/// Whatever is wrong with the blobs is an error, and so is a training without a result: that is the same everywhere.
pub fn train_again(
    threads: usize,
    task: &TrainTask,
    stated: &ShardBlob,
    weights: &[u8],
    data: &[u8],
    progress: &mut dyn FnMut(Progress) -> Control,
) -> Result<Committed, ModelError> {
    let weights = Weights::parse(&task.model, weights)?;
    let data = shard::parse(&task.model, stated, data)?;
    let task = TrainingTask::new(task, stated);
    Party::new(task, Arc::new(weights), Arc::new(data), threads, NoCheckpoints)?.train(progress)
}

/// The answers of a task, from the blobs of its weights and its input, on any machine; `progress` is told how many
/// items are done.
pub fn answer_again(
    machine: Machine,
    task: &InferTask,
    weights: &[u8],
    input: &[u8],
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<u8>, ModelError> {
    let mut model = Answering::new(&Weights::parse(&task.model, weights)?, machine)?;
    model.answer(task.first_item, task.items, input, &mut |done| {
        progress(done);
        Control::Continue
    })
}

/// A round's model, made again: updates folded one after another into the weights that they are changes of.
#[derive(Debug)]
pub struct Average {
    model: ModelSpec,
    scale_bits: u8,
    base: Vec<f32>,
    sum: Accumulator,
}

impl Average {
    /// Of no updates yet.
    pub fn new(model: &ModelSpec, scale_bits: u8, base: &[u8]) -> Result<Self, ModelError> {
        let base = Weights::parse(model, base)?.into_values();
        let sum = Accumulator::new(base.len());
        Ok(Self { model: model.clone(), scale_bits, base, sum })
    }

    /// Adds an update with its weight.
    pub fn add(&mut self, update: &[u8], weight: u32) -> Result<(), AggregateError> {
        self.sum.fold_readers(&mut [(update, weight)], self.scale_bits)
    }

    /// The new weights, as a blob.
    pub fn finish(self) -> Result<Vec<u8>, AverageError> {
        let values = self.sum.finish(self.base, self.scale_bits)?;
        Ok(Weights::new(&self.model, values)?.to_bytes())
    }
}

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
pub enum AverageError {
    /// The updates have no mean.
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    /// What came out are no weights.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Trains again on any examples and compares with a claimed update blob.
pub fn training(
    weights: &Weights,
    data: &Dataset,
    params: &TrainParams,
    scale_bits: u8,
    claimed: &[u8],
) -> Result<Verdict, ModelError> {
    let trained = train(weights, data, params, &mut |_| Control::Continue)?;
    let own = update::encode(weights.values(), trained.weights.values(), scale_bits)?;
    Ok(compare(&own, claimed))
}

/// Answers again and compares with a claimed answers blob.
pub fn inference(
    weights: &Weights,
    inputs: &[f32],
    first_item: u64,
    claimed: &[u8],
) -> Result<Verdict, ModelError> {
    let answers = Loaded::new(weights)?.infer(inputs)?;
    Ok(compare(&write_answers(first_item, &answers), claimed))
}

/// Where two results differ.
pub fn compare(own: &[u8], claimed: &[u8]) -> Verdict {
    if own == claimed {
        return Verdict::Same;
    }
    let at = own.iter().zip(claimed).take_while(|(own, claimed)| own == claimed).count();
    Verdict::Differs { at: at as u64 }
}

/// The tensor that a byte of an update is about, and the place in it; `None` for the header and beyond the end.
pub fn parameter_at(model: &ModelSpec, byte: u64) -> Result<Option<(String, u64)>, ModelError> {
    let Some(values) = byte.checked_sub(HEADER_BYTES as u64) else { return Ok(None) };
    let mut first = 0;
    for parameter in zoo::parameters(model)? {
        let own: Range<u64> = first..first + parameter.len() as u64;
        if own.contains(&(values / 4)) {
            return Ok(Some((parameter.name, values / 4 - own.start)));
        }
        first = own.end;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use protocol::hash::Digest;
    use protocol::job::{ModelKind, TaskData};

    use super::*;
    use crate::infer::encode_inputs;

    fn model() -> ModelSpec {
        ModelSpec { kind: ModelKind::Mlp { hidden: vec![5] }, input: [1, 2, 2], classes: 3 }
    }

    fn task(stated: ShardBlob) -> TrainTask {
        TrainTask {
            model: model(),
            weights: Digest([1; 32]),
            data: TaskData::Shard(stated),
            local_epochs: 2,
            minibatch: 3,
            learning_rate: 0.1.try_into().unwrap(),
            momentum: 0.5.try_into().unwrap(),
            seed: 9,
            scale_bits: 20,
            checkpoint_steps: 10,
            evaluate: false,
        }
    }

    fn shard() -> (ShardBlob, Vec<u8>) {
        let inputs = (0..40).map(|at| f32::from(6 * at as u8) / 255.0).collect();
        let data = Dataset::new(inputs, [1, 2, 2], (0..10).map(|at| at % 3).collect()).unwrap();
        let blob = shard::encode(&data).unwrap();
        (ShardBlob { digest: Digest::of(&blob), examples: 10 }, blob)
    }

    #[test]
    fn a_rounds_model_is_that_of_its_updates_in_any_order_and_of_no_others() {
        let (stated, data) = shard();
        let weights = Weights::init(&model(), 1).unwrap().to_bytes();
        let run = |seed| {
            let task = TrainTask { seed, ..task(stated) };
            let threads = 1 + seed as usize % 2;
            let go_on = &mut |_| Control::Continue;
            train_again(threads, &task, &stated, &weights, &data, go_on).unwrap().update
        };
        let updates = [(run(1), 10), (run(2), 7), (run(3), 1)];
        let average = |order: &[usize]| {
            let mut average = Average::new(&model(), 20, &weights).unwrap();
            order.iter().for_each(|at| average.add(&updates[*at].0, updates[*at].1).unwrap());
            average.finish().unwrap()
        };
        assert_eq!(average(&[0, 1, 2]), average(&[2, 0, 1]));
        assert_ne!(average(&[0, 1, 2]), average(&[0, 1]));
        assert!(Average::new(&model(), 20, &weights).unwrap().finish().is_err(), "no updates, no model");
        assert!(Average::new(&model(), 20, &weights).unwrap().add(&updates[0].0[1..], 1).is_err());
    }

    #[test]
    fn the_first_byte_that_differs_names_its_parameter() {
        let (stated, data) = shard();
        let weights = Weights::init(&model(), 1).unwrap().to_bytes();
        let again = |threads| {
            let go_on = &mut |_| Control::Continue;
            train_again(threads, &task(stated), &stated, &weights, &data, go_on).unwrap().update
        };
        let own = again(1);
        assert_eq!(compare(&own, &again(2)), Verdict::Same, "on two threads");
        let mut claimed = own.clone();
        assert_eq!(compare(&own, &claimed), Verdict::Same);
        let at = HEADER_BYTES + 4 * 7 + 2;
        claimed[at] ^= 1;
        assert_eq!(compare(&own, &claimed), Verdict::Differs { at: at as u64 });
        // Five biases come first, then the weights of the first layer.
        let name = |byte: usize| parameter_at(&model(), byte as u64).unwrap();
        assert_eq!(name(at), Some(("fc1.weight".to_owned(), 2)));
        assert_eq!((name(HEADER_BYTES - 1), name(own.len())), (None, None));
    }

    #[test]
    fn answers_are_the_same_in_one_piece_and_in_many() {
        let weights = Weights::init(&model(), 1).unwrap();
        let inputs: Vec<f32> = (0..300 * 4).map(|at| at as f32 / 1_200.0).collect();
        let task = InferTask {
            model: model(),
            weights: Digest([1; 32]),
            input: Digest([2; 32]),
            first_item: 5,
            items: 300,
        };
        let mut told = Vec::new();
        let blob = encode_inputs(&inputs, [1, 2, 2]).unwrap();
        let (machine, file) = (Machine::new(2), weights.to_bytes());
        let answers = answer_again(machine, &task, &file, &blob, &mut |done| told.push(done)).unwrap();
        assert_eq!(inference(&weights, &inputs, 5, &answers).unwrap(), Verdict::Same);
        assert_eq!(told, [0, 256]);
        let short = InferTask { items: 301, ..task };
        assert!(answer_again(Machine::new(1), &short, &file, &blob, &mut |_| ()).is_err());
    }
}
