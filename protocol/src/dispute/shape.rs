//! What the traces of a task consist of: it follows from the job and the shard, so both parties and the referee know.

use serde::{Deserialize, Serialize};

/// Operators of one step at most.
pub const OPERATORS_MAX: usize = 1 << 16;
/// Steps of one task at most.
pub const STEPS_MAX: u32 = 1 << 24;

/// One of a task's traces: states, each made from those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Trace {
    /// The state before the task, after every so many steps, after the last; then what the task returns.
    Task,
    /// From one of those to the next (this one, from 1): the state before, and after each step.
    Interval(u32),
    /// One step of it (this one, from 1): the state before, and what each operator makes, the last the state after.
    Step {
        /// The interval.
        interval: u32,
        /// The step within it.
        step: u32,
    },
}

impl Trace {
    /// The trace that leads to this leaf from the one before it; `None` for a step's, which one operator makes.
    pub const fn within(self, leaf: u32) -> Option<Self> {
        match self {
            Self::Task => Some(Self::Interval(leaf)),
            Self::Interval(interval) => Some(Self::Step { interval, step: leaf }),
            Self::Step { .. } => None,
        }
    }
}

/// The operators of a step in their canonical order. Leaf 0 of the step's trace is the state before it; operator i
/// makes leaf i from the leaves that it names, all of them before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<u32>>", into = "Vec<Vec<u32>>")]
pub struct Operators(Vec<Vec<u32>>);

/// Why a shape is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A step without an operator, or with too many.
    #[error("a step has 1 to {OPERATORS_MAX} operators, not {0}")]
    Operators(usize),
    /// An operator that needs what comes after it.
    #[error("operator {operator} names leaf {input}, which does not come before it")]
    Input {
        /// The operator, from 1.
        operator: usize,
        /// The leaf.
        input: u32,
    },
    /// No step, or too many, or none between two checkpoints.
    #[error(
        "a task has 1 to {STEPS_MAX} steps, not {steps}, and a checkpoint after every 1 or more, not {every}"
    )]
    Steps {
        /// Steps of the task.
        steps: u32,
        /// Steps between checkpoints.
        every: u32,
    },
}

impl Operators {
    /// Operators by what each reads.
    pub fn new(inputs: Vec<Vec<u32>>) -> Result<Self, ShapeError> {
        if inputs.is_empty() || inputs.len() > OPERATORS_MAX {
            return Err(ShapeError::Operators(inputs.len()));
        }
        for (operator, read) in (1..).zip(&inputs) {
            if let Some(input) = read.iter().find(|input| **input as usize >= operator) {
                return Err(ShapeError::Input { operator, input: *input });
            }
        }
        Ok(Self(inputs))
    }
}

impl TryFrom<Vec<Vec<u32>>> for Operators {
    type Error = ShapeError;

    fn try_from(inputs: Vec<Vec<u32>>) -> Result<Self, ShapeError> {
        Self::new(inputs)
    }
}

impl From<Operators> for Vec<Vec<u32>> {
    fn from(operators: Operators) -> Self {
        operators.0
    }
}

/// How many steps a task has, where its checkpoints lie, and what a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Plain", into = "Plain")]
pub struct Shape(Plain);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Plain {
    steps: u32,
    every: u32,
    step: Operators,
    finish: Operators,
}

impl Shape {
    /// A task of `steps` steps, each of the operators `step`, with a checkpoint after every `every` of them; `finish`
    /// makes what the task returns from the last state.
    pub fn new(steps: u32, every: u32, step: Operators, finish: Operators) -> Result<Self, ShapeError> {
        Self::try_from(Plain { steps, every, step, finish })
    }

    /// Leaves of one of the traces.
    pub const fn leaves(&self, trace: Trace) -> u32 {
        let Plain { steps, every, .. } = &self.0;
        match trace {
            Trace::Task => steps.div_ceil(*every) + 2,
            Trace::Interval(interval) => {
                let before = interval.saturating_sub(1).saturating_mul(*every);
                let steps = steps.saturating_sub(before);
                // What the task returns comes after its last step, by a step of its own.
                1 + if steps == 0 {
                    1
                } else if steps < *every {
                    steps
                } else {
                    *every
                }
            }
            Trace::Step { interval, .. } => 1 + self.operators(interval).0.len() as u32,
        }
    }

    /// The leaves of the step's trace that make leaf `operator`.
    pub fn inputs(&self, trace: Trace, operator: u32) -> &[u32] {
        let Trace::Step { interval, .. } = trace else { return &[] };
        let reads = (operator as usize).checked_sub(1).and_then(|at| self.operators(interval).0.get(at));
        reads.map_or(&[], Vec::as_slice)
    }

    const fn operators(&self, interval: u32) -> &Operators {
        if interval > self.0.steps.div_ceil(self.0.every) { &self.0.finish } else { &self.0.step }
    }
}

impl TryFrom<Plain> for Shape {
    type Error = ShapeError;

    fn try_from(plain: Plain) -> Result<Self, ShapeError> {
        let Plain { steps, every, .. } = plain;
        if !(1..=STEPS_MAX).contains(&steps) || every == 0 {
            return Err(ShapeError::Steps { steps, every });
        }
        Ok(Self(plain))
    }
}

impl From<Shape> for Plain {
    fn from(shape: Shape) -> Self {
        shape.0
    }
}

/// Levels above the leaves of the tree over a trace.
pub(super) const fn height(leaves: u32) -> u32 {
    leaves.next_power_of_two().trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_shape_is_refused_also_from_the_wire() {
        assert_eq!(Operators::new(vec![]), Err(ShapeError::Operators(0)));
        assert_eq!(Operators::new(vec![vec![0], vec![2]]), Err(ShapeError::Input { operator: 2, input: 2 }));
        let one = Operators::new(vec![vec![0]]).unwrap();
        assert_eq!(Shape::new(0, 1, one.clone(), one.clone()), Err(ShapeError::Steps { steps: 0, every: 1 }));
        let never = Shape::new(1, 0, one.clone(), one.clone());
        assert_eq!(never, Err(ShapeError::Steps { steps: 1, every: 0 }));
        let bytes = postcard::to_allocvec(&(0u32, 1u32, vec![vec![0u32]], vec![vec![0u32]])).unwrap();
        assert!(postcard::from_bytes::<Shape>(&bytes).is_err());
        let shape = Shape::new(7, 3, one.clone(), one).unwrap();
        let bytes = postcard::to_allocvec(&shape).unwrap();
        assert_eq!(postcard::from_bytes::<Shape>(&bytes).unwrap(), shape);
    }
}
