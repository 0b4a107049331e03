//! A job as its requester writes it: one versioned TOML file, with the files it names, made into a `JobSpec`.
//!
//! Every error points at the line. Unknown keys are refused: a misspelt `quorm` must not silently become the
//! default.

mod data;
mod fields;
mod place;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use models::data::idx;
use models::error::ModelError;
use models::weights::Weights;
use protocol::hash::Digest;
use protocol::ids::Address;
use protocol::job::spec::SPEC_VERSION;
use protocol::job::{
    CheckTerms, Evaluation, JobSpec, ModelSpec, RoundPolicy, SpecError, SpecFields, StakeTerms, Train, Work,
};
use protocol::limits::{BLOB_BYTES_MAX, ROUND_WEIGHT_MAX};

pub use fields::Duration;
use fields::{By, FileEvaluation, FileJob, FileWorkers};
pub use place::Place;

use crate::error::CliError;
use crate::files;
use crate::funding::Source;

/// The version of job files that this build reads.
const JOB_FILE_VERSION: u16 = 1;
/// Bytes of a job file.
const JOB_FILE_BYTES_MAX: u64 = 256 * 1024;
/// Of 10,000 results, how many are run again if anybody but their worker could, unless the requester says otherwise.
pub const CHECK_BPS: u16 = 300;
/// Examples an update is weighted by at most, unless the file says otherwise or the sum would overflow.
const EXAMPLES_CAP: u64 = 100_000;

/// The commented example that `fedroll job init` writes.
pub const EXAMPLE: &str = include_str!("../../jobs/example.toml");

/// What is wrong with a job file, and where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobFileError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] CliError),
    /// It is not UTF-8 text.
    #[error("{}: not a text file", .0.display())]
    NotText(PathBuf),
    /// It is no TOML, misses a key, has one too many, or a value of the wrong type.
    #[error("{}", .0.say(.1))]
    Toml(Place, String),
    /// It says something that no job can be.
    #[error("{}", .0.say(.1))]
    Spec(Place, SpecError),
    /// A file that it names cannot be read.
    #[error("{}", .0.say(.1))]
    File(Place, CliError),
}

/// A blob that has to be with the coordinator before the job can start.
#[derive(Debug)]
pub struct Upload {
    /// Where it is here.
    pub source: Source,
    /// Its name there.
    pub digest: Digest,
    /// Its length in bytes.
    pub bytes: u64,
}

/// A job file that holds.
#[derive(Debug)]
pub struct Job {
    /// What the requester asks for.
    pub spec: JobSpec,
    /// What is behind the digests in it.
    pub uploads: Vec<Upload>,
    /// Units at stake that the file asks for without saying where they count: the spec does not say it either.
    pub stake: Option<u64>,
}

impl Job {
    /// Reads a job file and the files it names (paths are relative to it).
    pub fn read(path: &Path) -> Result<Self, JobFileError> {
        let bytes = files::read(path, JOB_FILE_BYTES_MAX)?;
        let text = String::from_utf8(bytes).map_err(|_| JobFileError::NotText(path.to_owned()))?;
        Self::parse(path, &text)
    }

    /// The same from a text; `path` is for messages and for the files it names.
    pub fn parse(path: &Path, text: &str) -> Result<Self, JobFileError> {
        let file = toml::from_str::<FileJob>(text).map_err(|error| {
            let place = match error.span() {
                Some(span) => Place::at(path, text, span),
                None => Place::of_file(path),
            };
            JobFileError::Toml(place, error.message().to_owned())
        })?;
        Reader { path, text, uploads: Vec::new() }.job(file)
    }

    /// Names where the stake counts that the file asks for without saying where.
    pub fn with_registry(mut self, registry: Address) -> Result<Self, SpecError> {
        if let Some(least) = self.stake.take() {
            let stake = Some(StakeTerms { registry, least });
            self.spec = JobSpec::new(SpecFields { stake, ..self.spec.into() })?;
        }
        Ok(self)
    }
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    uploads: Vec<Upload>,
}

