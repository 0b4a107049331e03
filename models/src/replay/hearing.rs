//! A dispute heard again by somebody who was not there: whether the transcript is about the task, whether its moves are
//! a game that both sides signed, and what the verdict is.

use protocol::dispute::again::{Unplayable, play};
use protocol::dispute::moves::{Asked, Body};
use protocol::dispute::shape::Shape;
use protocol::dispute::{Terms, Verdict};
use protocol::hash::{Digest, Keccak};
use protocol::job::{Receipt, TrainTask};
use protocol::sign::{Signed, Unverified};

use super::TrainingTask;
use super::checkpoints::NoCheckpoints;
use super::desk::Papers;
use super::party::Party;
use super::referee::Referee;
use crate::error::ModelError;
use crate::kernels::Machine;

/// What a hearing comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The verdict that follows. Where it is silence, all that is seen is that moves are missing.
    pub verdict: Verdict,
    /// Where the parties first differ, if they came so far.
    pub place: Option<Place>,
}

/// An operator of a training, each counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The interval between two commitments.
    pub interval: u32,
    /// The step within it.
    pub step: u32,
    /// The operator of the step.
    pub operator: u32,
    /// What it does.
    pub name: String,
}

/// Why a transcript is not that of a dispute over this task and this receipt: somebody has changed it, or made it up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Forged {
    /// Terms about something else.
    #[error("its terms are not about the receipt: they name another {0}")]
    Receipt(&'static str),
    /// A trace that starts elsewhere.
    #[error("its terms start from another state than the task does")]
    Start,
    /// Traces of another task.
    #[error("its terms give the training other steps or operators than it has")]
    Shape,
    /// Moves that are not the dispute's.
    #[error(transparent)]
    Moves(#[from] Unplayable),
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum HearingError {
    /// Nothing to judge.
    #[error(transparent)]
    Forged(#[from] Forged),
    /// The task cannot be run.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Hears a dispute over a receipt for this task. Trains up to the step that is in dispute, if there is one, with so
/// many threads, and keeps nothing.
pub fn hear(
    task: &TrainTask,
    blob: &mut dyn FnMut(&Digest) -> Result<Vec<u8>, ModelError>,
    receipt: &Signed<Receipt>,
    terms: Terms,
    moves: Vec<Unverified<Body>>,
    threads: usize,
) -> Result<Heard, HearingError> {
    let Papers { task, weights, data } = Papers::read(task, blob)?;
    let reader = Party::new(task.clone(), weights.clone(), data.clone(), threads, NoCheckpoints)?;
    about(&task, task.start(&weights)?, reader.shape(), receipt, &terms)?;
    let mut dispute = play(terms, moves).map_err(Forged::from)?;
    if let Asked::Run { trace, operator, inputs } = dispute.asked() {
        // Who started where both did and agrees with neither on what the operator reads, finds both wrong before it.
        let referee = Referee::new(&task, &weights, &data, Machine::new(threads))?;
        let output = reader.run(&referee, trace, operator, &inputs)?;
        dispute.ran(Some(output.unwrap_or_default()));
    }
    dispute.fall_silent();
    let place = dispute.first_difference().map(|(interval, step, operator)| Place {
        interval,
        step,
        operator,
        name: task.operator_name(interval, operator),
    });
    let verdict = dispute.verdict().expect("a dispute in which nobody says anything more is over");
    Ok(Heard { verdict, place })
}

/// Checks that the terms are what follows from the receipt and the task.
fn about(
    task: &TrainingTask,
    start: Keccak,
    shape: &Shape,
    receipt: &Signed<Receipt>,
    terms: &Terms,
) -> Result<(), Forged> {
    let said = receipt.body();
    let same = [
        ("task", terms.task == said.task),
        ("assignment", terms.nonce == said.nonce),
        ("worker", terms.parties[0] == receipt.signer()),
        ("result", terms.results[0] == task.returned(said)),
        ("trace", terms.committed == said.trace),
    ];
    if let Some((what, _)) = same.into_iter().find(|(_, same)| !same) {
        return Err(Forged::Receipt(what));
    }
    if terms.start != start {
        return Err(Forged::Start);
    }
    if terms.shape == *shape { Ok(()) } else { Err(Forged::Shape) }
}

#[cfg(test)]
mod tests;
