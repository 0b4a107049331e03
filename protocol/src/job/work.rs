//! The work of a job: federated training, or inference over a file.

use serde::{Deserialize, Serialize};

use super::spec::SpecError;
use super::{ModelSpec, Real, TrainData};
use crate::hash::Digest;
use crate::limits::*;

/// The two kinds of work. Either is done in rounds: of training, or groups of inference tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// Federated training.
    Train(Train),
    /// Inference over a file.
    Infer(Infer),
}

/// A federated training job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Train {
    /// The model.
    pub model: ModelSpec,
    /// Weights to start from (a safetensors blob); `None`: initialised from `seed`.
    pub start: Option<Digest>,
    /// What is trained on, and so who can take part.
    pub data: TrainData,
    /// Federated rounds.
    pub rounds: u32,
    /// Passes over the local examples in one round.
    pub local_epochs: u32,
    /// Examples in one optimiser step.
    pub minibatch: u32,
    /// SGD step size.
    pub learning_rate: Real,
    /// SGD momentum, in [0, 1).
    pub momentum: Real,
    /// Every random choice of the job derives from this.
    pub seed: u64,
    /// Updates are multiples of 2^-scale_bits.
    pub scale_bits: u8,
    /// Optimiser steps between two commitments to the state of a task's training.
    pub checkpoint_steps: u32,
    /// Who takes part in a round and when it ends.
    pub round: RoundPolicy,
    /// How the model is judged after each round.
    pub evaluation: Evaluation,
}

/// Who takes part in a round and when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundPolicy {
    /// Updates wanted.
    pub workers: u32,
    /// Updates without which a round cannot close.
    pub quorum: u32,
    /// Workers asked beyond `workers`, so that slow ones do not matter.
    pub over_select: u32,
    /// After this many milliseconds the round closes with what it has, if that is a quorum; a lost task goes to another
    /// worker until then.
    pub deadline_ms: u64,
    /// The most examples an update is weighted by.
    pub examples_cap: u64,
}

/// How a training job's model is judged after each round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evaluation {
    /// Not at all.
    None,
    /// By the coordinator, on a held-out set that the requester uploads (IDX, plain or gz).
    Coordinator {
        /// The inputs.
        images: Digest,
        /// The labels.
        labels: Digest,
    },
    /// By each worker, on the tenth of its own examples that it holds out: the weights it is given, so never the last.
    Workers,
}

/// An inference job: a file cut into blobs, one task a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Infer {
    /// The model.
    pub model: ModelSpec,
    /// Its weights.
    pub weights: Digest,
    /// The inputs, in the order of the answers.
    pub inputs: Vec<InputBlob>,
    /// Tasks of one group.
    pub group_tasks: u32,
    /// Milliseconds a worker has for one task before another gets it.
    pub deadline_ms: u64,
}

/// Some consecutive items of an inference job's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputBlob {
    /// The blob.
    pub digest: Digest,
    /// How many items it holds.
    pub items: u32,
}

impl Work {
    /// Rounds of training, or groups of inference tasks.
    pub fn rounds(&self) -> u32 {
        match self {
            Self::Train(train) => train.rounds,
            Self::Infer(infer) => infer.groups(),
        }
    }

    /// The most tasks of one round.
    pub fn round_tasks(&self) -> u32 {
        match self {
            Self::Train(train) => train.round.workers.saturating_add(train.round.over_select),
            Self::Infer(infer) => infer.group_tasks.min(infer.inputs.len() as u32),
        }
    }

    /// The piece of the job that the task at a place of a round does, if others can run it again: tasks that stand for
    /// one another do one, and no piece is paid for twice. On examples that stay on workers each does its own.
    pub fn piece(&self, round: u32, place: u32) -> Option<(u32, u32)> {
        match self {
            Self::Train(train) => train.data.tag().is_none().then(|| (round, train.stands_for(place))),
            Self::Infer(_) => Some((round, place)),
        }
    }

    /// Whether somebody who has the job's blobs can run its tasks again.
    pub fn can_be_run_again(&self) -> bool {
        match self {
            Self::Train(train) => train.data.tag().is_none(),
            Self::Infer(_) => true,
        }
    }

    /// Milliseconds that a round takes if every task needs all its time and, in a group, one worker does them all.
    pub fn round_ms(&self) -> u64 {
        match self {
            Self::Train(train) => train.round.deadline_ms,
            Self::Infer(infer) => infer.deadline_ms.saturating_mul(self.round_tasks().into()),
        }
    }

