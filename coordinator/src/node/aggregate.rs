//! Aggregation and evaluation, on a thread of their own: `models::aggregate` over files.
//!
//! Updates are folded as they come, sixteen in a pass, so that a round's end has little left to do. The running sum is
//! only a head start: [`FinishRound`] names the updates that count, and a sum over others is thrown away and made again
//! from the files. Memory: 8 bytes a parameter and job, and 8 more while a model is finished.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::thread::JoinHandle;

use models::aggregate::{Accumulator, TOGETHER};
use models::data::{Dataset, idx, shard};
use models::infer::Loaded;
use models::kernels::Machine;
use models::weights::Weights;
use models::zoo::parameter_count;
use protocol::hash::Digest;
use protocol::ids::JobId;
use protocol::job::{Evaluated, Evaluation, ModelSpec, Real, Reason, ShardBlob};
use protocol::limits::BLOB_BYTES_MAX;
use tokio::sync::oneshot;

use super::blobs::Blobs;
use super::event_loop::{Core, Stopped};
use crate::core::{Event, FinishRound, ReadyModel, WeightedUpdate};
use crate::error::NodeError;

/// Something for the aggregator.
#[derive(Debug)]
pub enum Work {
    /// Look at a job's shards and make its initial weights.
    Initialise {
        /// The job.
        job: JobId,
        /// The model.
        model: ModelSpec,
        /// The seed.
        seed: u64,
        /// Weights to start from instead.
        start: Option<Digest>,
        /// Its shards.
        shards: Vec<ShardBlob>,
        /// How to judge it.
        evaluation: Evaluation,
    },
    /// Add an update to its round's sum.
    Fold {
        /// The job.
        job: JobId,
        /// The round.
        round: u32,
        /// The update.
        update: WeightedUpdate,
        /// What it has to look like.
        shape: Shape,
    },
    /// Make a round's model.
    Finish(Box<FinishRound>),
    /// Forget blobs.
    Discard(Vec<Digest>),
}

/// What every update of a round looks like.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The model it changes.
    pub model: ModelSpec,
    /// Its scale.
    pub scale_bits: u8,
}

/// Why there is no model.
enum Trouble {
    /// The job cannot go on.
    Job(String),
    /// This machine cannot: a job must not fail because a disk is full.
    Node(NodeError),
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self::Job(why)
    }
}

impl From<NodeError> for Trouble {
    fn from(error: NodeError) -> Self {
        Self::Node(error)
    }
}

/// The aggregator's thread.
#[derive(Debug)]
pub struct Aggregator {
    core: Core,
    failed: Option<oneshot::Sender<NodeError>>,
    blobs: Arc<Blobs>,
    /// Threads that models are evaluated on.
    threads: usize,
    running: BTreeMap<JobId, Running>,
    /// The held-out set of each job that has one, read once.
    held_out: BTreeMap<(Digest, Digest), Arc<Dataset>>,
}

#[derive(Debug)]
struct Running {
    round: u32,
    sum: Option<Accumulator>,
    folded: BTreeSet<Digest>,
    /// Not folded yet: they wait for company.
    waiting: Vec<WeightedUpdate>,
}

impl Running {
    fn new(round: u32) -> Self {
        Self { round, sum: None, folded: BTreeSet::new(), waiting: Vec::new() }
    }
}

impl Aggregator {
    /// Starts the thread; it ends when every sender is gone, or with a failure.
    pub fn spawn(
        core: Core,
        blobs: Arc<Blobs>,
        threads: usize,
        failed: oneshot::Sender<NodeError>,
    ) -> std::io::Result<(blocking::Sender<Work>, JoinHandle<()>)> {
        let (sender, receiver) = blocking::channel();
        let failed = Some(failed);
        let (running, held_out) = (BTreeMap::new(), BTreeMap::new());
        let mut aggregator = Self { core, failed, blobs, threads, running, held_out };
        let thread = std::thread::Builder::new().name("aggregate".into()).spawn(move || {
            while let Ok(work) = receiver.recv() {
                if !aggregator.run(work) {
                    return;
                }
            }
        })?;
        Ok((sender, thread))
    }

