//! Who trains, or trains again: commitments on the way; afterwards any trace of it, from the nearest checkpoint.

use std::sync::Arc;

use protocol::dispute::shape::{Shape, Trace};
use protocol::dispute::trace::Computation;
use protocol::hash::{Digest, Keccak};
use protocol::merkle::{StaticTree, TreeError};

use super::checkpoints::Checkpoints;
use super::leaf::Leaf;
use super::referee::{Opened, Referee};
use super::{Does, TrainingTask, does, operator_of, reads};
use crate::data::Dataset;
use crate::engine::{Node, Program, Source};
use crate::error::ModelError;
use crate::kernels::Machine;
use crate::train::{Control, Progress, State, Training};
use crate::weights::Weights;

/// What a training came to, and what it can be held to.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// The update, as a blob.
    pub update: Vec<u8>,
    /// Mean loss over the last epoch.
    pub loss: f32,
    /// The leaves of the task's trace.
    pub leaves: Vec<Keccak>,
}

impl Committed {
    /// The root over the trace: what a receipt names.
    pub fn root(&self) -> Result<Keccak, TreeError> {
        Ok(StaticTree::new(&self.leaves)?.root())
    }
}

/// One of those who can say how a training goes.
#[derive(Debug)]
pub struct Party<C> {
    task: TrainingTask,
    id: Digest,
    weights: Arc<Weights>,
    data: Arc<Dataset>,
    threads: usize,
    program: Program,
    shape: Shape,
    checkpoints: C,
    leaves: Option<Vec<Keccak>>,
    /// Tests have parties that do not do what the task says.
    #[cfg(test)]
    pub(super) lie: super::tests::Lie,
}

/// A training's state, or where its numbers ran away.
enum At<'a> {
    Running(Box<Training<'a>>),
    Wild(Leaf),
}

/// One step, opened.
struct Step {
    leaves: Vec<Leaf>,
    /// The bytes of the values that were wanted; none of those that were not made.
    bytes: Vec<Option<Vec<u8>>>,
}

impl<C: Checkpoints> Party<C> {
    /// A party to this task. It refuses weights and examples that are not the task's by their shape and number; that
    /// the blobs have the digests that the task names, the caller has seen to.
    pub fn new(
        task: TrainingTask,
        weights: Arc<Weights>,
        data: Arc<Dataset>,
        threads: usize,
        checkpoints: C,
    ) -> Result<Self, ModelError> {
        if *weights.spec() != task.model {
            return Err(ModelError::Format("the weights are of another model than the task's".into()));
        }
        if data.len() as u64 != task.examples {
            let (got, want) = (data.len() as u64, task.examples);
            return Err(ModelError::Range { what: "number of examples", got, least: want, most: want });
        }
        let (program, shape) = (task.program()?, task.shape()?);
        let id = task.digest();
        Ok(Self {
            task,
            id,
            weights,
            data,
            threads,
            program,
            shape,
            checkpoints,
            leaves: None,
            #[cfg(test)]
            lie: super::tests::Lie::None,
        })
    }

    /// What the traces consist of.
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The state after step `step`, if it is kept.
    pub fn kept(&self, step: u64) -> Option<State> {
        self.checkpoints.before(step).filter(|state| state.step == step)
    }

    /// Trains, with a commitment after every [`TrainingTask::checkpoint_steps`]; keeps the states that it commits to.
    pub fn train(&mut self, progress: &mut dyn FnMut(Progress) -> Control) -> Result<Committed, ModelError> {
        let mut training = self.start()?;
        let mut leaves = vec![Leaf::state(&training).digest(&self.id)];
        let (steps, every) = (training.steps(), u64::from(self.task.checkpoint_steps));
        while training.step() < steps {
            let batch_loss = self.advance(&mut training)?;
            let step = training.step();
            if progress(Progress { epoch: training.epoch(), step, steps, loss: batch_loss })
                == Control::Cancel
            {
                return Err(ModelError::Cancelled { step });
            }
            if step.is_multiple_of(every) || step == steps {
                leaves.push(Leaf::state(&training).digest(&self.id));
                self.checkpoints.keep(&mut || training.state());
            }
        }
        let (update, returned) = self.returned(&training)?;
        leaves.push(returned.digest(&self.id));
        let loss = training.mean_loss();
        self.leaves = Some(leaves.clone());
        Ok(Committed { update, loss, leaves })
    }

