//! Tasks run again, and this coordinator's side of disputes over them: a thread for each check. One at a time runs its
//! task, and one at a time makes a move.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{self as blocking, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};

use models::ModelError;
use models::kernels::Machine;
use models::replay::desk::Desk;
use models::train::Control;
use protocol::api::{self, AcceptedTask};
use protocol::dispute::Terms;
use protocol::dispute::moves::{Asked, Body};
use protocol::dispute::shape::Trace;
use protocol::hash::{Digest, Keccak};
use protocol::ids::{JobId, Nonce};
use protocol::job::{InferTask, Reason, Receipt, TaskWork, TrainTask};
use protocol::limits::BLOB_BYTES_MAX;
use protocol::sign::eip712::Domain;
use protocol::sign::{NodeKey, Unverified};
use protocol::wire::codec;

use super::blobs::Blobs;
use super::event_loop::Core;
use super::http::hex;
use crate::core::{Check, Event, Found, Transcript};
use crate::error::NodeError;

/// Bytes of a kept transcript, far over what any dispute comes to.
const TRANSCRIPT_BYTES_MAX: u64 = 16 << 20;
/// How names of refused receipts begin.
const REFUSED: &str = "refused-";

/// Something that a check's thread is asked.
#[derive(Debug)]
pub enum Question {
    /// This side's move.
    Move {
        /// The dispute.
        dispute: Digest,
        /// Which of its rounds.
        round: u32,
        /// What is asked.
        asked: Asked,
    },
    /// An operator's output.
    Run {
        /// The step's trace.
        trace: Trace,
        /// The operator, from 1.
        operator: u32,
        /// What it reads.
        inputs: Vec<Keccak>,
    },
}

/// All checks under way.
pub struct Checks {
    core: Core,
    blobs: Arc<Blobs>,
    key: Arc<NodeKey>,
    rollup: Domain,
    /// Threads that a task is run again on.
    cores: usize,
    threads: Mutex<BTreeMap<Nonce, blocking::Sender<Question>>>,
    turns: Turns,
    /// Where states of trainings are kept while they are disputed.
    states: PathBuf,
    transcripts: PathBuf,
}

impl std::fmt::Debug for Checks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Checks")
    }
}

impl Checks {
    /// None yet. `directory` is the coordinator's; `key` signs its moves, for tasks of this `rollup`; tasks are run
    /// again on so many `cores`.
    pub fn open(
        core: Core,
        blobs: Arc<Blobs>,
        key: Arc<NodeKey>,
        rollup: Domain,
        cores: usize,
        directory: &std::path::Path,
    ) -> Result<Self, NodeError> {
        let (states, transcripts) = (directory.join("checks"), directory.join("disputes"));
        // What a process left that was killed.
        let _ = fs::remove_dir_all(&states);
        let disk = |source| NodeError::Disk { what: "making the directory of disputes", source };
        fs::create_dir_all(&transcripts).map_err(disk)?;
        let (threads, turns) = (Mutex::default(), Turns::default());
        Ok(Self { core, blobs, key, rollup, cores, threads, turns, states, transcripts })
    }

    /// Runs a task again.
    pub fn begin(&self, check: Check) {
        let nonce = check.receipt.nonce;
        let (sender, questions) = blocking::channel();
        let desk = Papers {
            core: self.core.clone(),
            blobs: self.blobs.clone(),
            key: self.key.clone(),
            rollup: self.rollup,
            cores: self.cores,
            turns: self.turns.clone(),
            states: self.states.join(nonce.to_string()),
        };
        let thread = std::thread::Builder::new().name(format!("check {}", check.receipt.task));
        let spawned = thread.spawn(move || desk.serve(&check, &questions));
        match spawned {
            Ok(_) => drop(self.lock().insert(nonce, sender)),
            Err(error) => {
                let found = Err(Reason::from(format!("no thread to run it on: {error}")));
                let core = self.core.clone();
                tokio::spawn(async move { core.tell(Event::Checked { nonce, found }).await });
            }
        }
    }

    /// Asks a check's thread; it answers the core.
    pub fn ask(&self, nonce: &Nonce, question: Question) {
        if let Some(thread) = self.lock().get(nonce) {
            // A thread that could not go on has said so.
            let _ = thread.send(question);
        }
    }

