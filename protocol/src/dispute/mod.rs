//! A dispute over one task: who computed it wrongly, found with a few messages and by doing one operator again.
//!
//! Both parties ran the same program on the same inputs, with arithmetic that gives the same bits everywhere, and came
//! to different results. A task is a *trace* of states: before it, after every so many steps, after the last, and what
//! it returns. Each party commits to its trace by a Merkle root; the referee has them open the two trees from the top,
//! always into the first child that differs, down to the first leaf that does. Both agree on the leaf before it, so the
//! first error lies between the two. The same again within that interval, step by step; within that step, operator
//! by operator. What is left is one operator with agreed inputs, which the referee runs itself.
//!
//! The idea is that of Canetti, Riva and Rothblum ("Practical delegation of computation using multiple servers", CCS
//! 2011) and of Arun et al. ("Verde: verification via refereed delegation for machine learning programs", 2025).
//!
//! | file | holds |
//! | --- | --- |
//! | [`sentence`] | what a referee signs for the base layer |
//! | [`shape`] | what the traces of a task consist of |
//! | [`terms`] | who disputes what, and how it can end |
//! | [`moves`] | what a party says, and what it is asked |
//! | [`trace`] | a party's side of one trace: its tree, opened |
//! | [`again`] | a dispute that has ended, played again from its signed moves |
//! | `mod.rs` | the referee: whose move, by when, and the verdict |
//!
//! The referee here is a pure function of the moves and of the times at which they came. It is told what the operator
//! comes to; it never computes.

pub mod again;
pub mod moves;
pub mod sentence;
pub mod shape;
pub mod terms;
#[cfg(test)]
mod tests;
pub mod trace;

use crate::hash::{Digest, Keccak, node};
use crate::sign::Signed;
use crate::time::Millis;
use moves::{Asked, Body, Move, Refused};
use shape::Trace;
pub use terms::{Party, Terms, Verdict};

/// Two values of a kind, the worker's first.
type Pair = [Keccak; 2];

/// Where a dispute stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Both commit to a trace whose first leaf they agree on and whose last leaf each has named.
    Commit {
        trace: Trace,
        lasts: Pair,
    },
    /// Both open the node at this place, in which their trees differ.
    Seek {
        trace: Trace,
        height: u32,
        index: u32,
        nodes: Pair,
    },
    /// Either opens the inputs of the operator at which they differ.
    Open {
        trace: Trace,
        operator: u32,
        claims: Pair,
    },
    /// The referee runs it.
    Run {
        trace: Trace,
        operator: u32,
        claims: Pair,
        inputs: Vec<Keccak>,
    },
    Over(Verdict),
}

/// A trace that both have committed to, and where they differ in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Searched {
    roots: Pair,
    leaves: u32,
    /// The first leaf in which they differ, once it is found.
    differs: u32,
}

/// A dispute as its referee sees it.
#[derive(Clone, Debug)]
pub struct Dispute {
    id: Digest,
    terms: Terms,
    stage: Stage,
    round: u32,
    due: Millis,
    moves: [Option<Move>; 2],
    searched: Vec<Searched>,
    transcript: Vec<Signed<Body>>,
}

/// Why there is nothing to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// They came to the same.
    #[error("both parties came to the same result")]
    SameResult,
    /// Nobody disputes with itself.
    #[error("both parties are the same")]
    SameParty,
}

impl Dispute {
    /// Opens a dispute; the first moves are due `move_ms` later.
    pub fn open(at: Millis, terms: Terms) -> Result<Self, OpenError> {
        if terms.results[0] == terms.results[1] {
            return Err(OpenError::SameResult);
        }
        if terms.parties[0] == terms.parties[1] {
            return Err(OpenError::SameParty);
        }
        let stage = Stage::Commit { trace: Trace::Task, lasts: terms.results };
        Ok(Self {
            id: terms.id(),
            due: at.plus(terms.move_ms),
            terms,
            stage,
            round: 0,
            moves: [None, None],
            searched: Vec::new(),
            transcript: Vec::new(),
        })
    }

    /// What it is about.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// How it ended.
    pub const fn verdict(&self) -> Option<Verdict> {
        match self.stage {
            Stage::Over(verdict) => Some(verdict),
            _ => None,
        }
    }