    fn start(&self) -> Result<Training<'_>, ModelError> {
        Training::new(self.machine(), &self.weights, self.data(), &self.params())
    }

    fn machine(&self) -> Machine {
        Machine::new(self.threads)
    }

    fn returned(&self, training: &Training<'_>) -> Result<(Vec<u8>, Leaf), ModelError> {
        Leaf::returned(&self.task, self.weights.values(), training)
    }

    /// Takes a step.
    fn advance<'a>(&'a self, training: &mut Training<'a>) -> Result<f64, ModelError> {
        #[cfg(test)]
        let before = training.state();
        let loss = training.advance(None)?;
        #[cfg(test)]
        self.lie.after_step(&before, training, &self.task.model, self.data());
        Ok(loss)
    }

    /// The training after step `step`, from the nearest checkpoint.
    fn at(&self, step: u64) -> Result<At<'_>, ModelError> {
        let mut training = match self.checkpoints.before(step) {
            Some(state) => {
                let model = &self.task.model;
                Training::resume(self.machine(), model, &state, self.data(), &self.params())?
            }
            None => self.start()?,
        };
        while training.step() < step {
            if let Err(error) = self.advance(&mut training) {
                return Leaf::wild(&self.program, error).map(At::Wild);
            }
        }
        Ok(At::Running(Box::new(training)))
    }

    /// The states after these steps, the first included.
    fn states(&self, first: u64, last: u64) -> Result<Vec<Keccak>, ModelError> {
        let count = (last - first) as usize + 1;
        let mut leaves = Vec::with_capacity(count);
        let mut at = self.at(first)?;
        while leaves.len() < count {
            let leaf = match &at {
                At::Running(training) => Leaf::state(training),
                At::Wild(leaf) => leaf.clone(),
            };
            leaves.push(leaf.digest(&self.id));
            if let At::Running(training) = &mut at
                && leaves.len() < count
                && let Err(error) = self.advance(training)
            {
                at = At::Wild(Leaf::wild(&self.program, error)?);
            }
        }
        Ok(leaves)
    }

    /// The step before the interval's first.
    fn before(&self, interval: u32) -> u64 {
        let steps = self.task.steps();
        (u64::from(interval.max(1) - 1) * u64::from(self.task.checkpoint_steps)).min(steps)
    }

    /// The last state, and what follows from it.
    fn end(&self) -> Result<[Leaf; 2], ModelError> {
        Ok(match self.at(self.task.steps())? {
            At::Wild(leaf) => [leaf.clone(), leaf],
            At::Running(training) => [Leaf::state(&training), self.returned(&training)?.1],
        })
    }

    /// One step, opened: all its leaves, and the bytes of the values that are wanted of it.
    fn step(&self, number: u64, wanted: &[Source]) -> Result<Step, ModelError> {
        let count = self.program.nodes().len() + 3;
        let mut bytes = vec![None; wanted.len()];
        let mut training = match self.at(number - 1)? {
            At::Wild(leaf) => return Ok(Step { leaves: vec![leaf; count], bytes }),
            At::Running(training) => *training,
        };
        let mut want = |source: Source, value: &mut dyn FnMut() -> Vec<u8>| {
            if let Some(at) = wanted.iter().position(|wanted| *wanted == source) {
                bytes[at] = Some(value());
            }
        };
        for (tensor, (weights, moments)) in training.session().tensors().enumerate() {
            want(Source::State { tensor, moments: false }, &mut || to_bytes(weights));
            want(Source::State { tensor, moments: true }, &mut || to_bytes(moments));
        }
        let batch = super::referee::load(self.data(), &self.params(), number);
        for (at, value) in batch.iter().enumerate() {
            want(Source::Batch(at), &mut || value.clone());
        }
        let mut leaves = vec![Leaf::state(&training), outputs_of(&batch)];
        let mut wild = None;
        let mut made: Vec<Digest> = Vec::new();
        let (step, mut node_at) = (number, 0);
        let mut trace = |_: u64, node: &Node, output: usize, value: &[u8]| {
            want(Source::Node { node: node_at, output }, &mut || value.to_vec());
            made.push(Digest::of(value));
            let outputs = node.outputs.len() + usize::from(self.program.is_loss(node_at));
            if wild.is_none() && !self.program.is_output_finite(node_at, output, value) {
                wild = Some(Leaf::Wild { step, operator: operator_of(node_at) });
            }
            if output + 1 == outputs {
                let leaf = Leaf::Outputs(std::mem::take(&mut made));
                leaves.push(wild.clone().unwrap_or(leaf));
                node_at += 1;
            }
        };
        #[cfg(test)]
        let before = training.state();
        let stepped = training.advance(Some(&mut trace));
        #[cfg(test)]
        self.lie.after_step(&before, &mut training, &self.task.model, self.data());
        match (stepped, wild) {
            (_, Some(leaf)) => leaves.resize(count, leaf),
            (Ok(_), None) => leaves.push(Leaf::state(&training)),
            (Err(error), None) => return Err(error),
        }
        Ok(Step { leaves, bytes })
    }

    /// What the referee needs to run an operator of a step's trace; `None` if there is no such operator.
    pub fn open(&self, trace: Trace, operator: u32) -> Result<Option<Opened>, ModelError> {
        let Trace::Step { interval, step } = trace else { return Ok(None) };
        let (before, steps) = (self.before(interval), self.task.steps());
        if before == steps {
            let [last, _] = self.end()?;
            let tensors = match self.at(steps)? {
                At::Running(training) => training.session().tensors().map(|(own, _)| to_bytes(own)).collect(),
                At::Wild(_) => Vec::new(),
            };
            return Ok((operator == 1).then_some(Opened { leaves: vec![last], tensors }));
        }
        let Some(does) = does(&self.program, operator) else { return Ok(None) };
        let wanted: Vec<Source> = match does {
            Does::Node(node) => {
                self.program.reads(node).into_iter().map(|value| self.program.source(value)).collect()
            }
            Does::Gather => vec![self.program.loss_source()],
            Does::Load | Does::Return => Vec::new(),
        };
        let Step { leaves, bytes } = self.step(before + u64::from(step), &wanted)?;
        let read =
            reads(&self.program, operator).into_iter().filter_map(|at| leaves.get(at as usize).cloned());
        Ok(Some(Opened { leaves: read.collect(), tensors: bytes.into_iter().flatten().collect() }))
    }

    /// What the referee makes of an operator on the inputs that this party has; `None` if these are others.
    pub(super) fn run(
        &self,
        referee: &Referee<'_>,
        trace: Trace,
        operator: u32,
        inputs: &[Keccak],
    ) -> Result<Option<Keccak>, ModelError> {
        let opened = self.open(trace, operator)?;
        Ok(opened.and_then(|opened| referee.run(trace, operator, inputs, &opened).ok()))
    }

    fn params(&self) -> crate::train::TrainParams {
        #[cfg(test)]
        return self.lie.params(self.task.params());
        #[cfg(not(test))]
        self.task.params()
    }

    fn data(&self) -> &Dataset {
        #[cfg(test)]
        return self.lie.data(&self.data);
        #[cfg(not(test))]
        &self.data
    }
}