    /// Nothing more is asked.
    pub fn end(&self, nonce: &Nonce) {
        self.lock().remove(nonce);
    }

    /// Keeps what was said in a dispute.
    pub fn keep(&self, transcript: Transcript) {
        let Transcript { round, place, weights, receipt, terms, moves, verdict } = transcript;
        let (task, nonce) = (terms.task, terms.nonce);
        let receipt = hex(&codec::encode(receipt.as_wire()));
        let claim = AcceptedTask { task, round, place, weights, receipt };
        let transcript = api::Transcript { claim, terms, moves, verdict };
        let name = format!("{}-{}-{}-{nonce}.json", task.job, task.settlement, task.slot);
        let kept = serde_json::to_vec(&transcript)
            .map_err(std::io::Error::from)
            .and_then(|bytes| fs::write(self.transcripts.join(name), bytes));
        if let Err(error) = kept {
            tracing::error!(%task, %error, "what was said in a dispute cannot be kept");
        }
    }

    /// What was said in the disputes over a job's tasks, in the order of their tasks.
    pub fn transcripts(&self, job: JobId) -> Vec<api::Transcript> {
        let read = |path: PathBuf| {
            let read = fs::read(&path).map_err(|error| error.to_string());
            let read = read.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
            read.inspect_err(|error| tracing::warn!(path = %path.display(), %error, "no transcript")).ok()
        };
        self.kept(&format!("{job}-")).into_iter().filter_map(read).collect()
    }

    /// Keeps a receipt whose answers were refused.
    pub fn keep_refused(&self, receipt: &Unverified<Receipt>) {
        let Receipt { task, nonce, .. } = &receipt.body;
        let name = format!("{REFUSED}{}-{}-{}-{nonce}", task.job, task.settlement, task.slot);
        if let Err(error) = fs::write(self.transcripts.join(name), codec::encode(receipt)) {
            tracing::error!(%task, %error, "a receipt whose answers were refused cannot be kept");
        }
    }

    /// The receipts of a job whose answers were refused, in the order of their tasks.
    pub fn refused(&self, job: JobId) -> Vec<Vec<u8>> {
        self.kept(&format!("{REFUSED}{job}-")).into_iter().filter_map(|path| fs::read(path).ok()).collect()
    }

    /// What is kept under names that begin like this.
    fn kept(&self, begins: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.transcripts).into_iter().flatten().filter_map(Result::ok);
        let mut paths: Vec<PathBuf> = entries
            .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(begins)))
            .filter(|entry| entry.metadata().is_ok_and(|data| data.len() <= TRANSCRIPT_BYTES_MAX))
            .map(|entry| entry.path())
            .collect();
        paths.sort();
        paths
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Nonce, blocking::Sender<Question>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose turn it is to compute: a coordinator has other things to do. Moves have a deadline, and do not stand in line
/// behind the trainings of others that are run again.
#[derive(Clone, Default)]
struct Turns {
    runs: Arc<Mutex<()>>,
    moves: Arc<Mutex<()>>,
}

/// What a check's thread has.
struct Papers {
    core: Core,
    blobs: Arc<Blobs>,
    key: Arc<NodeKey>,
    rollup: Domain,
    cores: usize,
    turns: Turns,
    states: PathBuf,
}

impl Papers {
    fn serve(self, check: &Check, questions: &blocking::Receiver<Question>) {
        let (core, nonce) = (self.core.clone(), check.receipt.nonce);
        let served = catch_unwind(AssertUnwindSafe(|| self.check_and_answer(check, questions)));
        if served.is_err() {
            tracing::error!(task = %check.receipt.task, "a fault in running a task again");
            // One of them is what the core waits for; the other says nothing to it.
            let why = || Reason::from("a fault of this program: its log says more");
            let _ = core.tell_blocking(Event::Checked { nonce, found: Err(why()) });
            let _ = core.tell_blocking(Event::Ran { nonce, output: Err(why()) });
        }
    }

