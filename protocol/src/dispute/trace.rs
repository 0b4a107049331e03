//! A party's side: the traces that it can compute, and the moves that follow from them.

use super::moves::{Asked, Move};
use super::shape::{Shape, Trace};
use crate::hash::Keccak;
use crate::merkle::{Proof, StaticTree, TreeError};

/// What a party computes; it is asked for few of a task's traces, and computes them then.
pub trait Computation {
    /// Why a trace could not be computed.
    type Error: From<TreeError>;

    /// All leaves of a trace.
    fn leaves(&mut self, trace: Trace) -> Result<Vec<Keccak>, Self::Error>;
}

/// A party to a dispute: it answers what is asked.
#[derive(Debug)]
pub struct Player<C> {
    computation: C,
    shape: Shape,
    /// From the task's trace down to the one that was asked about last.
    open: Vec<Opened>,
}

#[derive(Debug)]
struct Opened {
    trace: Trace,
    leaves: Vec<Keccak>,
    tree: StaticTree,
}

impl<C: Computation> Player<C> {
    /// A party that has this to show.
    pub const fn new(computation: C, shape: Shape) -> Self {
        Self { computation, shape, open: Vec::new() }
    }

    /// What it computes with.
    pub const fn computation(&self) -> &C {
        &self.computation
    }

    /// The same, to let it compute.
    pub const fn computation_mut(&mut self) -> &mut C {
        &mut self.computation
    }

    /// The move that is asked for; `None` if none is.
    pub fn answer(&mut self, asked: &Asked) -> Result<Option<Move>, C::Error> {
        match asked {
            Asked::Commit { trace } => self.commit(*trace).map(Some),
            Asked::Children { trace, height, index } => {
                let opened = self.opened(*trace)?;
                // A referee may ask for what is not there; there is no move then.
                let child = |right| {
                    opened.tree.node(height.checked_sub(1)?, index.checked_mul(2)?.checked_add(right)?)
                };
                Ok(child(0).zip(child(1)).map(|(left, right)| Move::Children { left, right }))
            }
            Asked::Inputs { trace, operator } => {
                let wanted = self.shape.inputs(*trace, *operator).to_vec();
                let opened = self.opened(*trace)?;
                let inputs = wanted.iter().filter_map(|index| {
                    Some((*opened.leaves.get(*index as usize)?, opened.tree.proof(*index)?))
                });
                Ok(Some(Move::Inputs { opened: inputs.collect() }))
            }
            Asked::Run { .. } | Asked::Nothing => Ok(None),
        }
    }

    fn commit(&mut self, trace: Trace) -> Result<Move, C::Error> {
        let upper = match trace {
            Trace::Task => None,
            Trace::Interval(leaf) => Some((Trace::Task, leaf)),
            Trace::Step { interval, step } => Some((Trace::Interval(interval), step)),
        };
        let above = match upper {
            Some((above, leaf)) => {
                let opened = self.opened(above)?;
                leaf.checked_sub(1).and_then(|leaf| opened.tree.proof(leaf))
            }
            None => None,
        };
        let opened = self.opened(trace)?;
        let none = || Proof { siblings: Vec::new() };
        Ok(Move::Commit {
            root: opened.tree.root(),
            before: opened.leaves.first().copied().unwrap_or_default(),
            above,
            first: opened.tree.proof(0).unwrap_or_else(none),
            last: opened.tree.proof(opened.tree.count().saturating_sub(1)).unwrap_or_else(none),
        })
    }

    fn opened(&mut self, trace: Trace) -> Result<&Opened, C::Error> {
        let at = match self.open.iter().position(|opened| opened.trace == trace) {
            Some(at) => at,
            None => {
                let leaves = self.computation.leaves(trace)?;
                let tree = StaticTree::new(&leaves)?;
                self.open.push(Opened { trace, leaves, tree });
                self.open.len() - 1
            }
        };
        Ok(&self.open[at])
    }
}