pub(super) fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(super) fn outputs_of(values: &[Vec<u8>]) -> Leaf {
    Leaf::Outputs(values.iter().map(|value| Digest::of(value)).collect())
}

impl<C: Checkpoints> Computation for Party<C> {
    type Error = ModelError;

    fn leaves(&mut self, trace: Trace) -> Result<Vec<Keccak>, ModelError> {
        let (steps, every) = (self.task.steps(), u64::from(self.task.checkpoint_steps));
        match trace {
            Trace::Task => {
                if let Some(leaves) = &self.leaves {
                    return Ok(leaves.clone());
                }
                match self.train(&mut |_| Control::Continue) {
                    Err(ModelError::NotFinite { .. }) => {}
                    trained => return Ok(trained?.leaves),
                }
                let mut leaves = self.states(0, steps)?;
                let mut at = 0..;
                leaves.retain(|_| at.next().is_some_and(|at| at % every == 0 || at == steps));
                leaves.push(self.end()?[1].digest(&self.id));
                self.leaves = Some(leaves.clone());
                Ok(leaves)
            }
            Trace::Interval(interval) if self.before(interval) < steps => {
                let before = self.before(interval);
                self.states(before, steps.min(before + every))
            }
            Trace::Step { interval, step } if self.before(interval) < steps => {
                let number = self.before(interval) + u64::from(step);
                let leaves = self.step(number, &[])?.leaves;
                Ok(leaves.iter().map(|leaf| leaf.digest(&self.id)).collect())
            }
            _ => Ok(self.end()?.map(|leaf| leaf.digest(&self.id)).to_vec()),
        }
    }
}

impl From<TreeError> for ModelError {
    fn from(error: TreeError) -> Self {
        Self::Format(error.to_string())
    }
}
