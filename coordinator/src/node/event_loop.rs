//! Inputs to `step`, effects in order, Persist as a barrier.
//!
//! One thread owns the core. It takes what has come in, steps through all of it, makes the facts of all steps durable
//! with one flush, and only then lets the other effects, and answers to readers, out.

use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::thread::JoinHandle;

use protocol::hash::Digest;
use protocol::time::Millis;
use tokio::runtime::Handle as Runtime;
use tokio::sync::{mpsc, oneshot};

use super::aggregate::{Shape, Work};
use super::chain::PostRequest;
use super::checks::{Checks, Question};
use super::clock::Clock;
use super::metrics::Metrics;
use super::peers::{Outgoing, Peers};
use super::prove::ProveRequest;
use super::store::Store;
use crate::core::{Coordinator, Effect, Event, Fact, Input, Record};
use crate::error::NodeError;

/// Commands that may wait for the core; senders wait beyond that.
const COMMANDS_MAX: usize = 4_096;
/// Commands that share one flush.
const GROUP_MAX: usize = 1_024;

/// A look at the core by somebody else.
type Reader = Box<dyn FnOnce(&Coordinator) + Send>;

/// Something for the core's thread.
enum Command {
    Event(Box<Event>),
    Read(Reader),
    Stop,
}

/// The way to the core, for everybody else.
#[derive(Clone)]
pub struct Core {
    commands: mpsc::Sender<Command>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Core")
    }
}

/// The core's thread has ended: the process is stopping.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the coordinator is stopping")]
pub struct Stopped;

/// A look at the core, and where its answer arrives.
fn asked<R: Send + 'static>(
    look: impl FnOnce(&Coordinator) -> R + Send + 'static,
) -> (Reader, oneshot::Receiver<R>) {
    let (answer, answered) = oneshot::channel();
    let look = move |core: &Coordinator| {
        // Fails only if the asker has gone.
        let _ = answer.send(look(core));
    };
    (Box::new(look), answered)
}

impl Core {
    /// Tells the core that something happened.
    pub async fn tell(&self, event: Event) -> Result<(), Stopped> {
        self.commands.send(Command::Event(Box::new(event))).await.map_err(|_| Stopped)
    }

    /// The same, from a thread that may block.
    pub fn tell_blocking(&self, event: Event) -> Result<(), Stopped> {
        self.commands.blocking_send(Command::Event(Box::new(event))).map_err(|_| Stopped)
    }

    /// Looks at the core: at a state whose facts are durable, with everything told before.
    pub async fn read<R: Send + 'static>(
        &self,
        look: impl FnOnce(&Coordinator) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        let (look, answered) = asked(look);
        self.commands.send(Command::Read(look)).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }

    /// The same, from a thread that may block.
    pub fn read_blocking<R: Send + 'static>(
        &self,
        look: impl FnOnce(&Coordinator) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        let (look, answered) = asked(look);
        self.commands.blocking_send(Command::Read(look)).map_err(|_| Stopped)?;
        answered.blocking_recv().map_err(|_| Stopped)
    }

    /// Ends the core's thread, after what was told before.
    pub async fn stop(&self) {
        // Fails only if it has ended.
        let _ = self.commands.send(Command::Stop).await;
    }
}

/// Where effects go.
#[derive(Debug)]
pub struct Outlets {
    /// Workers.
    pub peers: Arc<Peers>,
    /// The aggregator's thread.
    pub aggregator: blocking::Sender<Work>,
    /// Tasks run again.
    pub checks: Arc<Checks>,
    /// The poster.
    pub poster: mpsc::UnboundedSender<PostRequest>,
    /// Proves others' batches wrong.
    pub prover: mpsc::UnboundedSender<ProveRequest>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// A channel to a core that is not running yet: the outlets need the way in first.
pub struct Inlet(mpsc::Receiver<Command>);

impl std::fmt::Debug for Inlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inlet")
    }
}

/// The two ends of the way to the core.
pub fn channel() -> (Core, Inlet) {
    let (commands, inlet) = mpsc::channel(COMMANDS_MAX);
    (Core { commands }, Inlet(inlet))
}

/// The core's thread.
pub struct EventLoop {
    /// The decisions.
    pub core: Coordinator,
    /// The facts.
    pub store: Store,
    /// The time.
    pub clock: Arc<Clock>,
    /// Where effects go.
    pub outlets: Outlets,
}

impl std::fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventLoop")
    }
}

impl EventLoop {
    /// Starts the thread. It ends with an error when the disk refuses: what was not durable has not left.
    pub fn spawn(mut self, inlet: Inlet) -> std::io::Result<(JoinHandle<()>, oneshot::Receiver<NodeError>)> {
        let runtime = Runtime::current();
        let (failed, failure) = oneshot::channel();
        let thread = std::thread::Builder::new().name("core".into()).spawn(move || {
            if let Err(error) = self.run(inlet.0, &runtime) {
                // Fails only if the node has stopped caring.
                let _ = failed.send(error);
            }
        })?;
        Ok((thread, failure))
    }

