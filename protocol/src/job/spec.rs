//! What a requester asks for: parsed once, sane ever after.

use core::ops::Deref;

use serde::{Deserialize, Serialize};

use super::{ModelSpec, Name, Real};
use crate::hash::{Digest, Tag, tagged};
use crate::ids::SpecHash;
use crate::ledger::Terms;
use crate::limits::*;

/// The spec version this build reads and writes.
pub const SPEC_VERSION: u16 = 1;

/// What a job asks for, before anybody has looked at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecFields {
    /// [`SPEC_VERSION`].
    pub version: u16,
    /// For people.
    pub name: Name,
    /// The work.
    pub work: Work,
    /// Ledger units paid for one accepted update, or for one answered item.
    pub price: u64,
    /// The coordinator's fee, in hundredths of a percent of what the workers earn.
    pub fee_bps: u16,
    /// Whether the requester signs each settlement before it can be paid.
    pub approve: bool,
    /// Units the job may spend at once, before any time has passed; `None`: its whole budget.
    pub burst: Option<u64>,
    /// Units a second by which that allowance grows.
    pub rate: u64,
}

/// The two kinds of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// Federated training: one settlement a round.
    Train(Train),
    /// Inference over a file: one settlement a group of tasks.
    Infer(Infer),
}

/// A federated training job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Train {
    /// The model.
    pub model: ModelSpec,
    /// Weights to start from (a safetensors blob); `None`: initialised from `seed`.
    pub start: Option<Digest>,
    /// Only workers that hold examples under this tag take part.
    pub data: Name,
    /// Federated rounds.
    pub rounds: u32,
    /// Passes over the local examples in one round.
    pub local_epochs: u32,
    /// Examples in one optimiser step.
    pub minibatch: u32,
    /// SGD step size.
    pub learning_rate: Real,
    /// SGD momentum, in [0, 1).
    pub momentum: Real,
    /// Every random choice of the job derives from this.
    pub seed: u64,
    /// Updates are multiples of 2^-scale_bits.
    pub scale_bits: u8,
    /// Who takes part in a round and when it ends.
    pub round: RoundPolicy,
    /// How the model is judged after each round.
    pub evaluation: Evaluation,
}

/// Who takes part in a round and when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundPolicy {
    /// Updates wanted.
    pub workers: u32,
    /// Updates without which a round cannot close.
    pub quorum: u32,
    /// Workers asked beyond `workers`, so that slow ones do not matter.
    pub over_select: u32,
    /// After this many milliseconds the round closes with what it has, if that is a quorum; a lost task goes to another
    /// worker until then.
    pub deadline_ms: u64,
    /// The most examples an update is weighted by.
    pub examples_cap: u64,
}

/// How a training job's model is judged after each round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evaluation {
    /// Not at all.
    None,
    /// By the coordinator, on a held-out set that the requester uploads (IDX, plain or gz).
    Coordinator {
        /// The inputs.
        images: Digest,
        /// The labels.
        labels: Digest,
    },
    /// By each worker, on the tenth of its examples that it holds out: the weights it is given, so never the last.
    Workers,
}

/// An inference job: a file cut into blobs, one task a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Infer {
    /// The model.
    pub model: ModelSpec,
    /// Its weights.
    pub weights: Digest,
    /// The inputs, in the order of the answers.
    pub inputs: Vec<InputBlob>,
    /// Tasks settled together.
    pub group_tasks: u32,
    /// Milliseconds a worker has for one task before another gets it.
    pub deadline_ms: u64,
}

/// Some consecutive items of an inference job's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputBlob {
    /// The blob.
    pub digest: Digest,
    /// How many items it holds.
    pub items: u32,
}

/// A spec that has been looked at: every bound holds, every product fits its type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SpecFields", into = "SpecFields")]
pub struct JobSpec(SpecFields);