    /// By when the next moves are due.
    pub const fn due(&self) -> Millis {
        self.due
    }

    /// The round that both are asked to move in.
    pub const fn round(&self) -> u32 {
        self.round
    }

    /// Every move so far, as it was signed.
    pub fn transcript(&self) -> &[Signed<Body>] {
        &self.transcript
    }

    /// The interval, step and operator, each from 1, at which the parties first differ, once it is known.
    pub fn first_difference(&self) -> Option<(u32, u32, u32)> {
        match self.searched[..] {
            [
                Searched { differs: interval, .. },
                Searched { differs: step, .. },
                Searched { differs: operator, .. },
            ] if operator > 0 => Some((interval, step, operator)),
            _ => None,
        }
    }

    /// What is asked, of both parties or, to run an operator, of the referee.
    pub fn asked(&self) -> Asked {
        match &self.stage {
            Stage::Commit { trace, .. } => Asked::Commit { trace: *trace },
            Stage::Seek { trace, height, index, .. } => {
                Asked::Children { trace: *trace, height: *height, index: *index }
            }
            Stage::Open { trace, operator, .. } => Asked::Inputs { trace: *trace, operator: *operator },
            Stage::Run { trace, operator, inputs, .. } => {
                Asked::Run { trace: *trace, operator: *operator, inputs: inputs.clone() }
            }
            Stage::Over(_) => Asked::Nothing,
        }
    }

    /// Takes a party's move. One that does not fit is refused and can be made again until it is due; one that comes too
    /// late is not looked at.
    pub fn take(&mut self, at: Millis, said: Signed<Body>) -> Result<(), Refused> {
        self.tick(at);
        if matches!(self.stage, Stage::Over(_) | Stage::Run { .. }) {
            return Err(Refused::NothingAsked);
        }
        let body = said.body();
        if body.dispute != self.id {
            return Err(Refused::OtherDispute);
        }
        if body.rollup != self.terms.rollup {
            return Err(Refused::OtherRollup(body.rollup));
        }
        if body.round != self.round {
            return Err(Refused::Round { want: self.round, got: body.round });
        }
        let who = self.terms.parties.iter().position(|party| *party == said.signer());
        let who = who.ok_or(Refused::NoParty(said.signer()))?;
        if self.moves[who].is_some() {
            return Err(Refused::Twice);
        }
        self.check(who, &body.said)?;
        self.moves[who] = Some(body.said.clone());
        self.transcript.push(said);
        self.advance(at);
        Ok(())
    }

    /// Time passes.
    pub fn tick(&mut self, at: Millis) {
        if at <= self.due || matches!(self.stage, Stage::Over(_) | Stage::Run { .. }) {
            return;
        }
        let verdict = match (&self.stage, &self.moves) {
            (Stage::Open { .. }, _) => Verdict::Withheld,
            (_, [None, None]) => Verdict::BothSilent,
            (_, [None, _]) => Verdict::Silent(Party::Worker),
            (_, [_, None]) => Verdict::Silent(Party::Challenger),
            (_, [Some(_), Some(_)]) => unreachable!("two moves end a round"),
        };
        self.stage = Stage::Over(verdict);
    }

    /// What the operator comes to; `None` if nobody showed the bytes of its inputs. No operator comes to
    /// [`Keccak::ZERO`]: that stands for inputs that no training has, and is nobody's claim.
    pub fn ran(&mut self, output: Option<Keccak>) {
        let Stage::Run { claims, .. } = &self.stage else { return };
        let verdict = match (output, claims) {
            (None, _) => Verdict::Withheld,
            (Some(Keccak::ZERO), _) => Verdict::BothWrong,
            (Some(truth), [worker, _]) if truth == *worker => Verdict::Wrong(Party::Challenger),
            (Some(truth), [_, challenger]) if truth == *challenger => Verdict::Wrong(Party::Worker),
            (Some(_), _) => Verdict::BothWrong,
        };
        self.stage = Stage::Over(verdict);
    }

