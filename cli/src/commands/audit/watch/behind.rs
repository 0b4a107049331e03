//! Where evidence is looked for: each source in a task of its own, so that nobody who keeps it waiting keeps the watch
//! from reading blocks and proving what is wrong.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::ledger::State;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::super::exhibit::{Exhibit, Specs};
use super::super::reexecute;
use crate::error::CliError;
use crate::replay::Posting;
use crate::source::{Mirror, Source};

/// Answers that wait to be judged; a source that shows more waits.
const ANSWERS_MAX: usize = 2;

/// What the sources are asked for.
#[derive(Clone, Debug)]
struct Wanted {
    missing: BTreeSet<Posting>,
    /// It names the specs of jobs.
    state: Arc<State>,
}

/// What a source answered.
#[derive(Debug)]
pub enum Answer {
    /// It shows what lies behind a batch.
    Shown {
        /// Its place among the sources.
        source: usize,
        /// The batch.
        posting: Posting,
        /// What it shows.
        shown: Box<Exhibit>,
        /// To be told whether it holds: then it is kept.
        holds: oneshot::Sender<bool>,
    },
    /// What was shown could not be kept.
    NotKept {
        /// The source.
        source: usize,
        /// The batch.
        posting: Posting,
        /// Why.
        error: CliError,
    },
}

/// Everybody who is asked for evidence.
#[derive(Debug)]
pub struct Behind {
    /// What each source has not shown.
    missing: Vec<(watch::Sender<Wanted>, BTreeSet<Posting>)>,
    answers: mpsc::Receiver<Answer>,
    /// They end with this.
    _tasks: JoinSet<()>,
}

impl Behind {
    /// Begins to ask, with `pause` between two rounds; what holds is kept in the mirror.
    pub fn start(sources: Vec<Source>, mirror: Option<PathBuf>, pause: Duration) -> Self {
        let (sender, answers) = mpsc::channel(ANSWERS_MAX);
        let mut tasks = JoinSet::new();
        let mut missing = Vec::new();
        for (number, source) in sources.into_iter().enumerate() {
            let nothing = Wanted { missing: BTreeSet::new(), state: Arc::default() };
            let (wanted, receiver) = watch::channel(nothing);
            let (sender, mirror) = (sender.clone(), mirror.clone());
            tasks.spawn(seek(number, source, mirror, pause, receiver, sender));
            missing.push((wanted, BTreeSet::new()));
        }
        Self { missing, answers, _tasks: tasks }
    }

    /// Whether nobody is asked.
    pub fn is_idle(&self) -> bool {
        self.missing.iter().all(|(_, missing)| missing.is_empty())
    }

    /// Asks every source for one more batch.
    pub fn want(&mut self, posting: Posting) {
        for (_, missing) in &mut self.missing {
            missing.insert(posting);
        }
    }

    /// Asks one source once more.
    pub fn want_again(&mut self, source: usize, posting: Posting) {
        if let Some((_, missing)) = self.missing.get_mut(source) {
            missing.insert(posting);
        }
    }

    /// Notes that a source has shown a batch; whether it was to.
    pub fn came(&mut self, source: usize, posting: Posting) -> bool {
        self.missing.get_mut(source).is_some_and(|(_, missing)| missing.remove(&posting))
    }

    /// Tells the sources' tasks what is missing, of what `stands`.
    pub fn tell(&mut self, stands: impl Fn(Posting) -> bool, state: &State) {
        for (wanted, missing) in &mut self.missing {
            missing.retain(|posting| stands(*posting));
            if wanted.borrow().missing != *missing {
                wanted.send_replace(Wanted { missing: missing.clone(), state: Arc::new(state.clone()) });
            }
        }
    }

    /// The next answer; never, where nobody is asked.
    pub async fn answer(&mut self) -> Answer {
        match self.answers.recv().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    /// Batches that no source has shown.
    pub fn unshown(&self) -> impl Iterator<Item = Posting> {
        let first = self.missing.first().into_iter().flat_map(|(_, missing)| missing.iter().copied());
        first.filter(|posting| self.missing.iter().all(|(_, missing)| missing.contains(posting)))
    }
}

/// Asks one source for what it has not shown, again and again: who has it may be away, and may come back.
async fn seek(
    number: usize,
    source: Source,
    mirror: Option<PathBuf>,
    pause: Duration,
    mut wanted: watch::Receiver<Wanted>,
    answers: mpsc::Sender<Answer>,
) {
    let mut specs = Specs::new();
    loop {
        let mut asked = BTreeSet::new();
        loop {
            let Wanted { missing, state } = wanted.borrow_and_update().clone();
            let Some(posting) = missing.into_iter().find(|posting| !asked.contains(posting)) else { break };
            asked.insert(posting);
            let shown = match Exhibit::ask(&source, posting.number(), &state, &mut specs).await {
                Ok(shown) => Box::new(shown),
                Err(CliError::Unreachable { .. }) => break,
                Err(_) => continue,
            };
            let evidence = mirror.as_ref().map(|_| shown.evidence.clone());
            let (holds, judged) = oneshot::channel();
            if answers.send(Answer::Shown { source: number, posting, shown, holds }).await.is_err() {
                return;
            }
            let (Ok(true), Some(evidence), Some(mirror)) = (judged.await, evidence, &mirror) else {
                continue;
            };
            let kept = async {
                Mirror(mirror).keep_evidence(posting.number(), &evidence)?;
                reexecute::keep_work(&source, Mirror(mirror), &evidence).await
            };
            if let Err(error) = kept.await
                && answers.send(Answer::NotKept { source: number, posting, error }).await.is_err()
            {
                return;
            }
        }
        // Whichever comes first; the watch ends when nobody wants anything any more.
        if let Ok(Err(_)) = tokio::time::timeout(pause, wanted.changed()).await {
            return;
        }
    }
}