    fn run(&mut self, mut inlet: mpsc::Receiver<Command>, runtime: &Runtime) -> Result<(), NodeError> {
        let mut wake: Option<Millis> = Some(self.clock.now());
        loop {
            let first = match wake {
                Some(at) => {
                    let until = self.clock.until(at);
                    runtime.block_on(async { tokio::time::timeout(until, inlet.recv()).await })
                }
                None => Ok(runtime.block_on(inlet.recv())),
            };
            let mut effects = Vec::new();
            let mut readers: Vec<Reader> = Vec::new();
            let mut stop = false;
            let mut next = match first {
                Err(_elapsed) => {
                    self.step(Event::Tick, &mut effects);
                    inlet.try_recv().ok()
                }
                Ok(Some(command)) => Some(command),
                Ok(None) => return Ok(()),
            };
            for _ in 0..GROUP_MAX {
                match next {
                    None => break,
                    Some(Command::Event(event)) => self.step(*event, &mut effects),
                    Some(Command::Read(reader)) => readers.push(reader),
                    Some(Command::Stop) => {
                        stop = true;
                        break;
                    }
                }
                next = inlet.try_recv().ok();
            }
            if !effects.is_empty() {
                wake = None;
            }
            self.release(effects, &mut wake)?;
            for reader in readers {
                reader(&self.core);
            }
            if stop {
                return Ok(());
            }
        }
    }

    fn step(&mut self, event: Event, effects: &mut Vec<Effect>) {
        let at = self.clock.now();
        effects.extend(self.core.step(Input { at, event }));
    }

    /// One flush for all facts, then everything else in order.
    fn release(&mut self, effects: Vec<Effect>, wake: &mut Option<Millis>) -> Result<(), NodeError> {
        let facts: Vec<&Record> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Persist(record) => Some(&**record),
                _ => None,
            })
            .collect();
        if !facts.is_empty() {
            self.store.append(facts.iter().copied())?;
            for record in facts {
                self.outlets.metrics.fact(&record.fact);
                if let Fact::Judged { task, worker, verdict, .. } = &record.fact {
                    tracing::warn!(%task, %worker, ?verdict, "a result that was run again was judged");
                }
                tracing::debug!(fact = ?record.fact, "durable");
                if let Fact::Adopted { batch, proposer, .. } = &record.fact {
                    let number = batch.header.number;
                    tracing::warn!(%number, %proposer, "somebody else posted a batch, after a silence");
                }
            }
        }
        self.outlets.metrics.evidence(self.core.evidence().dropped_early());
        for effect in effects {
            self.run_effect(effect, wake);
        }
        Ok(())
    }

    fn run_effect(&self, effect: Effect, wake: &mut Option<Millis>) {
        let outlets = &self.outlets;
        match effect {
            Effect::Persist(_) => {}
            Effect::Send { to, message } => outlets.peers.send(to, Outgoing::Message(message)),
            Effect::Accept { to, task, nonce, acceptance } => {
                outlets.peers.send(to, Outgoing::Accept { task, nonce, acceptance });
            }
            Effect::Refuse { to, reason } => outlets.peers.send(to, Outgoing::Refuse(reason)),
            Effect::Initialise { job, model, seed, start, shards, evaluation } => {
                self.aggregate(Work::Initialise { job, model, seed, start, shards, evaluation });
            }
            Effect::Check(check) => outlets.checks.begin(*check),
            Effect::Answer { nonce, dispute, round, asked } => {
                outlets.checks.ask(&nonce, Question::Move { dispute, round, asked: *asked });
            }
            Effect::RunOperator { nonce, trace, operator, inputs } => {
                outlets.checks.ask(&nonce, Question::Run { trace, operator, inputs });
            }
            Effect::EndCheck(nonce) => outlets.checks.end(&nonce),
            Effect::Keep(transcript) => outlets.checks.keep(*transcript),
            Effect::KeepRefused(receipt) => outlets.checks.keep_refused(&receipt),
            Effect::Fold { job, round, update, model, scale_bits } => {
                self.aggregate(Work::Fold { job, round, update, shape: Shape { model, scale_bits } });
            }
            Effect::FinishRound(round) => self.aggregate(Work::Finish(round)),
            Effect::Discard(digests) => self.aggregate(Work::Discard(digests)),
            Effect::Post(batch) => {
                // Fails only when the node stops; a restart posts it.
                let _ = outlets.poster.send(PostRequest(batch));
            }
            Effect::Prove { number, fraud } => {
                tracing::error!(%number, part = %fraud.part(), "somebody else's batch is wrong: proving it");
                // Fails only when the node stops; a restart finds the batch again.
                let _ = outlets.prover.send(ProveRequest { number, fraud });
            }
            Effect::WakeAt(at) => *wake = Some(at),
        }
    }

    fn aggregate(&self, work: Work) {
        // Fails only when the node stops; a restart asks again.
        let _ = self.outlets.aggregator.send(work);
    }
}

/// Blobs that specs name and that are on disk: told to the core at every start.
pub fn stored_blobs(core: &Coordinator, has: impl Fn(&Digest) -> bool) -> Vec<Digest> {
    let mut digests: Vec<Digest> =
        core.specs().values().flat_map(|known| crate::core::jobs::Job::needed_blobs(&known.spec)).collect();
    digests.sort_unstable();
    digests.dedup();
    digests.retain(has);
    digests
}
