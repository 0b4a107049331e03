//! Running accepted tasks again: what was asked follows from the job's spec, what was answered from a signed receipt,
//! and the rest is fetched by digest. Nobody's word counts but for the weights that a round started from, which
//! `fedroll verify round` makes again.

use core::fmt;

use indicatif::ProgressBar;
use models::ModelError;
use models::kernels::Machine;
use models::kernels::pool::cores;
use models::replay::TrainingTask;
use models::replay::evidence::{self, Claim, Statement};
use models::train::{Control, Progress};
use models::verify::{self, Verdict};
use protocol::api::AcceptedTask;
use protocol::hash::{Digest, Keccak};
use protocol::ids::{SpecHash, TaskId};
use protocol::job::{JobSpec, ModelSpec, Real, Receipt, TaskData, TaskWork};
use protocol::sign::{Signed, Unverified};
use protocol::wire::codec;
use serde::Serialize;

use crate::error::CliError;
use crate::hex;
use crate::source::{Mirror, Source};

/// Bytes of one receipt.
const RECEIPT_BYTES_MAX: usize = 4096;

/// An accepted task: what was asked, and what was answered.
#[derive(Clone, Debug)]
pub struct Done {
    /// Which.
    pub task: TaskId,
    /// The round, from 0.
    pub round: u32,
    /// The piece of its job that it is ([`Work::piece`](protocol::job::Work::piece)).
    pub piece: Option<(u32, u32)>,
    /// The job's spec.
    pub spec: SpecHash,
    /// What was asked.
    pub work: TaskWork,
    /// What was answered, signed by who did it.
    pub receipt: Signed<Receipt>,
}

impl Done {
    /// Checks what is shown of a task against the job's spec and what its worker signed: the receipt says which work it
    /// is for, so that whoever shows it cannot say that it was for another.
    pub fn read(shown: &AcceptedTask, spec: &JobSpec) -> Result<Self, String> {
        let bytes =
            hex::decode(&shown.receipt, RECEIPT_BYTES_MAX).ok_or("its receipt is no hexadecimal text")?;
        let receipt: Unverified<Receipt> = codec::decode_within(&bytes, RECEIPT_BYTES_MAX)
            .map_err(|error| format!("its receipt cannot be read: {error}"))?;
        let receipt = receipt.verify().map_err(|error| error.to_string())?;
        if receipt.body().task != shown.task {
            return Err(format!("the receipt that is shown is for task {}", receipt.body().task));
        }
        let work = spec.work.task(shown.round, shown.place, shown.weights);
        let work =
            work.ok_or_else(|| format!("the job has no task {} in round {}", shown.place, shown.round))?;
        let AcceptedTask { task, round, place, weights, .. } = *shown;
        if receipt.body().work != work.digest(&spec.hash()) {
            let worker = receipt.signer();
            return Err(format!(
                "it is shown as task {place} of round {round} from the weights {weights}, its worker {worker} signed \
                 for other work"
            ));
        }
        let (got, want) = (receipt.body().examples, work.items());
        if let Some(want) = want.filter(|want| got != *want) {
            return Err(format!("its receipt counts {got} examples or items, its work has {want}"));
        }
        let piece = spec.work.piece(round, place);
        Ok(Self { task, round, piece, spec: spec.hash(), work, receipt })
    }

    fn model(&self) -> &ModelSpec {
        match &self.work {
            TaskWork::Train(train) => &train.model,
            TaskWork::Infer(infer) => &infer.model,
        }
    }
}

/// Finds an accepted task with the first of the sources.
pub async fn find(task: TaskId, sources: &[Source]) -> Result<Done, CliError> {
    let [first, ..] = sources else { return Err(no_source("what the task was")) };
    let work = first.settlement_work(task.job, task.settlement).await?;
    let shown = work.tasks.iter().find(|shown| shown.task == task).ok_or_else(|| CliError::Mismatch {
        what: format!("no result of task {task} was accepted"),
        fix: "`fedroll explain --worker ID` lists a worker's tasks",
    })?;
    let spec = spec(sources, work.spec).await?;
    Done::read(shown, &spec).map_err(|why| CliError::Answer { path: format!("the work of task {task}"), why })
}