    fn check_and_answer(&self, check: &Check, questions: &blocking::Receiver<Question>) {
        let nonce = check.receipt.nonce;
        let (core, states) = (self.core.clone(), self.states.clone());
        let again = match &check.task {
            TaskWork::Train(train) => self.train_again(check, train, states, questions),
            TaskWork::Infer(infer) => self.answer_again(check, infer).map(|found| (found, None)),
        };
        let told = match again {
            Err(error) => core.tell_blocking(Event::Checked { nonce, found: Err(error.to_string().into()) }),
            Ok((found, desk)) => {
                let told = core.tell_blocking(Event::Checked { nonce, found: Ok(found) });
                match desk {
                    Some(desk) if told.is_ok() => self.answer(desk, nonce, questions),
                    _ => told,
                }
            }
        };
        // Whom should it tell: the node is stopping.
        let _ = told;
    }

    fn blob(&self, digest: &Digest) -> Result<Vec<u8>, ModelError> {
        let read = self.blobs.read(digest, BLOB_BYTES_MAX);
        read.map_err(|error| ModelError::Format(format!("the blob {digest} cannot be read: {error}")))
    }

    /// Answers an inference's items again.
    fn answer_again(&self, check: &Check, task: &InferTask) -> Result<Found, ModelError> {
        let _one_at_a_time = self.turns.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let (weights, input) = (self.blob(&task.weights)?, self.blob(&task.input)?);
        let own =
            match models::verify::answer_again(Machine::new(self.cores), task, &weights, &input, &mut |_| ())
            {
                Ok(answers) => Some(Digest::of(&answers)),
                // The same everywhere: nobody has an answer.
                Err(ModelError::NotFinite { .. }) => None,
                Err(error) => return Err(error),
            };
        Ok(if own == Some(check.receipt.result) { Found::Same } else { Found::Answers(own) })
    }

    /// Trains again; if it comes to something else, this side's papers for the dispute.
    fn train_again(
        &self,
        check: &Check,
        task: &TrainTask,
        states: PathBuf,
        questions: &blocking::Receiver<Question>,
    ) -> Result<(Found, Option<Desk>), ModelError> {
        let _one_at_a_time = self.turns.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut desk = Desk::open(task, &mut |digest| self.blob(digest), states, self.cores)?;
        // Before there is a dispute nothing is asked; that nothing will be means that nobody waits for this.
        let wanted = |_| match questions.try_recv() {
            Err(TryRecvError::Disconnected) => Control::Cancel,
            _ => Control::Continue,
        };
        // A training that runs away has a result, too: where it does.
        match desk.train(&mut { wanted }) {
            Ok(_) | Err(ModelError::NotFinite { .. }) => {}
            Err(error) => return Err(error),
        }
        let (own, claimed) = (desk.result()?, desk.task().returned(&check.receipt));
        if own == claimed {
            return Ok((Found::Same, None));
        }
        let terms = Terms {
            rollup: self.rollup,
            task: check.receipt.task,
            nonce: check.receipt.nonce,
            parties: [check.worker, self.key.id()],
            start: desk.start()?,
            results: [claimed, own],
            committed: check.receipt.trace,
            shape: desk.shape().clone(),
            move_ms: check.move_ms,
        };
        Ok((Found::Differs(Box::new(terms)), Some(desk)))
    }

    fn answer(
        &self,
        mut desk: Desk,
        nonce: Nonce,
        questions: &blocking::Receiver<Question>,
    ) -> Result<(), super::event_loop::Stopped> {
        while let Ok(question) = questions.recv() {
            let _one_at_a_time = self.turns.moves.lock().unwrap_or_else(PoisonError::into_inner);
            match question {
                Question::Run { trace, operator, inputs } => {
                    let output = desk.run(trace, operator, &inputs).map_err(|error| error.to_string().into());
                    self.core.tell_blocking(Event::Ran { nonce, output })?;
                }
                Question::Move { dispute, round, asked } => match desk.answer(&asked) {
                    Ok(Some(said)) => {
                        let said =
                            Box::new(self.key.sign(Body { rollup: self.rollup, dispute, round, said }));
                        self.core.tell_blocking(Event::Moved(said))?;
                    }
                    Ok(None) => {}
                    Err(error) => {
                        let output = Err(error.to_string().into());
                        self.core.tell_blocking(Event::Ran { nonce, output })?;
                    }
                },
            }
        }
        Ok(())
    }
}
