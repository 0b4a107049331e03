//! One file, checked: what the page is told of it.

use models::replay::check::{Check, Made, Progress, Verdict, Wild};
use models::replay::evidence::{Blobs, Evidence, EvidenceError, MEMORY_BYTES_MAX};
use protocol::hash::Digest;
use protocol::job::{ModelKind, ModelSpec};
use serde::Serialize;

use crate::Status;

/// What a call says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// In a word.
    pub status: Status,
    /// In a JSON document.
    pub report: Vec<u8>,
}

/// A file that has been read.
#[derive(Debug)]
pub struct Session {
    evidence: &'static Evidence<'static>,
    blobs: &'static Blobs,
    check: Option<Check<'static>>,
}

/// What a file is about; digests are hexadecimal.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The model, in a few words.
    pub model: String,
    /// Numbers in the model.
    pub parameters: u64,
    /// Examples of the shard.
    pub examples: u64,
    /// Passes over them.
    pub epochs: u32,
    /// Examples in one step.
    pub minibatch: u32,
    /// Steps in all.
    pub steps: u64,
    /// Steps between two commitments.
    pub every: u32,
    /// Commitments of the claim, the returned result included.
    pub commitments: u64,
    /// Intervals between two of them that the claim opens.
    pub opened: u64,
    /// Steps that a check can start after.
    pub starts: Vec<u64>,
    /// Names the task.
    pub task: String,
    /// The blob with the weights.
    pub weights: String,
    /// The blob with the examples.
    pub shard: String,
    /// The update that is claimed.
    pub update: String,
    /// The loss that is claimed.
    pub loss: f32,
    /// The root over the commitments.
    pub root: Option<String>,
    /// Who signed the claim.
    pub signer: Option<String>,
    /// Which task of a job that was, as the signer says.
    pub assigned: Option<String>,
    /// The spec of the job that the receipt is for.
    pub spec: Option<String>,
}

/// How a check has ended.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome<'a> {
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The step that the check started after.
    pub from: u64,
    /// Where the numbers ran away here, if they did.
    pub wild: Option<&'a Wild>,
    /// What came out here, if it went to the end.
    pub made: Option<&'a Made>,
}

#[derive(Serialize)]
struct Report<'a> {
    progress: Progress,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome<'a>>,
}

#[derive(Serialize)]
struct Refusal<'a> {
    error: &'a str,
}

fn words(model: &ModelSpec) -> String {
    let kind = match &model.kind {
        ModelKind::Logistic => "logistic regression".to_owned(),
        ModelKind::Mlp { hidden } => format!("MLP with hidden layers {hidden:?}"),
        ModelKind::CnnFedavg => "FedAvg's CNN".to_owned(),
        ModelKind::CnnFlower => "Flower's CNN".to_owned(),
        ModelKind::Resnet20 => "ResNet-20".to_owned(),
        ModelKind::Gpt { layers, heads, width, .. } => {
            format!("a transformer of {layers} blocks, {heads} heads and a width of {width}")
        }
    };
    let [channels, height, width] = model.input;
    format!("{kind}, {channels}×{height}×{width} in, {} classes out", model.classes)
}

/// The report of a refusal.
pub fn refused(why: &str) -> Vec<u8> {
    write(&Refusal { error: why })
}

fn write(report: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(report).expect("reports are plain data")
}

impl Said {
    fn refused(why: &impl ToString) -> Self {
        Self { status: Status::Refused, report: refused(&why.to_string()) }
    }
}

impl Session {
    /// Reads a file; there is a session unless it was refused.
    pub fn load(file: Vec<u8>) -> (Option<Self>, Said) {
        match Self::read(file) {
            Ok(session) => {
                let report = write(&session.summary());
                (Some(session), Said { status: Status::GoOn, report })
            }
            Err(error) => (None, Said::refused(&error)),
        }
    }

    fn read(file: Vec<u8>) -> Result<Self, EvidenceError> {
        // A worker checks one file and ends: what borrows from it may as well stay for good.
        let file: &'static [u8] = file.leak();
        let evidence: &'static Evidence<'static> =
            Box::leak(Box::new(Evidence::parse(file, MEMORY_BYTES_MAX)?));
        let blobs: &'static Blobs = Box::leak(Box::new(evidence.open()?));
        Ok(Self { evidence, blobs, check: None })
    }

    fn summary(&self) -> Summary {
        let (task, claim, receipt) = (self.evidence.task(), self.evidence.claim(), self.evidence.receipt());
        Summary {
            model: words(&task.model),
            parameters: self.blobs.weights.values().len() as u64,
            examples: task.examples,
            epochs: task.local_epochs,
            minibatch: task.minibatch,
            steps: task.steps(),
            every: task.checkpoint_steps,
            commitments: claim.leaves.len() as u64,
            opened: claim.intervals.len() as u64,
            starts: self.evidence.steps().collect(),
            task: task.digest().to_string(),
            weights: task.weights.to_string(),
            shard: task.shard.to_string(),
            update: claim.update.to_string(),
            loss: claim.loss.get(),
            root: self.evidence.root().map(|root| Digest(root.0).to_string()),
            signer: receipt.map(|receipt| receipt.signer().to_string()),
            assigned: receipt.map(|receipt| receipt.body().task.to_string()),
            spec: self.evidence.spec().map(|spec| spec.to_string()),
        }
    }

    /// Starts after a step.
    pub fn begin(&mut self, step: u64) -> Said {
        match Check::new(self.evidence, self.blobs, step) {
            Ok(check) => {
                let progress = check.progress();
                self.check = Some(check);
                Said { status: Status::GoOn, report: write(&Report { progress, outcome: None }) }
            }
            Err(error) => Said::refused(&error),
        }
    }

    /// Takes up to so many steps.
    pub fn advance(&mut self, steps: u32) -> Said {
        let Some(check) = &mut self.check else { return Said::refused(&"the check has not begun") };
        match check.advance(steps) {
            Ok(verdict) => {
                let status = if verdict.is_some() { Status::Done } else { Status::GoOn };
                let outcome = verdict.map(|verdict| Outcome {
                    verdict,
                    from: check.from(),
                    wild: check.wild(),
                    made: check.made(),
                });
                let progress = check.progress();
                Said { status, report: write(&Report { progress, outcome }) }
            }
            Err(error) => Said::refused(&error),
        }
    }
}