/// A file with all that it takes to check a training elsewhere.
pub async fn evidence(done: &Done, blobs: &Blobs<'_>) -> Result<Vec<u8>, String> {
    let TaskWork::Train(train) = &done.work else { return Err("it is no training".to_owned()) };
    let TaskData::Shard(shard) = &train.data else { return Err("its data stays on the worker".to_owned()) };
    let receipt = done.receipt.body();
    let loss = receipt.loss.ok_or("its receipt names no loss")?;
    if receipt.examples != u64::from(shard.examples) {
        return Err("its receipt is for another number of examples".to_owned());
    }
    let weights = blobs.find("weights", train.weights).await?;
    let examples = blobs.find("shard", shard.digest).await?;
    // The receipt names the root of the trace; its leaves are shown in a dispute only.
    let claim = Claim { update: receipt.result, loss, leaves: Vec::new(), intervals: Vec::new() };
    let (task, receipt) = (TrainingTask::new(train, shard), done.receipt.clone().into_wire());
    let receipt = Some((done.spec, receipt));
    let statement = Statement { task, claim, receipt, weights_bytes: 0, shard_bytes: 0, states: Vec::new() };
    Ok(evidence::encode(statement, &weights, &examples, &[]))
}

/// What running a task again says of its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The same bytes.
    SameBits,
    /// Other bytes.
    Differs {
        /// The first byte of the result that differs, from 0.
        byte: u64,
        /// The parameter that this byte is about, in an update.
        #[serde(skip_serializing_if = "Option::is_none")]
        parameter: Option<Parameter>,
        /// The digest of what came out here.
        #[serde(with = "protocol::api::text")]
        computed: Digest,
    },
    /// The same bytes, and something else that the receipt says is not so.
    Untrue {
        /// What.
        what: &'static str,
    },
    /// Nothing comes out of it, so nothing could have been answered.
    NoResult {
        /// What happens instead.
        why: String,
    },
    /// It could not be run.
    NotRun {
        /// Why.
        why: String,
    },
}

/// One number of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parameter {
    /// Its tensor.
    pub tensor: String,
    /// Its place in it.
    pub index: u64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameBits => f.write_str("same bits"),
            Self::Differs { byte, parameter: None, .. } => write!(f, "differs from byte {byte}"),
            Self::Differs { byte, parameter: Some(Parameter { tensor, index }), .. } => {
                write!(f, "differs from byte {byte} (parameter {tensor}[{index}])")
            }
            Self::Untrue { what } => write!(f, "the same bits, but not the {what} that its receipt names"),
            Self::NoResult { why } => write!(f, "has no result: {why}"),
            Self::NotRun { why } => write!(f, "not run: {why}"),
        }
    }
}

/// Where blobs are looked for, and kept.
#[derive(Clone, Copy, Debug)]
pub struct Blobs<'a> {
    /// In this order.
    pub sources: &'a [Source],
    /// Where what was fetched is kept.
    pub mirror: Option<Mirror<'a>>,
}

impl Blobs<'_> {
    /// A blob from the first source that has it; else what the last one said.
    pub async fn get(&self, digest: Digest) -> Result<Vec<u8>, CliError> {
        let mut last = None;
        for source in self.sources {
            match source.blob(digest).await {
                Ok(bytes) => {
                    self.mirror.map_or(Ok(()), |mirror| mirror.keep_blob(digest, &bytes))?;
                    return Ok(bytes);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| no_source("where the blobs are")))
    }

    /// The same, with the words for a report if nobody has it.
    pub async fn find(&self, what: &str, digest: Digest) -> Result<Vec<u8>, String> {
        self.get(digest).await.map_err(|error| format!("blob missing: its {what} {digest}: {error}"))
    }
}

