//! Who disputes what, and how it can end.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::shape::Shape;
use crate::hash::{Digest, Keccak};
use crate::ids::{Nonce, TaskId, WorkerId};
use crate::sign::eip712::Domain;

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Party {
    /// Whose result stands.
    Worker,
    /// Who came to another.
    Challenger,
}

impl Party {
    pub(super) const BOTH: [Self; 2] = [Self::Worker, Self::Challenger];

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Worker => Self::Challenger,
            Self::Challenger => Self::Worker,
        }
    }
}

/// What a dispute is about. It is fixed before the first move, by what both have signed and by the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Where the task's job stands.
    pub rollup: Domain,
    /// The task.
    pub task: TaskId,
    /// The nonce of the assignment.
    pub nonce: Nonce,
    /// Who says that it did it, and who says that it did not.
    pub parties: [WorkerId; 2],
    /// The state that the task starts from: everything that its result depends on.
    pub start: Keccak,
    /// What the worker's receipt names, and what the challenger came to.
    pub results: [Keccak; 2],
    /// The root of the worker's trace of the task, if its receipt named it: it can show no other.
    pub committed: Option<Keccak>,
    /// What the traces consist of.
    pub shape: Shape,
    /// Milliseconds that a party has for a move.
    pub move_ms: u64,
}

impl Terms {
    /// Names the dispute in every move.
    pub fn id(&self) -> Digest {
        Digest::of(&postcard::to_allocvec(self).expect("terms are plain data"))
    }

    /// Names what is disputed: that this worker did this task, once. Of one lie a challenger can make any number of
    /// disputes (with other claims, other times to move, after a crash); about all of them there is one verdict.
    pub fn subject(&self) -> Digest {
        let [worker, _] = self.parties;
        let subject = postcard::to_allocvec(&(self.task, self.nonce, worker));
        Digest::of(&subject.expect("identifiers are plain data"))
    }
}

/// How a dispute ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// This one's operator does not come to what it said; the other's does.
    Wrong(Party),
    /// Neither's does.
    BothWrong,
    /// This one did not move in time; the other did.
    Silent(Party),
    /// Neither did.
    BothSilent,
    /// Neither showed the inputs of the operator, and the worker is who had to keep them.
    Withheld,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Worker => "the worker",
            Self::Challenger => "the challenger",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(party) => write!(f, "{party} computed it wrongly"),
            Self::BothWrong => f.write_str("both computed it wrongly"),
            Self::Silent(party) => write!(f, "{party} did not move in time"),
            Self::BothSilent => f.write_str("neither moved in time"),
            Self::Withheld => f.write_str("the worker did not show what the operator reads"),
        }
    }
}

impl Verdict {
    /// Whether it rests on somebody's not having moved in time, which leaves nothing that could be shown.
    pub const fn is_silence(self) -> bool {
        matches!(self, Self::Silent(_) | Self::BothSilent | Self::Withheld)
    }

    /// Whether this party is held to be at fault.
    pub const fn is_against(self, party: Party) -> bool {
        match self {
            Self::Wrong(loser) | Self::Silent(loser) => loser as u8 == party as u8,
            Self::BothWrong | Self::BothSilent => true,
            Self::Withheld => matches!(party, Party::Worker),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Lie, played, toy};
    use super::*;

    #[test]
    fn disputes_over_one_assignment_have_one_subject() {
        let lie = Lie::Operator { step: 1, operator: 1, salt: 1 };
        let dispute = played(&[lie, Lie::None].map(|lie| toy(2, 1, 1, lie)));
        let terms = dispute.terms().clone();
        let mut other = terms.clone();
        (other.move_ms, other.results[1], other.parties[1]) = (7, Keccak([8; 32]), WorkerId([8; 32]));
        assert!(other.id() != terms.id() && other.subject() == terms.subject());
        let by = Terms { parties: [WorkerId([8; 32]), terms.parties[1]], ..terms.clone() };
        let task = Terms { task: TaskId { slot: 5, ..terms.task }, ..terms.clone() };
        let again = Terms { nonce: Nonce([8; 32]), ..terms.clone() };
        for other in [by, task, again] {
            assert_ne!(other.subject(), terms.subject());
        }
    }
}
