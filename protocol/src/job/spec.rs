//! What a requester asks for: parsed once, sane ever after.

use core::ops::Deref;

use serde::{Deserialize, Serialize};

use super::work::{Work, range};
use super::{CheckTerms, ModelSpec, Name, Real, StakeTerms};
use crate::hash::{Tag, tagged};
use crate::ids::SpecHash;
use crate::ledger::Terms;
use crate::limits::*;

/// The spec version this build reads and writes.
pub const SPEC_VERSION: u16 = 6;

/// What a job asks for, before anybody has looked at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecFields {
    /// [`SPEC_VERSION`].
    pub version: u16,
    /// For people.
    pub name: Name,
    /// The work.
    pub work: Work,
    /// Rounds that are paid together, in one settlement; the last has what is left.
    pub settlement_rounds: u32,
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
    /// What must stand behind a worker that takes part; `None`: nothing.
    pub stake: Option<StakeTerms>,
    /// Which results are run again before they are accepted.
    pub checks: CheckTerms,
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
    /// More updates wanted than there are shards.
    #[error(
        "round.workers is {workers}, more than the job's {shards} shards: some workers would do the same work twice"
    )]
    FewShards {
        /// The workers.
        workers: u32,
        /// The shards.
        shards: usize,
    },
    /// Two shards with the same bytes.
    #[error("data.shards names shard {at} a second time: cut the data into others")]
    ShardTwice {
        /// Its place.
        at: usize,
    },
    /// Examples that a job brings are not held out by workers.
    #[error(
        "evaluation.by is workers, but the job brings its data: let the coordinator judge, on a held-out set of yours"
    )]
    JudgedByWorkers,
    /// Workers hold no sequences, and no held-out set has any.
    #[error(
        "a model of sequences trains on shards that the job brings, and its loss is all that is judged: no workers' \
         tag, and evaluation.by = \"none\""
    )]
    Sequences,
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
        if let Some(stake) = &fields.stake {
            range("workers.stake", stake.least, 1, u64::MAX)?;
        }
        let checkable = if fields.work.can_be_run_again() { 10_000 } else { 0 };
        range("checks.rate_bps", fields.checks.rate_bps.into(), 0, checkable)?;
        match &fields.work {
            Work::Train(train) => train.check()?,
            Work::Infer(infer) => infer.check()?,
        }
        let most = fields.work.settlement_rounds_max();
        range("settlement.rounds", fields.settlement_rounds.into(), 1, most.into())?;
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

    /// Settlements that the job takes if each has all its rounds.
    pub fn full_settlements(&self) -> u32 {
        self.work.rounds().div_ceil(self.settlement_rounds)
    }

    /// How many settlements the job has: the money of each is credited at once. Some are to spare, for those that close
    /// for their date; whatever is not needed closes empty at the end.
    pub fn settlements(&self) -> u32 {
        let full = self.full_settlements();
        full + (full / 4).clamp(SPARE_SETTLEMENTS.0, SPARE_SETTLEMENTS.1)
    }

    /// The most tasks one settlement may pay.
    pub fn task_cap(&self) -> u32 {
        let rounds = self.settlement_rounds.min(self.work.rounds());
        match &self.work {
            Work::Train(_) => rounds * self.work.round_tasks(),
            Work::Infer(infer) => (rounds * self.work.round_tasks()).min(infer.inputs.len() as u32),
        }
    }

    /// The most units that a settlement may pay by the ledger's rules, without the fee.
    pub fn settlement_pay(&self) -> u64 {
        let tasks = u64::from(self.task_cap());
        self.price_cap().checked_mul(tasks).expect("JobSpec::new has seen that it fits")
    }

    /// The most units that a round pays, without the coordinator's fee.
    pub fn round_pay(&self, round: u32) -> u128 {
        match &self.work {
            Work::Train(_) => u128::from(self.price) * u128::from(self.work.round_tasks()),
            Work::Infer(infer) => {
                let items = infer.inputs[infer.blobs_of(round)].iter().map(|blob| u128::from(blob.items));
                u128::from(self.price) * items.sum::<u128>()
            }
        }
    }

    /// Pay with the coordinator's fee on it: exact for one settlement's sum, which the fee is taken of.
    pub fn with_fee(&self, pay: u128) -> u128 {
        pay + pay * u128::from(self.fee_bps) / 10_000
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
        let pay = match &self.work {
            Work::Train(train) => self.round_pay(0) * u128::from(train.rounds),
            Work::Infer(infer) => (0..infer.groups()).map(|group| self.round_pay(group)).sum(),
        };
        self.with_fee(pay)
    }

    /// Units of its coordinator's service bond that the base layer locks when the whole budget is paid in: two
    /// settlements' pay.
    pub fn bond(&self) -> u128 {
        (2 * u128::from(self.price_cap()) * u128::from(self.task_cap())).min(self.budget())
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

#[cfg(test)]
mod tests;
