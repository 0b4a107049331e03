//! Inputs to `step`, effects in order, `Persist` as a barrier.

use std::sync::Arc;
use std::time::Duration;

use protocol::job::Reason;
use protocol::time::Millis;
use tokio::sync::mpsc;

use super::cache::{Cache, Results};
use super::clock::Clock;
use super::disputes::Disputes;
use super::executor::Executor;
use super::limits::EVENTS_MAX;
use super::link::Links;
use super::log;
use super::store::{Store, StoreError};
use crate::core::{Effect, Event, Fact, Input, Note, Worker};

/// Everything the loop acts on.
pub(super) struct Shell {
    pub(super) worker: Worker,
    pub(super) store: Store,
    pub(super) links: Links,
    pub(super) executor: Executor,
    pub(super) disputes: Disputes,
    pub(super) cache: Arc<Cache>,
    pub(super) results: Results,
    pub(super) clock: Clock,
    pub(super) events: mpsc::Receiver<Event>,
    /// Called at the first welcome.
    pub(super) on_welcome: Option<Box<dyn FnOnce() + Send>>,
}

/// How the loop ended.
pub(super) enum Ended {
    /// As it was asked to.
    Left,
    /// The core refuses to go on until a person changes something.
    Refused(Reason),
}

impl Shell {
    /// Runs until the core says stop.
    ///
    /// # Errors
    /// Facts could not be made durable: nothing that rests on them has left.
    pub(super) async fn run(mut self) -> Result<Ended, StoreError> {
        let mut wake = None;
        let mut batch = vec![Event::Started];
        let ended = loop {
            let effects = self.decide(batch);
            let (facts, effects) = split(effects);
            self.persist(facts).await?;
            if let Some(ended) = self.act(effects, &mut wake) {
                break ended;
            }
            batch = self.next_batch(wake).await;
        };
        self.executor.cancel_all();
        // Whoever waits to tell something more need not wait any longer.
        self.events.close();
        self.links.shut_down().await;
        Ok(ended)
    }

    /// Waits for an input, and takes those that wait behind it.
    async fn next_batch(&mut self, wake: Option<Millis>) -> Vec<Event> {
        let wait_ms = wake.map(|wake| wake.since(self.clock.now()));
        let alarm = async {
            match wait_ms {
                Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                None => std::future::pending().await,
            }
        };
        let first = tokio::select! {
            // The shell holds a sender itself, so the channel does not end.
            event = self.events.recv() => event.unwrap_or(Event::Tick),
            () = alarm => Event::Tick,
        };
        let mut batch = vec![first];
        while batch.len() < EVENTS_MAX
            && let Ok(event) = self.events.try_recv()
        {
            batch.push(event);
        }
        batch
    }

    fn decide(&mut self, batch: Vec<Event>) -> Vec<Effect> {
        let at = self.clock.now();
        let worker = &mut self.worker;
        batch.into_iter().flat_map(|event| worker.step(Input { at, event })).collect()
    }

    /// One flush for all facts of a batch. Off the runtime: a card in a small board may take its time.
    async fn persist(&mut self, facts: Vec<Fact>) -> Result<(), StoreError> {
        if facts.is_empty() {
            return Ok(());
        }
        tokio::task::block_in_place(|| {
            self.store.append(&facts)?;
            if self.store.wants_compaction() {
                self.store = Store::rewrite(self.store.path(), &self.worker.facts())?;
            }
            Ok(())
        })
    }

    fn act(&mut self, effects: Vec<Effect>, wake: &mut Option<Millis>) -> Option<Ended> {
        let mut ended = None;
        *wake = None;
        for effect in effects {
            match effect {
                Effect::Persist(_) => {}
                Effect::Connect(link) => self.links.connect(link),
                Effect::Disconnect(link) => self.links.disconnect(link),
                Effect::Send { link, message } => self.links.send(link, *message),
                Effect::FetchBlob { link, digest } => {
                    self.links.fetch(link, digest, &self.cache, self.worker.blobs_in_use());
                }
                Effect::StartTask(task) => self.executor.start(*task),
                Effect::CancelTask(nonce) => self.executor.cancel(&nonce),
                Effect::Upload { link, task, nonce, digest, .. } => {
                    self.links.upload(link, task, nonce, digest, self.results.path(&digest));
                }
                Effect::Answer { link, task, question } => self.disputes.answer(link, &task, *question),
                Effect::Discard(digest) => self.results.discard(&digest),
                Effect::WakeAt(at) => *wake = Some(at),
                Effect::Log(note) => self.note(&note),
                Effect::Stop(None) => ended = Some(Ended::Left),
                Effect::Stop(Some(reason)) => ended = Some(Ended::Refused(reason)),
            }
        }
        ended
    }

    fn note(&mut self, note: &Note) {
        log::write(note);
        if matches!(note, Note::Welcomed { .. })
            && let Some(on_welcome) = self.on_welcome.take()
        {
            on_welcome();
        }
    }
}

/// The facts of a batch, and what waits for them.
fn split(effects: Vec<Effect>) -> (Vec<Fact>, Vec<Effect>) {
    let mut facts = Vec::new();
    let rest = effects.into_iter().filter_map(|effect| match effect {
        Effect::Persist(fact) => {
            facts.push(fact);
            None
        }
        other => Some(other),
    });
    let rest = rest.collect();
    (facts, rest)
}