/// What is wrong with a spec, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// Written for another version.
    #[error("spec version {got} is not one that this build reads (it reads {SPEC_VERSION})")]
    Version {
        /// The version found.
        got: u16,
    },
    /// A number outside its range.
    #[error("{what} is {got}; it must lie between {least} and {most}")]
    Range {
        /// The key.
        what: &'static str,
        /// The value found.
        got: u64,
        /// The smallest allowed.
        least: u64,
        /// The largest allowed.
        most: u64,
    },
    /// A float outside its range.
    #[error("{what} is {got}; {want}")]
    Float {
        /// The key.
        what: &'static str,
        /// The value found.
        got: Real,
        /// The range in words.
        want: &'static str,
    },
    /// More updates needed than asked for.
    #[error("round.quorum is {quorum}, more than round.workers ({workers}): no round could ever close")]
    Quorum {
        /// The quorum.
        quorum: u32,
        /// The workers.
        workers: u32,
    },
    /// A weighted sum of updates could overflow.
    #[error("round.examples_cap × (workers + over_select) is {got}, over {ROUND_WEIGHT_MAX}: lower the cap")]
    Weight {
        /// The product.
        got: u64,
    },
    /// The job could cost more than the ledger can say.
    #[error("the job's price is out of range: one settlement may cost at most 2^64 − 1 units")]
    Price,
    /// The canonical bytes are too long.
    #[error("the spec takes {got} bytes, over the limit of {SPEC_BYTES_MAX}")]
    TooLong {
        /// Bytes.
        got: usize,
    },
}

impl JobSpec {
    /// Looks at every field.
    pub fn new(fields: SpecFields) -> Result<Self, SpecError> {
        if fields.version != SPEC_VERSION {
            return Err(SpecError::Version { got: fields.version });
        }
        range("pay.price", fields.price, 1, u64::MAX)?;
        range("pay.fee_bps", fields.fee_bps.into(), 0, 10_000)?;
        match &fields.work {
            Work::Train(train) => train.check()?,
            Work::Infer(infer) => infer.check()?,
        }
        let spec = Self(fields);
        let most = u128::from(spec.price_cap_checked()?) * u128::from(spec.task_cap());
        // One settlement's workers' pay plus the fee must fit a u64, so that every sum of a batch fits a u128.
        if most + most * u128::from(spec.fee_bps) / 10_000 > u128::from(u64::MAX) {
            return Err(SpecError::Price);
        }
        let got = spec.canonical_bytes().len();
        if got > SPEC_BYTES_MAX { Err(SpecError::TooLong { got }) } else { Ok(spec) }
    }

    /// The bytes that [`JobSpec::hash`] hashes.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(&self.0)
            .expect("specs are plain data: postcard fails only on unsized sequences")
    }

    /// What the base layer funds.
    pub fn hash(&self) -> SpecHash {
        SpecHash(tagged(Tag::Spec, &[&self.canonical_bytes()]).0)
    }

    /// How many settlements the job has: rounds, or groups of inference tasks.
    pub fn settlements(&self) -> u32 {
        match &self.work {
            Work::Train(train) => train.rounds,
            Work::Infer(infer) => infer.inputs.len().div_ceil(infer.group_tasks as usize) as u32,
        }
    }

    /// The most tasks one settlement may pay.
    pub fn task_cap(&self) -> u32 {
        match &self.work {
            Work::Train(train) => train.round.workers + train.round.over_select,
            Work::Infer(infer) => infer.group_tasks.min(infer.inputs.len() as u32),
        }
    }

    /// Tasks in settlement number `settlement`, before any is lost.
    pub fn tasks_in(&self, settlement: u32) -> u32 {
        match &self.work {
            Work::Train(_) => self.task_cap(),
            Work::Infer(infer) => {
                let before = settlement as usize * infer.group_tasks as usize;
                (infer.inputs.len() - before.min(infer.inputs.len())).min(infer.group_tasks as usize) as u32
            }
        }
    }

    /// The most units one task may be paid.
    pub fn price_cap(&self) -> u64 {
        self.price_cap_checked().expect("JobSpec::new has computed it once")
    }

    fn price_cap_checked(&self) -> Result<u64, SpecError> {
        let items = match &self.work {
            Work::Train(_) => 1,
            Work::Infer(infer) => infer.inputs.iter().map(|blob| blob.items).max().unwrap_or(1),
        };
        self.price.checked_mul(items.into()).ok_or(SpecError::Price)
    }

    /// The most units the whole job can spend, the coordinator's fee included.
    pub fn budget(&self) -> u128 {
        let with_fee = |pay: u128| pay + pay * u128::from(self.fee_bps) / 10_000;
        match &self.work {
            Work::Train(_) => {
                with_fee(u128::from(self.price) * u128::from(self.task_cap()))
                    * u128::from(self.settlements())
            }
            Work::Infer(infer) => infer
                .inputs
                .chunks(infer.group_tasks as usize)
                .map(|group| {
                    let items: u128 = group.iter().map(|blob| u128::from(blob.items)).sum();
                    with_fee(items * u128::from(self.price))
                })
                .sum(),
        }
    }

    /// The numbers of the spec that the ledger enforces.
    pub fn terms(&self) -> Terms {
        Terms {
            price_cap: self.price_cap(),
            task_cap: self.task_cap(),
            settlements: self.settlements(),
            rate: self.rate,
            burst: self.burst.unwrap_or_else(|| u64::try_from(self.budget()).unwrap_or(u64::MAX)),
            fee_bps: self.fee_bps,
            approve: self.approve,
            kind: match self.work {
                Work::Train(_) => 0,
                Work::Infer(_) => 1,
            },
        }
    }

    /// The model the job is about.
    pub fn model(&self) -> &ModelSpec {
        match &self.work {
            Work::Train(train) => &train.model,
            Work::Infer(infer) => &infer.model,
        }
    }
}

