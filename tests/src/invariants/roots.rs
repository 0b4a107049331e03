//! From what stands on the base layer an auditor rebuilds every root that was posted, and every posted op does
//! something.

use protocol::ledger::Verdict;

use super::{Checked, require};

const PROPERTY: &str = "posted roots rebuild";

/// What the auditor makes of a batch.
///
/// # Errors
/// If a root is wrong, or an op is without effect.
pub fn rebuild(verdict: &Verdict) -> Checked {
    let number = verdict.number;
    require(verdict.holds(), PROPERTY, || format!("batch {number}: {:?}", verdict.fault))?;
    for chunk in &verdict.chunks {
        require(chunk.parsed.end.is_none(), PROPERTY, || {
            format!("batch {number} has a chunk that ends early: {:?}", chunk.parsed.end)
        })?;
        for (op, outcome) in chunk.parsed.ops.iter().zip(&chunk.outcomes) {
            require(outcome.is_ok(), PROPERTY, || {
                format!("batch {number}: {op:?} does nothing: {outcome:?}")
            })?;
        }
    }
    Ok(())
}