    /// Rounds that a settlement spans unless the requester says otherwise: so many that there are about
    /// [`USUAL_SETTLEMENTS`], and that nobody waits longer than [`USUAL_SETTLEMENT_MS`] for their pay.
    pub fn usual_settlement_rounds(&self) -> u32 {
        let by_count = self.rounds().div_ceil(USUAL_SETTLEMENTS);
        let by_time = u32::try_from(USUAL_SETTLEMENT_MS / self.round_ms().max(1)).unwrap_or(u32::MAX);
        by_count.min(by_time).clamp(1, self.settlement_rounds_max())
    }

    /// The most rounds that a settlement may span: its tasks have a limit, and so has the time until they are paid.
    pub(super) fn settlement_rounds_max(&self) -> u32 {
        let by_tasks = TASKS_PER_SETTLEMENT_MAX / self.round_tasks().max(1);
        let by_time = u32::try_from(SETTLEMENT_MS_MAX / self.round_ms().max(1)).unwrap_or(u32::MAX);
        by_tasks.min(by_time).max(1)
    }
}

impl Train {
    pub(super) fn check(&self) -> Result<(), SpecError> {
        self.model.check()?;
        range("training.rounds", self.rounds.into(), 1, SETTLEMENTS_MAX.into())?;
        range("training.local_epochs", self.local_epochs.into(), 1, LOCAL_EPOCHS_MAX.into())?;
        range("training.minibatch", self.minibatch.into(), 1, MINIBATCH_MAX.into())?;
        range("training.scale_bits", self.scale_bits.into(), 1, 30)?;
        let most = CHECKPOINT_STEPS_MAX.into();
        range("training.checkpoint_steps", self.checkpoint_steps.into(), 1, most)?;
        if self.learning_rate.get() <= 0.0 || self.learning_rate.get() > 1e3 {
            let want = "it must be over 0 and at most 1000";
            return Err(SpecError::Float { what: "training.learning_rate", got: self.learning_rate, want });
        }
        if !(0.0..1.0).contains(&self.momentum.get()) {
            let want = "it must be at least 0 and below 1";
            return Err(SpecError::Float { what: "training.momentum", got: self.momentum, want });
        }
        self.round.check()?;
        self.check_data()
    }
}

impl RoundPolicy {
    pub(super) fn check(&self) -> Result<(), SpecError> {
        range("round.workers", self.workers.into(), 1, TASKS_PER_SETTLEMENT_MAX.into())?;
        range("round.quorum", self.quorum.into(), 1, TASKS_PER_SETTLEMENT_MAX.into())?;
        if self.quorum > self.workers {
            return Err(SpecError::Quorum { quorum: self.quorum, workers: self.workers });
        }
        let most = TASKS_PER_SETTLEMENT_MAX - self.workers;
        range("round.over_select", self.over_select.into(), 0, most.into())?;
        range("round.deadline (ms)", self.deadline_ms, 1, TASK_MS_MAX)?;
        range("round.examples_cap", self.examples_cap, 1, ROUND_WEIGHT_MAX)?;
        let got = self.examples_cap * u64::from(self.workers + self.over_select);
        if got > ROUND_WEIGHT_MAX { Err(SpecError::Weight { got }) } else { Ok(()) }
    }
}

impl Infer {
    /// How many groups the tasks make.
    pub fn groups(&self) -> u32 {
        self.inputs.len().div_ceil(self.group_tasks.max(1) as usize) as u32
    }

    /// The blobs that a group is about, by their place in [`Infer::inputs`].
    pub fn blobs_of(&self, group: u32) -> core::ops::Range<usize> {
        let (tasks, all) = (self.group_tasks as usize, self.inputs.len());
        let first = (group as usize * tasks).min(all);
        first..(first + tasks).min(all)
    }

    pub(super) fn check(&self) -> Result<(), SpecError> {
        self.model.check()?;
        range("inputs", self.inputs.len() as u64, 1, INPUT_BLOBS_MAX as u64)?;
        range("group_tasks", self.group_tasks.into(), 1, TASKS_PER_SETTLEMENT_MAX.into())?;
        range("deadline (ms)", self.deadline_ms, 1, TASK_MS_MAX)?;
        for blob in &self.inputs {
            range("inputs.items", blob.items.into(), 1, ITEMS_PER_TASK_MAX.into())?;
        }
        Ok(())
    }
}

pub(super) fn range(what: &'static str, got: u64, least: u64, most: u64) -> Result<(), SpecError> {
    if (least..=most).contains(&got) { Ok(()) } else { Err(SpecError::Range { what, got, least, most }) }
}
