//! What the core notes, as log lines of values.

use tracing::{debug, error, info, warn};

use crate::core::Note;

/// Writes one note to the log.
pub fn write(note: &Note) {
    match note {
        Note::Welcomed { account, payout, unanswered } => info!(%account, %payout, unanswered, "welcomed"),
        Note::Refused(reason) => error!(%reason, "refused"),
        Note::LinkLost { reason, retry_ms } => warn!(%reason, retry_ms, "link lost"),
        Note::Taken { task, price } => info!(%task, price, "taken"),
        Note::Declined { task, reason } => info!(%task, %reason, "declined"),
        Note::Behind { task, behind } => error!(%task, %behind, "not taken"),
        Note::Dropped { task, reason } => warn!(%task, %reason, "dropped"),
        Note::Questioned { task } => {
            warn!(%task, "the coordinator came to another result: this worker shows how it came to its own");
        }
        Note::Computed { task, result, examples } => info!(%task, ?result, examples, "computed"),
        Note::Accepted { task, owed } => info!(%task, owed, "accepted"),
        Note::Rejected { task, reason } => warn!(%task, %reason, "rejected"),
        Note::Disputed { task, wrong } => {
            error!(%task, %wrong, "the acceptance does not hold: this job gets no more work");
        }
        Note::PassedOver { job, reason } => warn!(%job, %reason, "no task of this job comes here"),
        Note::Odd { what, job, nonce } => debug!(what, %job, ?nonce, "odd"),
        Note::Resting => info!("resting: outside the hours"),
        Note::Leaving { held } => info!(held, "leaving"),
    }
}
