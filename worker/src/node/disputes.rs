//! Answers in disputes: one thread for each, which has run the task again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::time::Duration;

use models::ModelError;
use models::replay::desk::Desk;
use protocol::hash::Digest;
use protocol::ids::Nonce;
use protocol::job::{Task, TaskWork};
use tokio::sync::mpsc;

use super::cache::Cache;
use crate::core::{Event, LinkId, Question};

/// A dispute that nothing has been asked in for so long is over.
const IDLE: Duration = Duration::from_secs(900);

/// Disputes over this worker's results.
#[derive(Debug)]
pub struct Disputes {
    cache: Arc<Cache>,
    /// Where states of trainings that are run again are kept meanwhile.
    directory: PathBuf,
    /// Threads of each.
    threads: usize,
    events: mpsc::Sender<Event>,
    open: BTreeMap<Nonce, blocking::Sender<(LinkId, Question)>>,
}

impl Disputes {
    /// None yet, each to be run on so many threads. States of trainings are kept under `directory`, which is emptied.
    pub fn new(cache: Arc<Cache>, directory: PathBuf, threads: usize, events: mpsc::Sender<Event>) -> Self {
        // What a process left that was killed.
        let _ = std::fs::remove_dir_all(&directory);
        Self { cache, directory, threads, events, open: BTreeMap::new() }
    }

    /// Answers a question about a task.
    pub fn answer(&mut self, link: LinkId, task: &Task, question: Question) {
        let TaskWork::Train(_) = &task.work else { return };
        let mut question = (link, question);
        if let Some(thread) = self.open.get(&task.nonce) {
            match thread.send(question) {
                Ok(()) => return,
                // It has ended.
                Err(blocking::SendError(unsent)) => question = unsent,
            }
        }
        self.open.retain(|nonce, _| *nonce != task.nonce);
        let (sender, receiver) = blocking::channel();
        // Fails only if the receiver, which is here, is gone.
        let _ = sender.send(question);
        let (cache, events, task) = (self.cache.clone(), self.events.clone(), task.clone());
        let directory = self.directory.join(task.nonce.to_string());
        let (nonce, threads) = (task.nonce, self.threads);
        let thread = std::thread::Builder::new().name(format!("dispute {}", task.id));
        let spawned = thread.spawn(move || {
            let mut blob = |digest: &Digest| cache.read(digest).ok_or_else(|| gone(digest));
            let desk = match &task.work {
                TaskWork::Train(work) => Desk::open(work, &mut blob, directory, threads),
                TaskWork::Infer(_) => return,
            };
            if let Err(error) = desk.and_then(|desk| serve(desk, &receiver, &events)) {
                tracing::error!(task = %task.id, %error, "this worker cannot show how it came to its result");
            }
        });
        match spawned {
            Ok(_) => drop(self.open.insert(nonce, sender)),
            Err(error) => tracing::error!(%error, "no thread to answer a dispute on"),
        }
    }
}

fn gone(digest: &Digest) -> ModelError {
    ModelError::Format(format!("the blob {digest} is not in the cache any more"))
}

fn serve(
    mut desk: Desk,
    questions: &blocking::Receiver<(LinkId, Question)>,
    events: &mpsc::Sender<Event>,
) -> Result<(), ModelError> {
    while let Ok((link, Question { dispute, round, asked })) = questions.recv_timeout(IDLE) {
        if let Some(said) = desk.answer(&asked)? {
            let said = Box::new(said);
            if events.blocking_send(Event::Answered { link, dispute, round, said }).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}
