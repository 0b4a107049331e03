//! What a job trains on: examples that stay on the workers, or shards that the job brings.
//!
//! Which shard a task is about, and its seed, follow from the spec, the round and the task's place in it alone: the
//! coordinator chooses neither, and whoever runs the task again needs nobody to tell.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::spec::SpecError;
use super::work::range;
use super::{Evaluation, Name, Train};
use crate::hash::Digest;
use crate::limits::{SHARD_VALUES_MAX, SHARDS_MAX};
use crate::rng::Rng;

/// What a training job trains on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrainData {
    /// Examples under this tag that stay on the workers: only those that hold some take part.
    Local(Name),
    /// Shards that the requester uploads: any worker can take any.
    Job(Vec<ShardBlob>),
}

/// Some examples that a job brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardBlob {
    /// The blob: safetensors with the inputs and the labels (`models::data::shard`).
    pub digest: Digest,
    /// How many examples it holds: the weight of an update made of them, capped by the job.
    pub examples: u32,
}

/// What one task trains on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskData {
    /// The worker's own examples under this tag.
    Local(Name),
    /// A shard of the job.
    Shard(ShardBlob),
}

impl TaskData {
    /// Whether the job brings it, so that others can run the task again.
    pub const fn is_shard(&self) -> bool {
        matches!(self, Self::Shard(_))
    }
}

impl TrainData {
    /// The shards that the job brings; none if its examples stay on the workers.
    pub fn shards(&self) -> &[ShardBlob] {
        match self {
            Self::Local(_) => &[],
            Self::Job(shards) => shards,
        }
    }

    /// The tag of the examples that workers must hold, if they stay there.
    pub const fn tag(&self) -> Option<&Name> {
        match self {
            Self::Local(tag) => Some(tag),
            Self::Job(_) => None,
        }
    }
}

/// Parts of the streams that shards are ordered and tasks are seeded by.
const ORDER: u64 = 0x0073_6861_7264;

impl Train {
    /// What the task at a place of a round trains on.
    ///
    /// Shards are dealt in one seeded order, round after round, beginning anew at its end: all are used equally often,
    /// give or take one, and no round has one twice, since it wants no more updates than there are shards. Places
    /// beyond those wanted stand in for the first ones, and have their shards.
    pub fn task_data(&self, round: u32, place: u32) -> TaskData {
        match &self.data {
            TrainData::Local(tag) => TaskData::Local(tag.clone()),
            TrainData::Job(shards) => {
                let mut order: Vec<u32> = (0..shards.len() as u32).collect();
                Rng::derive(&[self.seed, ORDER]).shuffle(&mut order);
                let dealt =
                    u64::from(round) * u64::from(self.round.workers) + u64::from(self.stands_for(place));
                TaskData::Shard(shards[order[(dealt % shards.len() as u64) as usize] as usize])
            }
        }
    }

    /// The place among those wanted whose work a place does: its own, unless it is one beyond them.
    pub const fn stands_for(&self, place: u32) -> u32 {
        place % self.round.workers
    }

    /// The seed of a task of a round on this data. The shard's digest is part of it: two shards are shuffled unlike.
    pub fn task_seed(&self, round: u32, data: &TaskData) -> u64 {
        let mut parts = vec![self.seed, u64::from(round)];
        if let TaskData::Shard(shard) = data {
            parts.extend(shard.digest.0.as_chunks::<8>().0.iter().map(|&bytes| u64::from_le_bytes(bytes)));
        }
        Rng::derive(&parts).next()
    }

    pub(super) fn check_data(&self) -> Result<(), SpecError> {
        if self.model.kind.is_sequential()
            && (self.data.tag().is_some() || self.evaluation != Evaluation::None)
        {
            return Err(SpecError::Sequences);
        }
        let TrainData::Job(shards) = &self.data else { return Ok(()) };
        range("data.shards", shards.len() as u64, 1, SHARDS_MAX as u64)?;
        let values = self.model.input_len().max(1) as u64;
        let mut seen = BTreeSet::new();
        for (at, shard) in shards.iter().enumerate() {
            range("data.shards (examples)", shard.examples.into(), 1, SHARD_VALUES_MAX / values)?;
            if !seen.insert(shard.digest.0) {
                return Err(SpecError::ShardTwice { at });
            }
        }
        if self.round.workers as usize > shards.len() {
            return Err(SpecError::FewShards { workers: self.round.workers, shards: shards.len() });
        }
        match self.evaluation {
            Evaluation::Workers => Err(SpecError::JudgedByWorkers),
            Evaluation::None | Evaluation::Coordinator { .. } => Ok(()),
        }
    }
}
