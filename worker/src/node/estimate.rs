//! How much memory some work takes at its peak: a pure function that the core is given.

use models::infer::task::{self, answers_bytes_max};
use protocol::job::{TaskData, TaskWork};

use super::limits::PROGRAM_BYTES;

/// Bytes for `work` on `examples` examples, the program itself included; generous. What cannot be built at all counts as
/// nothing here: trying it gives the better words.
pub fn memory_bytes(work: &TaskWork, examples: u64) -> u64 {
    let parts = match work {
        TaskWork::Train(train) => {
            let input = train.model.input_len() as u64;
            let labels = if train.model.kind.is_sequential() { input } else { 1 };
            let values = examples.saturating_mul(4 * (input + labels));
            // A shard's blob lies beside its examples while it is read.
            let data = match train.data {
                TaskData::Local(_) => values,
                TaskData::Shard(_) => values.saturating_mul(2),
            };
            let training = models::train::memory_bytes(&train.model, train.minibatch);
            // The blob that came, the weights parsed, the weights trained, the update.
            let files = models::zoo::parameter_count(&train.model).map(|count| 4 * 4 * count as u64);
            [Ok(data), training, files]
        }
        TaskWork::Infer(infer) => {
            // The blob, its values, and a line of scores or tokens for each.
            let each = 8 * infer.model.input_len() as u64 + answers_bytes_max(&infer.model, 1);
            let inference = task::memory_bytes(&infer.model, infer.items);
            let files = models::zoo::parameter_count(&infer.model).map(|count| 2 * 4 * count as u64);
            [Ok(u64::from(infer.items).saturating_mul(each)), inference, files]
        }
    };
    let parts = parts.into_iter().map(|part| part.unwrap_or(0));
    parts.fold(PROGRAM_BYTES, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use protocol::hash::Digest;
    use protocol::job::{InferTask, ModelKind, ModelSpec, ShardBlob, TrainTask};

    use super::*;

    #[test]
    fn more_work_takes_more_memory_and_nothing_overflows() {
        let bytes = |kind, items| {
            let model = ModelSpec { kind, input: [1, 28, 28], classes: 10 };
            let (weights, input) = (Digest([1; 32]), Digest([2; 32]));
            memory_bytes(
                &TaskWork::Infer(InferTask { model, weights, input, first_item: 0, items }),
                items.into(),
            )
        };
        assert!(bytes(ModelKind::Logistic, 1) < bytes(ModelKind::CnnFedavg, 1));
        assert!(bytes(ModelKind::Logistic, 1) < bytes(ModelKind::Logistic, 60_000));
        assert!(bytes(ModelKind::Mlp { hidden: vec![65_536; 16] }, u32::MAX) > 1 << 30);
    }

    #[test]
    fn a_shard_takes_more_than_examples_of_ones_own() {
        let shard = ShardBlob { digest: Digest([3; 32]), examples: 60_000 };
        let bytes = |data| {
            let train = TrainTask {
                model: ModelSpec { kind: ModelKind::Logistic, input: [1, 28, 28], classes: 10 },
                weights: Digest([1; 32]),
                data,
                local_epochs: 1,
                minibatch: 32,
                learning_rate: 0.1.try_into().unwrap(),
                momentum: 0.9.try_into().unwrap(),
                seed: 1,
                scale_bits: 24,
                checkpoint_steps: 84,
                evaluate: false,
            };
            memory_bytes(&TaskWork::Train(train), shard.examples.into())
        };
        let more = bytes(TaskData::Shard(shard)) - bytes(TaskData::Local("digits".parse().unwrap()));
        assert_eq!(more, 60_000 * 4 * 785);
    }
}
