//! The job that scenarios give: a model so small that the work is nothing beside what is tested.

use anyhow::Result;
use protocol::job::spec::SPEC_VERSION;
use protocol::job::{
    CheckTerms, Evaluation, JobSpec, ModelKind, ModelSpec, RoundPolicy, SpecFields, Train, TrainData, Work,
};

/// The tag of the examples that it needs.
pub const TAG: &str = "digits";
/// Units for one accepted update.
pub const PRICE: u64 = 1_500_000;

/// A logistic regression on 16 values.
pub fn model() -> ModelSpec {
    ModelSpec { kind: ModelKind::Logistic, input: [1, 4, 4], classes: 3 }
}

/// A training job for [`model`] that waits for every worker in every round.
pub fn training(name: &str, rounds: u32, workers: u32) -> Result<JobSpec> {
    job(name, train(model(), TAG, rounds, workers)?)
}

/// Training that waits for every worker in every round, one example a step.
pub fn train(model: ModelSpec, data: &str, rounds: u32, workers: u32) -> Result<Train> {
    Ok(Train {
        model,
        start: None,
        data: TrainData::Local(data.parse()?),
        rounds,
        local_epochs: 1,
        minibatch: 1,
        learning_rate: 0.1.try_into()?,
        momentum: 0.0.try_into()?,
        seed: 1,
        scale_bits: 20,
        checkpoint_steps: 1_000,
        round: RoundPolicy {
            workers,
            quorum: workers,
            over_select: 0,
            deadline_ms: 60_000,
            examples_cap: 1_000,
        },
        evaluation: Evaluation::None,
    })
}

/// A job that pays [`PRICE`], and one percent of fee.
pub fn job(name: &str, train: Train) -> Result<JobSpec> {
    Ok(JobSpec::new(SpecFields {
        version: SPEC_VERSION,
        name: name.parse()?,
        work: Work::Train(train),
        settlement_rounds: 1,
        price: PRICE,
        fee_bps: 100,
        approve: false,
        burst: None,
        rate: 0,
        stake: None,
        checks: CheckTerms::default(),
    })?)
}
