//! Which tasks the operator lets this worker take.

use std::collections::BTreeSet;

use protocol::ids::JobId;
use protocol::job::{ModelKind, Task, TaskData, TaskWork};
use protocol::time::Millis;
use protocol::wire::message::Abilities;
use serde::Deserialize;

/// Minutes of a day.
const DAY_MINUTES: u64 = 24 * 60;
const MINUTE_MS: u64 = 60_000;

/// Bytes of memory that some work on so many examples takes at its peak. Pure: asked again, it says the same.
pub type MemoryEstimate = fn(&TaskWork, u64) -> u64;

/// What the operator allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Units that an update has to earn at least.
    pub price_per_update_min: u64,
    /// Units that an answered item has to earn at least.
    pub price_per_item_min: u64,
    /// Only these jobs; `None`: all.
    pub jobs_allowed: Option<BTreeSet<JobId>>,
    /// Never these jobs.
    pub jobs_denied: BTreeSet<JobId>,
    /// Only these models; `None`: all.
    pub models_allowed: Option<BTreeSet<ModelName>>,
    /// Only in these hours; `None`: always.
    pub hours: Option<Hours>,
}

/// A model's architecture by name, whatever its sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelName {
    /// Multinomial logistic regression.
    Logistic,
    /// Fully connected layers.
    Mlp,
    /// The CNN of the FedAvg paper.
    CnnFedavg,
    /// The CNN of Flower's baseline.
    CnnFlower,
    /// ResNet-20 with group normalisation.
    Resnet20,
    /// A GPT-style transformer.
    Gpt,
}

impl From<&ModelKind> for ModelName {
    fn from(kind: &ModelKind) -> Self {
        match kind {
            ModelKind::Logistic => Self::Logistic,
            ModelKind::Mlp { .. } => Self::Mlp,
            ModelKind::CnnFedavg => Self::CnnFedavg,
            ModelKind::CnnFlower => Self::CnnFlower,
            ModelKind::Resnet20 => Self::Resnet20,
            ModelKind::Gpt { .. } => Self::Gpt,
        }
    }
}

/// A daily span of time, over midnight if it ends before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    from: u64,
    to: u64,
}

impl Hours {
    /// From one minute of the UTC day to another; `None` if they are equal or no minutes of a day.
    pub const fn new(from_minute: u64, to_minute: u64) -> Option<Self> {
        if from_minute == to_minute || from_minute >= DAY_MINUTES || to_minute >= DAY_MINUTES {
            return None;
        }
        Some(Self { from: from_minute, to: to_minute })
    }

    /// Whether `at` lies within.
    pub const fn contains(&self, at: Millis) -> bool {
        let minute = at.0 / MINUTE_MS % DAY_MINUTES;
        if self.from < self.to {
            self.from <= minute && minute < self.to
        } else {
            self.from <= minute || minute < self.to
        }
    }

    /// The next time after `at` that the hours begin or end.
    pub fn next_change(&self, at: Millis) -> Millis {
        let midnight = at.0 - at.0 % (DAY_MINUTES * MINUTE_MS);
        let changes = [self.from, self.to, self.from + DAY_MINUTES, self.to + DAY_MINUTES];
        let next = changes.iter().map(|minute| midnight + minute * MINUTE_MS).filter(|&change| change > at.0);
        Millis(next.min().expect("tomorrow's changes lie ahead"))
    }
}

/// Why a task is not taken. Its text goes to the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unwanted {
    #[error("this worker's operator does not serve job {0}")]
    Job(JobId),
    #[error("this worker's operator does not serve that model")]
    Model,
    #[error("the price of {got} units is below this worker's minimum of {least}")]
    Price { got: u64, least: u64 },
    #[error("this worker is outside its hours")]
    Hours,
    #[error("this worker holds no data under the tag '{0}'")]
    Data(protocol::job::Name),
    #[error("the task needs about {needs} bytes of memory, over this worker's limit of {limit} a slot")]
    Memory { needs: u64, limit: u64 },
}

impl Policy {
    /// Whether this worker may take `task` at `now`.
    pub(super) fn wants(
        &self,
        task: &Task,
        abilities: &Abilities,
        memory: MemoryEstimate,
        now: Millis,
    ) -> Result<(), Unwanted> {
        let job = task.id.job;
        if self.jobs_denied.contains(&job)
            || self.jobs_allowed.as_ref().is_some_and(|jobs| !jobs.contains(&job))
        {
            return Err(Unwanted::Job(job));
        }
        let (model, least, examples) = match &task.work {
            TaskWork::Train(train) => {
                let examples = match &train.data {
                    TaskData::Local(tag) => {
                        let held = abilities.data.examples(tag).filter(|&held| held > 0);
                        held.ok_or_else(|| Unwanted::Data(tag.clone()))?
                    }
                    TaskData::Shard(shard) => shard.examples.into(),
                };
                (&train.model, self.price_per_update_min, examples)
            }
            TaskWork::Infer(infer) => {
                let items = u64::from(infer.items);
                (&infer.model, self.price_per_item_min.saturating_mul(items), items)
            }
        };
        let name = ModelName::from(&model.kind);
        if self.models_allowed.as_ref().is_some_and(|models| !models.contains(&name)) {
            return Err(Unwanted::Model);
        }
        if task.price < least {
            return Err(Unwanted::Price { got: task.price, least });
        }
        if self.hours.is_some_and(|hours| !hours.contains(now)) {
            return Err(Unwanted::Hours);
        }
        // Every slot may be taken by a task like this one.
        let limit = abilities.memory_bytes / u64::from(abilities.slots.max(1));
        let needs = memory(&task.work, examples);
        if needs > limit { Err(Unwanted::Memory { needs, limit }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: u64, minute: u64) -> Millis {
        Millis((3 * DAY_MINUTES + hour * 60 + minute) * MINUTE_MS + 1)
    }

    #[test]
    fn hours_hold_within_a_day_and_over_midnight() {
        let day = Hours::new(8 * 60, 17 * 60 + 30).unwrap();
        assert!(day.contains(at(8, 0)) && day.contains(at(17, 29)));
        assert!(!day.contains(at(7, 59)) && !day.contains(at(17, 30)));
        let night = Hours::new(22 * 60, 6 * 60).unwrap();
        assert!(night.contains(at(23, 59)) && night.contains(at(0, 0)) && !night.contains(at(6, 0)));
        assert_eq!(Hours::new(60, 60), None);
        assert_eq!(Hours::new(0, DAY_MINUTES), None);
    }

    #[test]
    fn the_next_change_is_a_change() {
        for hours in [Hours::new(8 * 60, 17 * 60).unwrap(), Hours::new(22 * 60, 6 * 60).unwrap()] {
            for hour in 0..24 {
                let change = hours.next_change(at(hour, 13));
                assert!(change > at(hour, 13));
                assert_ne!(hours.contains(Millis(change.0 - 1)), hours.contains(change));
            }
        }
    }
}
