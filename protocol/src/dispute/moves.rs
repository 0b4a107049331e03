//! What a party says, and what it is asked.

use serde::{Deserialize, Serialize};

use super::shape::Trace;
use crate::hash::{Digest, Keccak};
use crate::ids::WorkerId;
use crate::merkle::{Proof, ProofError};
use crate::sign::Signable;
use crate::sign::eip712::Domain;

/// A move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Move {
    /// Commits to a trace: it starts where both agree and ends where this party said it does.
    Commit {
        /// The root of the tree over the trace.
        root: Keccak,
        /// The first leaf.
        before: Keccak,
        /// That the trace above has it just before the leaf that differs; absent for a task's trace.
        above: Option<Proof>,
        /// That it is the first leaf.
        first: Proof,
        /// That the last leaf is the one in the trace above that differs, or the task's result.
        last: Proof,
    },
    /// Opens the node in which the trees differ.
    Children {
        /// Its left child.
        left: Keccak,
        /// Its right child.
        right: Keccak,
    },
    /// Opens the leaves that an operator reads, in the order in which it names them.
    Inputs {
        /// Each with the proof of its place in the step's trace.
        opened: Vec<(Keccak, Proof)>,
    },
}

/// A move in its place: what is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// The rollup whose task it is, as far as who signs knows: what was said about a task of one settles nothing on
    /// another, where a job may have the same number and the same spec.
    pub rollup: Domain,
    /// The dispute ([`super::Terms::id`]).
    pub dispute: Digest,
    /// The round, from 0.
    pub round: u32,
    /// The move.
    pub said: Move,
}

impl Signable for Body {
    const DOMAIN: &'static str = "fedroll dispute move 2";
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asked {
    /// Both commit to this trace.
    Commit {
        /// The trace.
        trace: Trace,
    },
    /// Both open this node of the tree over a trace.
    Children {
        /// The trace.
        trace: Trace,
        /// Levels above the leaves.
        height: u32,
        /// From the left.
        index: u32,
    },
    /// Either opens what this operator reads.
    Inputs {
        /// The step's trace.
        trace: Trace,
        /// The operator, from 1.
        operator: u32,
    },
    /// The referee runs the operator; the parties send it the tensors with these digests.
    Run {
        /// The step's trace.
        trace: Trace,
        /// The operator, from 1.
        operator: u32,
        /// The leaves that it reads.
        inputs: Vec<Keccak>,
    },
    /// It is over.
    Nothing,
}

/// Why a move was not taken. It can be made again until it is due.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is over, or the referee's turn.
    #[error("no move is asked for")]
    NothingAsked,
    /// A move for another dispute.
    #[error("the move is for another dispute")]
    OtherDispute,
    /// A move about a task of another rollup.
    #[error("the move is for the rollup {} on chain {}", .0.contract, .0.chain_id)]
    OtherRollup(Domain),
    /// A move for another round.
    #[error("round {want} is under way, the move is for round {got}")]
    Round {
        /// The round.
        want: u32,
        /// The move's.
        got: u32,
    },
    /// Somebody who is no party.
    #[error("{0} is no party to the dispute")]
    NoParty(WorkerId),
    /// It has moved already.
    #[error("this party has made its move in this round")]
    Twice,
    /// Another kind of move is asked for.
    #[error("another kind of move is asked for")]
    NotAsked,
    /// A trace that starts elsewhere.
    #[error("the trace does not start from the task's inputs")]
    OtherStart,
    /// Another trace than the worker committed to with its receipt.
    #[error("the receipt commits to another trace")]
    OtherRoot,
    /// A proof is missing.
    #[error("the proof that the trace above has this first leaf is missing")]
    NoProof,
    /// A proof that does not hold.
    #[error("a leaf is not where the move says: {0}")]
    Proof(#[from] ProofError),
    /// Children of another node.
    #[error("the children do not hash to the node that was asked for")]
    OtherNode,
    /// As many leaves as the operator reads.
    #[error("the operator reads {want} leaves, {got} were opened")]
    Inputs {
        /// What it reads.
        want: usize,
        /// What was opened.
        got: usize,
    },
}
