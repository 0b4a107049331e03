//! Tasks on threads of their own: one for each, what they loaded kept warm for the next.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use models::ModelError;
use models::data::{Dataset, shard as shards};
use models::infer::Loaded;
use models::infer::task::Answering;
use models::kernels::Machine;
use models::replay::TrainingTask;
use models::replay::checkpoints::NoCheckpoints;
use models::replay::party::Party;
use models::train::{Control, TrainParams, train_on};
use models::weights::Weights;
use protocol::hash::Digest;
use protocol::ids::Nonce;
use protocol::job::{
    Evaluated, InferTask, ModelSpec, Name, Real, Reason, Task, TaskData, TaskWork, TrainTask,
};
use protocol::rng::Rng;
use tokio::sync::mpsc;

use super::cache::{Cache, Results};
use super::clock::Clock;
use super::data::{DataSource, HeldShard, Shard};
use super::limits::PROGRESS_MS_MIN;
use crate::core::{Event, Output, TaskFailure};

/// Runs tasks. The core starts no more at once than the worker has slots.
#[derive(Debug)]
pub struct Executor {
    shared: Arc<Shared>,
    cancels: BTreeMap<Nonce, Arc<AtomicBool>>,
}

/// The worker's own examples.
#[derive(Debug)]
pub struct Held {
    /// Where they are.
    pub sources: Vec<DataSource>,
    /// A data set that is loaded already.
    pub shard: Option<HeldShard>,
}

struct Shared {
    cache: Arc<Cache>,
    results: Results,
    sources: BTreeMap<Name, DataSource>,
    /// Threads of a task.
    threads: usize,
    clock: Clock,
    events: mpsc::Sender<Event>,
    /// The data set used last: the next round most likely needs it again.
    shard: Mutex<Option<HeldShard>>,
    /// The model used last, in nobody's hands: the next inference task most likely needs it again.
    model: Mutex<Option<(Digest, Answering)>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("sources", &self.sources).finish_non_exhaustive()
    }
}

/// One task as its thread sees it.
struct Job<'a> {
    shared: &'a Shared,
    nonce: Nonce,
    cancelled: &'a AtomicBool,
    reported: u64,
}

impl Executor {
    /// An executor of tasks on so many threads each that answers on `events`.
    pub fn new(
        cache: Arc<Cache>,
        results: Results,
        held: Held,
        threads: usize,
        clock: Clock,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let sources = held.sources.into_iter().map(|source| (source.tag.clone(), source)).collect();
        let (shard, model) = (Mutex::new(held.shard), Mutex::new(None));
        let shared = Arc::new(Shared { cache, results, sources, threads, clock, events, shard, model });
        Self { shared, cancels: BTreeMap::new() }
    }

    /// Starts a task; its end is an [`Event::TaskEnded`].
    pub fn start(&mut self, task: Task) {
        self.cancels.retain(|_, cancelled| Arc::strong_count(cancelled) > 1);
        let cancelled = Arc::new(AtomicBool::new(false));
        self.cancels.insert(task.nonce, cancelled.clone());
        let shared = self.shared.clone();
        let nonce = task.nonce;
        let thread = std::thread::Builder::new().name(format!("task {}", task.id));
        let spawned = thread.spawn(move || {
            let mut job = Job { shared: &shared, nonce, cancelled: &cancelled, reported: 0 };
            // Whatever a peer's model or weights make the kernels do, the slot comes back and the task is declined.
            let run = std::panic::AssertUnwindSafe(|| job.run(&task));
            let result = std::panic::catch_unwind(run).unwrap_or_else(|_| {
                Err(TaskFailure::Failed("computing it failed here (a fault in this program)".into()))
            });
            // Only a process that is about to end has stopped listening.
            let _ = shared.events.blocking_send(Event::TaskEnded { nonce, result });
        });
        if let Err(error) = spawned {
            // Waits for room in the channel like any other sender, but not on the event loop.
            let events = self.shared.events.clone();
            let result = Err(TaskFailure::Failed(format!("no thread to run it on: {error}").into()));
            tokio::spawn(async move { events.send(Event::TaskEnded { nonce, result }).await });
        }
    }

    /// Ends a task at its next step.
    pub fn cancel(&self, nonce: &Nonce) {
        if let Some(cancelled) = self.cancels.get(nonce) {
            cancelled.store(true, Ordering::Relaxed);
        }
    }

    /// Ends all of them.
    pub fn cancel_all(&self) {
        self.cancels.values().for_each(|cancelled| cancelled.store(true, Ordering::Relaxed));
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.cancel_all();
    }
}

fn failed(error: impl std::fmt::Display) -> TaskFailure {
    TaskFailure::Failed(Reason::from(error.to_string()))
}

impl From<ModelError> for TaskFailure {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Cancelled { .. } => Self::Cancelled,
            other => failed(other),
        }
    }
}