/// Runs a task again and compares; `bar` moves with the steps.
pub async fn run(done: &Done, blobs: &Blobs<'_>, bar: &ProgressBar) -> anyhow::Result<Outcome> {
    let inputs = match inputs(done, blobs).await {
        Ok(inputs) => inputs,
        Err(why) => return Ok(Outcome::NotRun { why }),
    };
    let (own, bar) = (done.clone(), bar.clone());
    // On a thread that may block: training takes minutes.
    let computed = tokio::task::spawn_blocking(move || match again(&own.work, &inputs, &bar) {
        Ok(computed) => compared(&own, &computed, &inputs.result),
        Err(error) => without_result(&error),
    });
    Ok(computed.await?)
}

/// What a task needs, and its result.
struct Inputs {
    weights: Vec<u8>,
    data: Vec<u8>,
    result: Vec<u8>,
}

async fn inputs(done: &Done, blobs: &Blobs<'_>) -> Result<Inputs, String> {
    let data = match &done.work {
        TaskWork::Infer(infer) => ("input", infer.input),
        TaskWork::Train(train) => match &train.data {
            TaskData::Shard(shard) => ("shard", shard.digest),
            TaskData::Local(_) => return Err("its data stays on the worker".to_owned()),
        },
    };
    Ok(Inputs {
        result: blobs.find("result", done.receipt.body().result).await?,
        weights: blobs.find("weights", done.work.weights()).await?,
        data: blobs.find(data.0, data.1).await?,
    })
}

/// What came of a second run.
struct Computed {
    result: Vec<u8>,
    /// Of a training: the loss, and the root over its trace.
    training: Option<(Option<Real>, Option<Keccak>)>,
}

fn again(work: &TaskWork, inputs: &Inputs, bar: &ProgressBar) -> Result<Computed, ModelError> {
    match work {
        TaskWork::Infer(infer) => {
            bar.set_length(infer.items.into());
            let machine = Machine::new(cores());
            let answers = verify::answer_again(machine, infer, &inputs.weights, &inputs.data, &mut |done| {
                bar.set_position(done)
            })?;
            Ok(Computed { result: answers, training: None })
        }
        TaskWork::Train(train) => {
            let TaskData::Shard(shard) = &train.data else {
                unreachable!("inputs() has no data for examples that stay on a worker");
            };
            let progress = &mut |progress: Progress| {
                bar.set_length(progress.steps);
                bar.set_position(progress.step);
                Control::Continue
            };
            let again = verify::train_again(cores(), train, shard, &inputs.weights, &inputs.data, progress)?;
            let training = Some((Real::try_from(again.loss).ok(), again.root().ok()));
            Ok(Computed { result: again.update, training })
        }
    }
}

/// A task that has no result on any machine says that its worker made one up. Whatever else keeps it from being run is
/// this machine's trouble, or that of who shows the blobs.
fn without_result(error: &ModelError) -> Outcome {
    let why = error.to_string();
    match error {
        ModelError::NotFinite { .. } | ModelError::AnswerNotFinite { .. } => Outcome::NoResult { why },
        _ => Outcome::NotRun { why },
    }
}

fn compared(done: &Done, Computed { result: computed, training }: &Computed, claimed: &[u8]) -> Outcome {
    let Verdict::Differs { at: byte } = verify::compare(computed, claimed) else {
        let said = done.receipt.body();
        return match *training {
            Some((loss, _)) if loss != said.loss => Outcome::Untrue { what: "loss" },
            Some((_, trace)) if trace != said.trace => Outcome::Untrue { what: "trace" },
            _ => Outcome::SameBits,
        };
    };
    let is_update = matches!(done.work, TaskWork::Train(_));
    let found = verify::parameter_at(done.model(), byte).ok().flatten().filter(|_| is_update);
    let parameter = found.map(|(tensor, index)| Parameter { tensor, index });
    Outcome::Differs { byte, parameter, computed: Digest::of(computed) }
}

/// A spec from the first source that has it.
pub async fn spec(sources: &[Source], hash: SpecHash) -> Result<JobSpec, CliError> {
    let mut last = None;
    for source in sources {
        match source.spec(hash).await {
            Ok(spec) => return Ok(spec),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| no_source("where the job's spec is")))
}

fn no_source(what: &'static str) -> CliError {
    CliError::Unknown { what, fix: "name a coordinator or a mirror with --evidence".to_owned() }
}