impl Deref for JobSpec {
    type Target = SpecFields;
    fn deref(&self) -> &SpecFields {
        &self.0
    }
}

impl TryFrom<SpecFields> for JobSpec {
    type Error = SpecError;
    fn try_from(fields: SpecFields) -> Result<Self, SpecError> {
        Self::new(fields)
    }
}

impl From<JobSpec> for SpecFields {
    fn from(spec: JobSpec) -> SpecFields {
        spec.0
    }
}

impl Train {
    fn check(&self) -> Result<(), SpecError> {
        self.model.check()?;
        range("training.rounds", self.rounds.into(), 1, SETTLEMENTS_MAX.into())?;
        range("training.local_epochs", self.local_epochs.into(), 1, LOCAL_EPOCHS_MAX.into())?;
        range("training.minibatch", self.minibatch.into(), 1, MINIBATCH_MAX.into())?;
        range("training.scale_bits", self.scale_bits.into(), 1, 30)?;
        if self.learning_rate.get() <= 0.0 || self.learning_rate.get() > 1e3 {
            let want = "it must be over 0 and at most 1000";
            return Err(SpecError::Float { what: "training.learning_rate", got: self.learning_rate, want });
        }
        if !(0.0..1.0).contains(&self.momentum.get()) {
            let want = "it must be at least 0 and below 1";
            return Err(SpecError::Float { what: "training.momentum", got: self.momentum, want });
        }
        self.round.check()
    }
}

impl RoundPolicy {
    fn check(&self) -> Result<(), SpecError> {
        range("round.workers", self.workers.into(), 1, TASKS_PER_SETTLEMENT_MAX.into())?;
        range("round.quorum", self.quorum.into(), 1, TASKS_PER_SETTLEMENT_MAX.into())?;
        if self.quorum > self.workers {
            return Err(SpecError::Quorum { quorum: self.quorum, workers: self.workers });
        }
        let most = TASKS_PER_SETTLEMENT_MAX - self.workers;
        range("round.over_select", self.over_select.into(), 0, most.into())?;
        range("round.deadline (ms)", self.deadline_ms, 1, TASK_MS_MAX)?;
        range("round.examples_cap", self.examples_cap, 1, ROUND_WEIGHT_MAX)?;
        let got = self.examples_cap * u64::from(self.workers + self.over_select);
        if got > ROUND_WEIGHT_MAX { Err(SpecError::Weight { got }) } else { Ok(()) }
    }
}

impl Infer {
    fn check(&self) -> Result<(), SpecError> {
        self.model.check()?;
        range("inputs", self.inputs.len() as u64, 1, INPUT_BLOBS_MAX as u64)?;
        range("group_tasks", self.group_tasks.into(), 1, TASKS_PER_SETTLEMENT_MAX.into())?;
        range("deadline (ms)", self.deadline_ms, 1, TASK_MS_MAX)?;
        for blob in &self.inputs {
            range("inputs.items", blob.items.into(), 1, ITEMS_PER_TASK_MAX.into())?;
        }
        Ok(())
    }
}

fn range(what: &'static str, got: u64, least: u64, most: u64) -> Result<(), SpecError> {
    if (least..=most).contains(&got) { Ok(()) } else { Err(SpecError::Range { what, got, least, most }) }
}

#[cfg(test)]
mod tests {
    use super::super::ModelKind;
    use super::*;

