//! Checks of results, and disputes over them: a training of one step and one operator, whose traces follow from its
//! result.

use coordinator::core::{Check, Event, Found};
use protocol::dispute::Terms;
use protocol::dispute::moves::{Asked, Body, Move};
use protocol::dispute::shape::{Operators, Shape, Trace};
use protocol::dispute::trace::{Computation, Player};
use protocol::hash::{Digest, Keccak, keccak};
use protocol::ids::Nonce;
use protocol::job::TaskWork;
use protocol::merkle::{StaticTree, TreeError};
use protocol::sign::NodeKey;

use super::actors::tasks::result_of;
use super::bugs::Bug;
use super::{CoordinatorDue, Due, Sim};

/// The state after the only step, if this is what the training returned.
pub(super) fn middle(result: Digest) -> Keccak {
    keccak(&[b"middle", &result.0])
}

fn start() -> Keccak {
    keccak(&[b"start"])
}

fn shape() -> Shape {
    let operator = || Operators::new(vec![vec![0]]).expect("it reads what comes before it");
    Shape::new(1, 1, operator(), operator()).expect("a step is within bounds")
}

/// Whoever says that this is the result.
struct Says(Digest);

impl Computation for Says {
    type Error = TreeError;

    fn leaves(&mut self, trace: Trace) -> Result<Vec<Keccak>, TreeError> {
        let ends = [start(), middle(self.0), returned(self.0)];
        Ok(match trace {
            Trace::Task => ends.to_vec(),
            Trace::Interval(1) | Trace::Step { interval: 1, .. } => ends[..2].to_vec(),
            Trace::Interval(_) | Trace::Step { .. } => ends[1..].to_vec(),
        })
    }
}

fn returned(result: Digest) -> Keccak {
    keccak(&[b"returned", &result.0])
}

/// The commitment to the trace of a training with this result.
pub(super) fn root(result: Digest) -> Option<Keccak> {
    Some(StaticTree::new(&[start(), middle(result), returned(result)]).ok()?.root())
}

/// What somebody who says that this is the result answers.
pub(super) fn answer(result: Digest, asked: &Asked) -> Option<Move> {
    Player::new(Says(result), shape()).answer(asked).ok()?
}

/// The coordinator's identity, by which it signs moves.
fn coordinator_key() -> NodeKey {
    NodeKey::from_seed(&[0xc0; 32])
}

impl Sim {
    pub(super) fn run_again(&mut self, check: &Check) {
        self.oracle.drawn.insert(check.receipt.nonce);
        let Some(own) = result_of(&check.task) else { return };
        let (claimed, nonce) = (check.receipt.result, check.receipt.nonce);
        self.coordinator.checked.insert(nonce, (own, claimed));
        let found = match &check.task {
            _ if own == claimed => Found::Same,
            TaskWork::Infer(_) => Found::Answers(Some(own)),
            TaskWork::Train(_) => Found::Differs(Box::new(Terms {
                rollup: self.coordinator.config.domain,
                task: check.receipt.task,
                nonce,
                parties: [check.worker, coordinator_key().id()],
                start: start(),
                results: [claimed, own].map(returned),
                committed: check.receipt.trace,
                shape: shape(),
                move_ms: check.move_ms,
            })),
        };
        self.tell_soon(Event::Checked { nonce, found: Ok(found) });
    }

    pub(super) fn answer_own(&mut self, nonce: Nonce, dispute: Digest, round: u32, asked: &Asked) {
        let own = self.coordinator.checked.get(&nonce).map(|(own, _)| *own);
        if let Some(said) = own.and_then(|own| answer(own, asked)) {
            let said =
                coordinator_key().sign(Body { rollup: self.coordinator.config.domain, dispute, round, said });
            self.tell_soon(Event::Moved(Box::new(said)));
        }
    }

    /// What the only operator comes to.
    pub(super) fn run_operator(&mut self, nonce: Nonce) {
        let word = self.planted(Bug::JudgedWrongly);
        let checked = self.coordinator.checked.get(&nonce);
        let output = Ok(checked.map(|(own, claimed)| middle(if word { *claimed } else { *own })));
        self.tell_soon(Event::Ran { nonce, output });
    }

    /// Something that the coordinator's shell has computed.
    fn tell_soon(&mut self, event: Event) {
        let wait = self.up_to(200);
        let life = self.coordinator.life();
        self.after(wait, Due::Coordinator { life, due: CoordinatorDue::Input(Box::new(event)) });
    }
}
