//! The coordinator believes only what cannot be undone: queue items of final blocks, batches past
//! their window, and of others' batches those that are right.

use coordinator::core::Coordinator;

use super::{Checked, require};
use crate::sim::chain::Chain;

const PROPERTY: &str = "only what is final counts as final";

/// Compares what the coordinator believes of the base layer with the base layer.
///
/// # Errors
/// If it believes too much.
pub fn believed(core: &Coordinator, chain: &Chain) -> Checked {
    let (known, settled) = (core.batches().queue(), chain.settled().queue());
    require(known.hash_at(known.len()) == settled.hash_at(known.len()), PROPERTY, || {
        format!("it knows {} queue items; of {} final ones the hashes differ", known.len(), settled.len())
    })?;
    let (finalised, final_upto) = (core.batches().finalised() as u64, chain.final_upto());
    require(finalised <= final_upto, PROPERTY, || {
        format!("it counts {finalised} batches as final, the base layer {final_upto}")
    })?;
    let ours = core.config().operator;
    let adopted = core.batches().records().iter().filter(|record| record.proposer != ours);
    for record in adopted {
        let number = record.header.number;
        let stands = chain.settled().foreign(number).map(|batch| batch.header);
        let wrong = chain.settled().wrong().is_some_and(|wrong| wrong.header.number == number);
        require(stands == Some(record.header) && !wrong, PROPERTY, || {
            format!("it builds on {:?}; of others stands {stands:?}, wrong: {wrong}", record.header)
        })?;
    }
    Ok(())
}
