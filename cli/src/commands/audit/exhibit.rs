//! What a source shows of a batch, unchecked but for the hashes of specs.

use std::collections::BTreeMap;

use protocol::api::Evidence;
use protocol::ids::{BatchId, JobId, SpecHash};
use protocol::job::StakeTerms;
use protocol::ledger::State;

use crate::error::CliError;
use crate::source::Source;

/// Evidence, and what goes with it.
#[derive(Debug)]
pub struct Exhibit {
    /// What lies behind the batch's credits.
    pub evidence: Evidence,
    /// What stakes the jobs behind them ask for, by their specs; `None` for a spec that is not shown.
    pub asked: BTreeMap<JobId, Option<Option<StakeTerms>>>,
}

/// What specs say of stakes, as far as they were shown.
pub type Specs = BTreeMap<SpecHash, Option<StakeTerms>>;

impl Exhibit {
    /// Asks a source what lies behind a batch; `state` names the specs of the jobs, `specs` has those that were shown
    /// before.
    pub async fn ask(
        source: &Source,
        batch: BatchId,
        state: &State,
        specs: &mut Specs,
    ) -> Result<Self, CliError> {
        let evidence = source.evidence(batch).await?;
        let mut asked: BTreeMap<_, _> = evidence.credits.iter().map(|credit| (credit.job, None)).collect();
        for (id, stake) in &mut asked {
            let Some(job) = state.job(*id) else { continue };
            if !specs.contains_key(&job.spec)
                && let Ok(spec) = source.spec(job.spec).await
            {
                specs.insert(job.spec, spec.stake);
            }
            *stake = specs.get(&job.spec).copied();
        }
        Ok(Self { evidence, asked })
    }
}
