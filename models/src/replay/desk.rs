//! A party with its papers: what the shells of a worker and of a coordinator ask, on a thread of theirs.

use std::path::PathBuf;
use std::sync::Arc;

use protocol::dispute::moves::{Asked, Move};
use protocol::dispute::shape::{Shape, Trace};
use protocol::dispute::trace::Player;
use protocol::hash::{Digest, Keccak};
use protocol::job::{ShardBlob, TrainTask};

use super::checkpoints::InDirectory;
use super::party::{Committed, Party};
use super::referee::Referee;
use super::{TrainingTask, optimiser_moments};
use crate::data::{Dataset, shard};
use crate::error::ModelError;
use crate::kernels::Machine;
use crate::train::{Control, Progress};
use crate::weights::Weights;
use crate::zoo;

/// What a training is made of.
#[derive(Clone, Debug)]
pub(super) struct Papers {
    pub(super) task: TrainingTask,
    pub(super) weights: Arc<Weights>,
    pub(super) data: Arc<Dataset>,
}

impl Papers {
    /// Reads a task's blobs.
    ///
    /// Refuses a task whose examples stay on a worker, and blobs that are not the task's: by their digests, and by what
    /// they hold.
    pub(super) fn read(
        task: &TrainTask,
        blob: &mut dyn FnMut(&Digest) -> Result<Vec<u8>, ModelError>,
    ) -> Result<Self, ModelError> {
        let stays = || ModelError::Format("its examples stay on the worker: nobody else can run it".into());
        let training = TrainingTask::of(task).ok_or_else(stays)?;
        let mut checked = |digest: &Digest| {
            let bytes = blob(digest)?;
            let other =
                || ModelError::Format(format!("the blob {digest} has other contents than its name says"));
            if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(other()) }
        };
        let weights = Arc::new(Weights::parse(&task.model, &checked(&training.weights)?)?);
        let examples = u32::try_from(training.examples).unwrap_or(u32::MAX);
        let stated = ShardBlob { digest: training.shard, examples };
        let data = Arc::new(shard::parse(&task.model, &stated, &checked(&training.shard)?)?);
        Ok(Self { task: training, weights, data })
    }
}

/// One party to one training, which can train, answer what a referee asks, and be the referee.
#[derive(Debug)]
pub struct Desk {
    task: TrainingTask,
    weights: Arc<Weights>,
    data: Arc<Dataset>,
    player: Player<Party<InDirectory>>,
    directory: PathBuf,
    threads: usize,
}

impl Desk {
    /// Reads a task's blobs, for work on so many threads; states of the training are kept in `directory` until the desk
    /// is dropped.
    pub fn open(
        task: &TrainTask,
        blob: &mut dyn FnMut(&Digest) -> Result<Vec<u8>, ModelError>,
        directory: PathBuf,
        threads: usize,
    ) -> Result<Self, ModelError> {
        let Papers { task: training, weights, data } = Papers::read(task, blob)?;
        let values = zoo::parameter_count(&task.model)?;
        let kept = InDirectory::new(directory.clone(), values, optimiser_moments(&training) * values);
        let party = Party::new(training.clone(), weights.clone(), data.clone(), threads, kept)?;
        let shape = party.shape().clone();
        Ok(Self { task: training, weights, data, player: Player::new(party, shape), directory, threads })
    }

    /// The task.
    pub const fn task(&self) -> &TrainingTask {
        &self.task
    }

    /// What its traces consist of.
    pub const fn shape(&self) -> &Shape {
        self.player.computation().shape()
    }

    /// The state that it starts from.
    pub fn start(&self) -> Result<Keccak, ModelError> {
        self.task.start(&self.weights)
    }

    /// Trains.
    pub fn train(&mut self, progress: &mut dyn FnMut(Progress) -> Control) -> Result<Committed, ModelError> {
        self.player.computation_mut().train(progress)
    }

    /// What this party says that the training returns; if its numbers run away, where.
    pub fn result(&mut self) -> Result<Keccak, ModelError> {
        use protocol::dispute::trace::Computation;
        let leaves = self.player.computation_mut().leaves(Trace::Task)?;
        leaves.last().copied().ok_or(ModelError::NoExamples)
    }

    /// The move that is asked for.
    pub fn answer(&mut self, asked: &Asked) -> Result<Option<Move>, ModelError> {
        self.player.answer(asked)
    }

    /// What an operator comes to, on inputs that this party has and the other one agrees on; `None` if it has others.
    pub fn run(&self, trace: Trace, operator: u32, inputs: &[Keccak]) -> Result<Option<Keccak>, ModelError> {
        let referee = Referee::new(&self.task, &self.weights, &self.data, Machine::new(self.threads))?;
        self.player.computation().run(&referee, trace, operator, inputs)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // There is none if nothing was kept.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