    fn training() -> SpecFields {
        SpecFields {
            version: SPEC_VERSION,
            name: "digits".parse().unwrap(),
            work: Work::Train(Train {
                model: ModelSpec { kind: ModelKind::Logistic, input: [1, 28, 28], classes: 10 },
                start: None,
                data: "mnist".parse().unwrap(),
                rounds: 5,
                local_epochs: 1,
                minibatch: 32,
                learning_rate: 0.1.try_into().unwrap(),
                momentum: 0.9.try_into().unwrap(),
                seed: 1,
                scale_bits: 24,
                round: RoundPolicy {
                    workers: 4,
                    quorum: 3,
                    over_select: 1,
                    deadline_ms: 60_000,
                    examples_cap: 10_000,
                },
                evaluation: Evaluation::None,
            }),
            price: 1_000_000,
            fee_bps: 250,
            approve: false,
            burst: None,
            rate: 0,
        }
    }

    fn with(change: impl FnOnce(&mut SpecFields, &mut Train)) -> Result<JobSpec, SpecError> {
        let mut fields = training();
        let Work::Train(mut train) = fields.work.clone() else { unreachable!("training() trains") };
        change(&mut fields, &mut train);
        fields.work = Work::Train(train);
        JobSpec::new(fields)
    }

    #[test]
    fn a_sane_spec_passes_and_its_budget_adds_up() {
        let spec = with(|_, _| ()).unwrap();
        assert_eq!((spec.settlements(), spec.task_cap(), spec.price_cap()), (5, 5, 1_000_000));
        assert_eq!(spec.budget(), 5 * (5_000_000 + 125_000));
    }

    #[test]
    fn nonsense_is_refused_with_the_key_that_holds_it() {
        let cases: [(&str, Result<JobSpec, SpecError>); 8] = [
            ("pay.price", with(|fields, _| fields.price = 0)),
            ("training.rounds", with(|_, train| train.rounds = 0)),
            ("training.momentum", with(|_, train| train.momentum = 1.0.try_into().unwrap())),
            ("training.learning_rate", with(|_, train| train.learning_rate = 0.0.try_into().unwrap())),
            ("round.quorum", with(|_, train| train.round.quorum = 5)),
            ("round.examples_cap", with(|_, train| train.round.examples_cap = ROUND_WEIGHT_MAX)),
            ("model.input", with(|_, train| train.model.input = [0, 28, 28])),
            ("model.classes", with(|_, train| train.model.classes = 1)),
        ];
        for (key, result) in cases {
            let message = result.expect_err(key).to_string();
            assert!(message.contains(key), "{key}: {message}");
        }
        assert_eq!(with(|fields, _| fields.version = 2), Err(SpecError::Version { got: 2 }));
        assert_eq!(with(|fields, _| fields.price = u64::MAX), Err(SpecError::Price));
    }

    #[test]
    fn a_spec_off_the_wire_is_looked_at_too() {
        let mut fields = training();
        fields.price = 0;
        assert!(postcard::from_bytes::<JobSpec>(&postcard::to_allocvec(&fields).unwrap()).is_err());
    }

    #[test]
    fn the_hash_covers_every_field() {
        let base = with(|_, _| ()).unwrap().hash();
        assert_ne!(with(|fields, _| fields.price += 1).unwrap().hash(), base);
        assert_ne!(with(|_, train| train.seed += 1).unwrap().hash(), base);
        assert_eq!(with(|_, train| train.momentum = 0.9.try_into().unwrap()).unwrap().hash(), base);
    }

    #[test]
    fn an_inference_budget_counts_items_and_the_last_group_may_be_short() {
        let blob = |items| InputBlob { digest: Digest([1; 32]), items };
        let mut fields = training();
        fields.work = Work::Infer(Infer {
            model: ModelSpec { kind: ModelKind::Logistic, input: [1, 28, 28], classes: 10 },
            weights: Digest([2; 32]),
            inputs: vec![blob(100), blob(100), blob(50)],
            group_tasks: 2,
            deadline_ms: 1_000,
        });
        let spec = JobSpec::new(fields).unwrap();
        assert_eq!((spec.settlements(), spec.tasks_in(0), spec.tasks_in(1), spec.tasks_in(2)), (2, 2, 1, 0));
        assert_eq!(spec.price_cap(), 100_000_000);
        assert_eq!(spec.budget(), 250_000_000 + 250_000_000 / 40);
    }
}