    /// Whether to go on.
    fn run(&mut self, work: Work) -> bool {
        match work {
            Work::Fold { job, round, update, shape } => {
                let running = self.running.entry(job).or_insert_with(|| Running::new(round));
                if running.round != round {
                    *running = Running::new(round);
                }
                running.waiting.push(update);
                if running.waiting.len() >= TOGETHER
                    && let Err(error) = fold_waiting(&self.blobs, running, &shape)
                {
                    // The round's end will say so, if it still is.
                    tracing::warn!(%job, round, %error, "could not fold updates ahead");
                    *running = Running::new(round);
                }
                true
            }
            Work::Discard(digests) => self.discard(digests).is_ok(),
            Work::Initialise { job, model, seed, start, shards, evaluation } => {
                let outcome = self
                    .look_at(&model, &shards)
                    .map_err(Trouble::Job)
                    .and_then(|()| self.initialise(&model, seed, start, &evaluation));
                self.answer(job, None, outcome)
            }
            Work::Finish(finish) => {
                let outcome = self.finish(&finish);
                self.running.remove(&finish.job);
                self.answer(finish.job, Some(finish.round), outcome)
            }
        }
    }

    /// Removes blobs that still nothing names: meanwhile another worker may have been paid for the same bytes.
    fn discard(&self, digests: Vec<Digest>) -> Result<(), Stopped> {
        let _removing = self.blobs.removing();
        let unnamed = self.core.read_blocking(|core| {
            digests.into_iter().filter(|digest| !core.needs_blob(digest)).collect::<Vec<_>>()
        })?;
        for digest in unnamed {
            if let Err(error) = self.blobs.remove(&digest) {
                tracing::warn!(%digest, %error, "could not discard a blob");
            }
        }
        Ok(())
    }

    fn answer(&mut self, job: JobId, round: Option<u32>, outcome: Result<ReadyModel, Trouble>) -> bool {
        let outcome = match outcome {
            Ok(ready) => Ok(ready),
            Err(Trouble::Job(why)) => Err(Reason::from(why)),
            Err(Trouble::Node(error)) => {
                if let Some(failed) = self.failed.take() {
                    // Fails only when the node is stopping already.
                    let _ = failed.send(error);
                }
                return false;
            }
        };
        self.core.tell_blocking(Event::ModelReady { job, round, outcome }).is_ok()
    }

    /// Whether every shard is what the spec says, one in memory at a time.
    fn look_at(&self, model: &ModelSpec, shards: &[ShardBlob]) -> Result<(), String> {
        for (number, stated) in (1..).zip(shards) {
            let wrong =
                |why: String| format!("shard {number} of {} ({}): {why}", shards.len(), stated.digest);
            let bytes_max = shard::bytes_max(model, stated.examples).min(BLOB_BYTES_MAX);
            let bytes =
                self.blobs.read(&stated.digest, bytes_max).map_err(|error| wrong(error.to_string()))?;
            shard::parse(model, stated, &bytes).map_err(|error| wrong(error.to_string()))?;
        }
        Ok(())
    }

    fn initialise(
        &mut self,
        model: &ModelSpec,
        seed: u64,
        start: Option<Digest>,
        evaluation: &Evaluation,
    ) -> Result<ReadyModel, Trouble> {
        let weights = match start {
            None => Weights::init(model, seed).map_err(|error| error.to_string())?,
            Some(digest) => self.weights(model, &digest)?,
        };
        self.ready(&weights, evaluation)
    }

    fn weights(&self, model: &ModelSpec, digest: &Digest) -> Result<Weights, String> {
        let bytes =
            self.blobs.read(digest, BLOB_BYTES_MAX).map_err(|error| format!("model {digest}: {error}"))?;
        Weights::parse(model, &bytes).map_err(|error| format!("model {digest}: {error}"))
    }

