//! Whoever came to the right result does not lose a dispute, and no verdict falls without a transcript that shows it.

use coordinator::core::Transcript;
use protocol::dispute::{Party, Verdict};

use super::{Checked, require};
use crate::oracle::Oracle;

/// The property's name.
pub const PROPERTY: &str = "the right result wins its dispute";

/// A transcript is kept.
///
/// # Errors
/// If its verdict is against the coordinator, which runs tasks rightly here, or its task was never assigned.
pub fn kept(oracle: &Oracle, transcript: &Transcript) -> Checked {
    let Transcript { terms, verdict, .. } = transcript;
    require(oracle.assigned.contains_key(&terms.nonce), PROPERTY, || {
        format!("a dispute over task {}, which nobody has", terms.task)
    })?;
    let worker_lost = verdict.is_against(Party::Worker) && *verdict != Verdict::BothWrong;
    require(worker_lost, PROPERTY, || format!("task {}: {verdict:?}", terms.task))
}