    fn check(&self, who: usize, said: &Move) -> Result<(), Refused> {
        match (&self.stage, said) {
            (Stage::Commit { trace, lasts }, Move::Commit { root, before, above, first, last }) => {
                let leaves = self.terms.shape.leaves(*trace);
                let is_bound = who == 0 && *trace == Trace::Task;
                if self.terms.committed.is_some_and(|committed| is_bound && committed != *root) {
                    return Err(Refused::OtherRoot);
                }
                match self.searched.last() {
                    None if *before != self.terms.start => return Err(Refused::OtherStart),
                    None => {}
                    Some(upper) => {
                        let above = above.as_ref().ok_or(Refused::NoProof)?;
                        above.verify(upper.roots[who], upper.leaves, upper.differs - 1, *before)?;
                    }
                }
                first.verify(*root, leaves, 0, *before)?;
                last.verify(*root, leaves, leaves - 1, lasts[who])?;
                Ok(())
            }
            (Stage::Seek { nodes, .. }, Move::Children { left, right }) => {
                if node(left, right) == nodes[who] { Ok(()) } else { Err(Refused::OtherNode) }
            }
            (Stage::Open { trace, operator, .. }, Move::Inputs { opened }) => {
                let wanted = self.terms.shape.inputs(*trace, *operator);
                if opened.len() != wanted.len() {
                    return Err(Refused::Inputs { want: wanted.len(), got: opened.len() });
                }
                let Some(step) = self.searched.last() else { return Err(Refused::NothingAsked) };
                for (index, (value, proof)) in wanted.iter().zip(opened) {
                    proof.verify(step.roots[who], step.leaves, *index, *value)?;
                }
                Ok(())
            }
            _ => Err(Refused::NotAsked),
        }
    }

    /// Goes on once the round's moves are in.
    fn advance(&mut self, at: Millis) {
        let next = match (self.stage.clone(), &self.moves) {
            (
                Stage::Commit { trace, .. },
                [Some(Move::Commit { root: worker, .. }), Some(Move::Commit { root: challenger, .. })],
            ) => {
                let leaves = self.terms.shape.leaves(trace);
                let roots = [*worker, *challenger];
                self.searched.push(Searched { roots, leaves, differs: 0 });
                Stage::Seek { trace, height: shape::height(leaves), index: 0, nodes: roots }
            }
            (
                Stage::Seek { trace, height, index, .. },
                [
                    Some(Move::Children { left: left_w, right: right_w }),
                    Some(Move::Children { left: left_c, right: right_c }),
                ],
            ) => {
                let goes_left = left_w != left_c;
                let nodes = if goes_left { [*left_w, *left_c] } else { [*right_w, *right_c] };
                self.found(trace, height - 1, 2 * index + u32::from(!goes_left), nodes)
            }
            (
                Stage::Open { trace, operator, claims },
                [Some(Move::Inputs { opened }), _] | [_, Some(Move::Inputs { opened })],
            ) => {
                let inputs = opened.iter().map(|(value, _)| *value).collect();
                Stage::Run { trace, operator, claims, inputs }
            }
            _ => return,
        };
        self.stage = next;
        self.moves = [None, None];
        self.round += 1;
        self.due = at.plus(self.terms.move_ms);
    }

    /// The trees differ in the node at this place; everything left of it is the same in both.
    fn found(&mut self, trace: Trace, height: u32, index: u32, nodes: Pair) -> Stage {
        if height > 0 {
            return Stage::Seek { trace, height, index, nodes };
        }
        let searched = self.searched.last_mut().expect("the trace was committed to");
        if index >= searched.leaves {
            // Beyond the last leaf a tree holds nothing.
            let filled = Party::BOTH.map(|party| nodes[party as usize] != Keccak::ZERO);
            return Stage::Over(match filled {
                [true, false] => Verdict::Wrong(Party::Worker),
                [false, true] => Verdict::Wrong(Party::Challenger),
                _ => Verdict::BothWrong,
            });
        }
        // Both proved the same first leaf, so it is not the one that differs.
        searched.differs = index;
        match trace.within(index) {
            Some(trace) => Stage::Commit { trace, lasts: nodes },
            None => Stage::Open { trace, operator: index, claims: nodes },
        }
    }
}
