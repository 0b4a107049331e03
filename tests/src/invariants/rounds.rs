//! A round's model is made of every accepted update, once each, and of nothing else; what it needs is on the disk.

use std::collections::BTreeSet;

use coordinator::core::{FinishRound, WeightedUpdate};
use protocol::hash::Digest;
use protocol::ids::JobId;

use super::{Checked, Violation, require};
use crate::oracle::Oracle;

const PROPERTY: &str = "a round's model is made of its accepted updates";

/// A round's model is asked for.
///
/// # Errors
/// If it would be made of something else.
pub fn finish(oracle: &Oracle, blobs: &BTreeSet<Digest>, finish: &FinishRound) -> Checked {
    let FinishRound { job, round, base, updates, .. } = finish;
    require(oracle.done.contains(&(*job, *round)), PROPERTY, || {
        format!("round {round} of job {job} is finished before it is done")
    })?;
    let (want, got) = (sorted(accepted(oracle, *job, *round)), sorted(updates.clone()));
    require(want == got, PROPERTY, || {
        format!("round {round} of job {job} is made of {got:?}; accepted were {want:?}")
    })?;
    let model = oracle.models.get(job);
    // A restart may ask again for what was durable meanwhile.
    let is_base = model.is_some_and(|(made_by, model)| *made_by >= Some(*round) || model == base);
    require(is_base, PROPERTY, || format!("round {round} of job {job} starts from {base}, not {model:?}"))?;
    for digest in updates.iter().map(|update| &update.digest).chain([base]) {
        require(blobs.contains(digest), PROPERTY, || {
            format!("round {round} of job {job} needs {digest}, which is not on the disk")
        })?;
    }
    Ok(())
}

/// An update has been added to a running sum.
///
/// # Errors
/// If the sum has something that was not accepted, or has it twice.
pub fn folded(oracle: &Oracle, job: JobId, round: u32) -> Checked {
    let mut left = accepted(oracle, job, round);
    for update in oracle.folded.get(&(job, round)).into_iter().flatten() {
        let Some(place) = left.iter().position(|accepted| accepted == update) else {
            let found = format!("the sum of round {round} of job {job} has {update:?} once too often");
            return Err(Violation::new(PROPERTY, found));
        };
        left.swap_remove(place);
    }
    Ok(())
}

fn accepted(oracle: &Oracle, job: JobId, round: u32) -> Vec<WeightedUpdate> {
    oracle.receipts(job, round).map(|accepted| oracle.weighted(job, accepted)).collect()
}

fn sorted(updates: Vec<WeightedUpdate>) -> Vec<(Digest, u64)> {
    let mut pairs: Vec<_> = updates.into_iter().map(|update| (update.digest, update.weight)).collect();
    pairs.sort_unstable();
    pairs
}