impl Reader<'_> {
    fn job(mut self, file: FileJob) -> Result<Job, JobFileError> {
        if file.version != JOB_FILE_VERSION {
            let got = file.version;
            let why = format!(
                "job file version {got} is not one that this build reads (it reads {JOB_FILE_VERSION})"
            );
            return Err(self.wrong("version", why));
        }
        let (stake, unplaced) = self.stake(file.workers)?;
        let model = file.model.into_spec().map_err(|(key, why)| self.wrong(key, why))?;
        let start = file.training.start.as_deref().map(|start| self.start(&model, start)).transpose()?;
        let evaluation = self.evaluation(file.evaluation, &model)?;
        let round = file.round;
        let asked = u64::from(round.workers).saturating_add(round.over_select.into()).max(1);
        let data = self.train_data(&file.training, file.data, &model)?;
        // What is wrong with a model is said below, where the spec is looked at.
        let usual = models::checkpoint::usual_steps(&model, file.training.minibatch).unwrap_or(1);
        let train = Train {
            model,
            start,
            data,
            rounds: file.training.rounds,
            local_epochs: file.training.local_epochs,
            minibatch: file.training.minibatch,
            learning_rate: file.training.learning_rate,
            momentum: file.training.momentum,
            seed: file.training.seed,
            scale_bits: file.training.scale_bits,
            checkpoint_steps: file.training.checkpoint_steps.unwrap_or(usual),
            round: RoundPolicy {
                workers: round.workers,
                quorum: round.quorum.unwrap_or(round.workers),
                over_select: round.over_select,
                deadline_ms: round.deadline.0,
                examples_cap: round.examples_cap.unwrap_or(EXAMPLES_CAP.min(ROUND_WEIGHT_MAX / asked)),
            },
            evaluation,
        };
        let work = Work::Train(train);
        let usual_rate = if work.can_be_run_again() { CHECK_BPS } else { 0 };
        let rate_bps = file.checks.rate_bps.unwrap_or(usual_rate);
        // Money that is released over time comes in small pieces: a settlement of many rounds would wait for it.
        let released = file.pay.burst.is_some();
        let usual = if released { 1 } else { work.usual_settlement_rounds() };
        let fields = SpecFields {
            version: SPEC_VERSION,
            name: file.name,
            settlement_rounds: file.settlement.rounds.unwrap_or(usual),
            work,
            price: file.pay.price.units("pay.price").map_err(|(key, why)| self.wrong(key, why))?,
            fee_bps: file.pay.fee_bps,
            approve: file.settlement.approve,
            burst: file
                .pay
                .burst
                .map(|burst| burst.units("pay.burst"))
                .transpose()
                .map_err(|(key, why)| self.wrong(key, why))?,
            rate: file.pay.rate.units("pay.rate").map_err(|(key, why)| self.wrong(key, why))?,
            stake,
            checks: CheckTerms { rate_bps },
        };
        let spec = JobSpec::new(fields).map_err(|error| {
            let key = key_of(&error);
            JobFileError::Spec(Place::of_key(self.path, self.text, key), error)
        })?;
        let parameters = models::zoo::parameters(spec.model());
        parameters.map_err(|error| self.wrong("model.input", error.to_string()))?;
        Ok(Job { spec, uploads: self.uploads, stake: unplaced })
    }

    /// What the workers must have at stake, where the file says in which registry, and where it does not.
    fn stake(&self, file: FileWorkers) -> Result<(Option<StakeTerms>, Option<u64>), JobFileError> {
        let named = file.registry.as_deref().map(str::parse::<Address>).transpose();
        let named = named.map_err(|error| self.wrong("workers.registry", error.to_string()))?;
        let least = file.stake.map(|stake| stake.units("workers.stake")).transpose();
        match (least.map_err(|(key, why)| self.wrong(key, why))?, named) {
            (Some(0), _) => {
                Err(self.wrong("workers.stake", "a stake of nothing: leave the key out".to_owned()))
            }
            (Some(least), Some(registry)) => Ok((Some(StakeTerms { registry, least }), None)),
            (least, None) => Ok((None, least)),
            (None, Some(_)) => {
                let why = "a registry says nothing without a stake: stake = \"25\"".to_owned();
                Err(self.wrong("workers.registry", why))
            }
        }
    }

    /// Weights to start from: refused here rather than by the coordinator, after the job was paid for.
    fn start(&mut self, model: &ModelSpec, named: &Path) -> Result<Digest, JobFileError> {
        let key = "training.start";
        let (digest, bytes) = self.upload(key, named)?;
        Weights::parse(model, &bytes).map_err(|error| self.bad_file(key, named, &error))?;
        Ok(digest)
    }

    /// A held-out set: likewise.
    fn held_out(
        &mut self,
        model: &ModelSpec,
        images: &Path,
        labels: &Path,
    ) -> Result<Evaluation, JobFileError> {
        let (images_key, labels_key) = ("evaluation.images", "evaluation.labels");
        let (images_digest, images_bytes) = self.upload(images_key, images)?;
        let (labels_digest, labels_bytes) = self.upload(labels_key, labels)?;
        let (_, shape) = idx::read_images(images_bytes.as_slice())
            .map_err(|error| self.bad_file(images_key, images, &error))?;
        if shape != model.input {
            let why = ModelError::InputShape { got: shape, want: model.input };
            return Err(self.bad_file(images_key, images, &why));
        }
        let set = idx::read(images_bytes.as_slice(), labels_bytes.as_slice())
            .map_err(|error| self.bad_file(labels_key, labels, &error))?;
        if let Some(at) = set.labels().iter().position(|&label| label >= model.classes) {
            let why = ModelError::Label { at, label: set.labels()[at], classes: model.classes };
            return Err(self.bad_file(labels_key, labels, &why));
        }
        Ok(Evaluation::Coordinator { images: images_digest, labels: labels_digest })
    }

    fn evaluation(&mut self, file: FileEvaluation, model: &ModelSpec) -> Result<Evaluation, JobFileError> {
        let FileEvaluation { by, images, labels } = file;
        match (by, images, labels) {
            (By::None, None, None) => Ok(Evaluation::None),
            (By::Workers, None, None) => Ok(Evaluation::Workers),
            (By::Coordinator, Some(images), Some(labels)) => self.held_out(model, &images, &labels),
            (By::Coordinator, images, _) => {
                let missing = if images.is_none() { "images" } else { "labels" };
                let why = format!("the coordinator judges on a held-out set: {missing} = \"…\" is missing");
                Err(self.wrong("evaluation.by", why))
            }
            (By::None | By::Workers, images, _) => {
                let key = if images.is_some() { "evaluation.images" } else { "evaluation.labels" };
                Err(self.wrong(key, "only by = \"coordinator\" takes a held-out set".to_owned()))
            }
        }
    }

    /// Notes a local file for upload; relative paths start at the job file.
    fn upload(&mut self, key: &str, named: &Path) -> Result<(Digest, Vec<u8>), JobFileError> {
        let path = self.beside(named);
        let bytes = files::read(&path, BLOB_BYTES_MAX)
            .map_err(|error| JobFileError::File(Place::of_key(self.path, self.text, key), error))?;
        let digest = Digest::of(&bytes);
        self.uploads.push(Upload { source: Source::File(path), digest, bytes: bytes.len() as u64 });
        Ok((digest, bytes))
    }

    fn beside(&self, named: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(named)
    }

    fn bad_file(&self, key: &str, named: &Path, why: &dyn std::fmt::Display) -> JobFileError {
        let error = CliError::Input(format!("{}: {why}", named.display()));
        JobFileError::File(Place::of_key(self.path, self.text, key), error)
    }

    fn wrong(&self, key: &str, why: String) -> JobFileError {
        JobFileError::Toml(Place::of_key(self.path, self.text, key), why)
    }
}

/// The key whose value a spec error is about.
fn key_of(error: &SpecError) -> &'static str {
    match error {
        SpecError::Version { .. } => "version",
        // Some names go on in brackets: "round.deadline (ms)".
        SpecError::Range { what, .. } | SpecError::Float { what, .. } => {
            what.split_once(' ').map_or(*what, |(key, _)| key)
        }
        SpecError::Quorum { .. } => "round.quorum",
        SpecError::FewShards { .. } => "round.workers",
        SpecError::ShardTwice { .. } => "data.shards",
        SpecError::JudgedByWorkers | SpecError::Sequences => "evaluation.by",
        SpecError::Weight { .. } => "round.examples_cap",
        SpecError::Price => "pay.price",
        _ => "name",
    }
}