    fn finish(&mut self, finish: &FinishRound) -> Result<ReadyModel, Trouble> {
        let mut running = self.running.remove(&finish.job).unwrap_or_else(|| Running::new(finish.round));
        let wanted: BTreeSet<Digest> = finish.updates.iter().map(|update| update.digest).collect();
        // Two workers may send the same bytes; then the sum counts both, and a set cannot tell: start over.
        let usable = running.round == finish.round
            && wanted.len() == finish.updates.len()
            && running.folded.is_subset(&wanted);
        if !usable {
            running = Running::new(finish.round);
        }
        running.waiting = finish
            .updates
            .iter()
            .filter(|update| !running.folded.contains(&update.digest))
            .copied()
            .collect();
        let shape = Shape { model: finish.model.clone(), scale_bits: finish.scale_bits };
        fold_waiting(&self.blobs, &mut running, &shape)?;
        let sum = running.sum.ok_or_else(|| "a round without updates has no model".to_owned())?;
        let base = self.weights(&finish.model, &finish.base)?;
        let values = sum.finish(base.into_values(), finish.scale_bits).map_err(|error| error.to_string())?;
        drop(sum);
        let weights = Weights::new(&finish.model, values).map_err(|error| error.to_string())?;
        self.ready(&weights, &finish.evaluation)
    }

    fn ready(&mut self, weights: &Weights, evaluation: &Evaluation) -> Result<ReadyModel, Trouble> {
        let digest = self.blobs.put(&weights.to_bytes())?;
        let evaluated = match evaluation {
            Evaluation::None | Evaluation::Workers => None,
            Evaluation::Coordinator { images, labels } => Some(self.evaluate(weights, *images, *labels)?),
        };
        Ok(ReadyModel { digest, evaluated })
    }

    fn evaluate(&mut self, weights: &Weights, images: Digest, labels: Digest) -> Result<Evaluated, String> {
        let data = match self.held_out.get(&(images, labels)) {
            Some(data) => data.clone(),
            None => {
                let open = |digest: &Digest| -> Result<File, String> {
                    self.blobs
                        .open_blob(digest)
                        .map_err(|error| format!("the held-out set {digest}: {error}"))
                };
                let data = idx::read(open(&images)?, open(&labels)?)
                    .map_err(|error| format!("the held-out set cannot be read: {error}"))?;
                let data = Arc::new(data);
                self.held_out.insert((images, labels), data.clone());
                data
            }
        };
        let loaded = Loaded::on(weights, Machine::new(self.threads)).map_err(|error| error.to_string())?;
        let found = loaded.evaluate(&data).map_err(|error| error.to_string())?;
        let loss = Real::try_from(found.loss)
            .map_err(|_| "the loss on the held-out set is not finite".to_owned())?;
        Ok(Evaluated { examples: found.examples, correct: found.correct, loss })
    }
}

/// Folds what waits, sixteen files in a pass.
fn fold_waiting(blobs: &Blobs, running: &mut Running, shape: &Shape) -> Result<(), String> {
    let parameters = check_model(&shape.model)?;
    let waiting = std::mem::take(&mut running.waiting);
    for group in waiting.chunks(TOGETHER) {
        let mut files = Vec::with_capacity(group.len());
        for update in group {
            let file = blobs
                .open_blob(&update.digest)
                .map_err(|error| format!("update {}: {error}", update.digest))?;
            let weight =
                u32::try_from(update.weight).map_err(|_| "an update's weight is out of range".to_owned())?;
            files.push((file, weight));
        }
        let sum = running.sum.get_or_insert_with(|| Accumulator::new(parameters));
        sum.fold_readers(&mut files, shape.scale_bits).map_err(|error| error.to_string())?;
        running.folded.extend(group.iter().map(|update| update.digest));
    }
    Ok(())
}

/// What a model of this spec takes on disk and in memory, or why there can be none: asked before a job is taken.
pub fn check_model(spec: &ModelSpec) -> Result<usize, String> {
    parameter_count(spec).map_err(|error| error.to_string())
}