impl Job<'_> {
    fn run(&mut self, task: &Task) -> Result<Output, TaskFailure> {
        match &task.work {
            TaskWork::Train(work) => self.train(work),
            TaskWork::Infer(work) => self.infer(work),
        }
    }

    fn blob(&self, digest: &Digest) -> Result<Vec<u8>, TaskFailure> {
        self.shared.cache.read(digest).ok_or(TaskFailure::BlobMissing)
    }

    fn store(&self, bytes: &[u8]) -> Result<Digest, TaskFailure> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(TaskFailure::Cancelled);
        }
        self.shared
            .results
            .write(bytes)
            .map_err(|error| failed(format!("the result cannot be stored: {error}")))
    }

    fn report(&mut self, done: u64, of: u64, loss: Option<f64>) {
        let now = self.shared.clock.now().0;
        if now.saturating_sub(self.reported) < PROGRESS_MS_MIN {
            return;
        }
        self.reported = now;
        let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let loss = loss.and_then(|loss| Real::try_from(loss as f32).ok());
        let event = Event::Progress { nonce: self.nonce, done: count(done), of: count(of), loss };
        // A report that finds no room is not worth waiting for.
        let _ = self.shared.events.try_send(event);
    }

    fn shard(&self, model: &ModelSpec, data: &TaskData, hold_out: bool) -> Result<Arc<Shard>, TaskFailure> {
        // Held while loading: two tasks that need the same data load it once.
        let mut warm = self.shared.shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((held, shard)) = &*warm
            && held == data
            && shard.dataset.shape() == model.input
            && shard.held_out.is_some() == hold_out
        {
            return Ok(shard.clone());
        }
        // Gone before the next one comes: never both in memory.
        *warm = None;
        let shard = match data {
            TaskData::Local(tag) => {
                let source = self.shared.sources.get(tag);
                let source = source.ok_or_else(|| failed(format!("no data under the tag '{tag}'")))?;
                source.load().map_err(failed)?.shaped(model.input).map_err(failed)?
            }
            TaskData::Shard(stated) => {
                Shard::of_job(shards::parse(model, stated, &self.blob(&stated.digest)?)?)
            }
        };
        let shard = Arc::new(if hold_out { shard.holding_out() } else { shard });
        *warm = Some((data.clone(), shard.clone()));
        Ok(shard)
    }

    fn machine(&self) -> Machine {
        Machine::new(self.shared.threads)
    }

    fn train(&mut self, work: &TrainTask) -> Result<Output, TaskFailure> {
        let weights = Weights::parse(&work.model, &self.blob(&work.weights)?)?;
        let shard = self.shard(&work.model, &work.data, work.evaluate)?;
        let held_out = shard.held_out.as_ref().filter(|held_out| !held_out.is_empty());
        let evaluated = held_out.map(|held_out| evaluate(&weights, held_out, self.machine())).transpose()?;
        let params = TrainParams {
            local_epochs: work.local_epochs,
            minibatch: work.minibatch,
            learning_rate: work.learning_rate.get(),
            momentum: work.momentum.get(),
            // Out of the job, the round and the examples; never out of keys or clocks, so a rerun gives the same bits.
            seed: shard.seed.map_or(work.seed, |own| Rng::derive(&[work.seed, own]).next()),
        };
        let (machine, threads) = (self.machine(), self.shared.threads);
        let progress = &mut |progress: models::train::Progress| {
            self.report(progress.step, progress.steps, Some(progress.loss));
            if self.cancelled.load(Ordering::Relaxed) { Control::Cancel } else { Control::Continue }
        };
        let (update, loss, trace) = match TrainingTask::of(work) {
            // Whoever runs it again can hold this worker to every step.
            Some(task) => {
                let (weights, data) = (Arc::new(weights), shard.dataset.clone());
                let committed = Party::new(task, weights, data, threads, NoCheckpoints)?.train(progress)?;
                let root = committed.root().map_err(failed)?;
                (committed.update, committed.loss, Some(root))
            }
            None => {
                let trained = train_on(machine, &weights, &shard.dataset, &params, progress, None)?;
                let update =
                    models::update::encode(weights.values(), trained.weights.values(), work.scale_bits);
                (update.map_err(failed)?, trained.loss, None)
            }
        };
        Ok(Output {
            result: self.store(&update)?,
            result_bytes: update.len() as u64,
            examples: shard.dataset.len() as u64,
            loss: Real::try_from(loss).ok(),
            evaluated,
            trace,
        })
    }

    fn infer(&mut self, work: &InferTask) -> Result<Output, TaskFailure> {
        let mut model = self.model(&work.model, work.weights)?;
        let answers = self.answer(work, &mut model);
        *self.shared.model.lock().unwrap_or_else(PoisonError::into_inner) = Some((work.weights, model));
        let answers = answers?;
        Ok(Output {
            result: self.store(&answers)?,
            result_bytes: answers.len() as u64,
            examples: work.items.into(),
            loss: None,
            evaluated: None,
            trace: None,
        })
    }

    /// The warm model, if it is this one and nobody else uses it.
    fn model(&self, spec: &ModelSpec, weights: Digest) -> Result<Answering, TaskFailure> {
        let warm = self.shared.model.lock().unwrap_or_else(PoisonError::into_inner).take();
        match warm {
            Some((held, model)) if held == weights && model.spec() == spec => Ok(model),
            _ => Ok(Answering::new(&Weights::parse(spec, &self.blob(&weights)?)?, self.machine())?),
        }
    }

    fn answer(&mut self, work: &InferTask, model: &mut Answering) -> Result<Vec<u8>, TaskFailure> {
        let input = self.blob(&work.input)?;
        let progress = &mut |done| {
            self.report(done, work.items.into(), None);
            if self.cancelled.load(Ordering::Relaxed) { Control::Cancel } else { Control::Continue }
        };
        Ok(model.answer(work.first_item, work.items, &input, progress)?)
    }
}

fn evaluate(weights: &Weights, held_out: &Dataset, machine: Machine) -> Result<Evaluated, TaskFailure> {
    let evaluation = Loaded::on(weights, machine)?.evaluate(held_out)?;
    let loss =
        Real::try_from(evaluation.loss).map_err(|_| failed("the global weights give no finite loss"))?;
    Ok(Evaluated { examples: evaluation.examples, correct: evaluation.correct, loss })
}
