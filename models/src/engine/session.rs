//! A program with its weights, step after step.

use std::mem;

use super::execute::{Data, Said, Turn, execute};
use super::memory::Free;
use super::{Element, Node, Op, Program, ValueId};
use crate::error::ModelError;
use crate::kernels::Machine;
use crate::kernels::attention::Attention;
use crate::kernels::environment;
use crate::kernels::optimiser::{Optimiser, Stepped, all_finite};

/// A model's inputs for one minibatch, in the order the model declares them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Batch<'a> {
    /// Floats of every example.
    Floats(&'a [f32]),
    /// Whole numbers of every example.
    Tokens(&'a [u32]),
}

/// Shown every output: the step (0 for a forward pass alone), the operator, which of its outputs, and the bytes of
/// its elements, little-endian; after the loss operator's outputs, as one more, the loss (`f64`).
pub type Trace<'a> = &'a mut dyn FnMut(u64, &Node, usize, &[u8]);

/// Called in place of each attention of a forward pass, in their order: its shape, the rows of queries, keys and
/// values, and what to fill with the outputs.
pub type Attend<'a> = &'a mut dyn FnMut(&Machine, Attention, &[f32], &mut [f32]);

/// A program that runs.
#[derive(Debug)]
pub struct Session {
    program: Program,
    machine: Machine,
    optimiser: Optimiser,
    data: Vec<Data>,
    /// Memory of values that nobody needs any more in this step.
    free: Free,
    /// For each value the last operator that touches it, in a whole step and in a forward pass.
    last: [Vec<usize>; 2],
    /// Values that stay from one step to the next.
    kept: Vec<bool>,
    step: u64,
    seed: u64,
}

impl Session {
    /// A session with these weights, all moments 0.
    ///
    /// Refuses a thread whose floating-point environment is not the default, and weights that are not the program's.
    pub fn new(
        program: Program,
        weights: &[f32],
        optimiser: Optimiser,
        machine: Machine,
    ) -> Result<Self, ModelError> {
        let moments = vec![0.0; optimiser.moments() * weights.len()];
        Self::resume(program, weights, &moments, 0, optimiser, machine)
    }

    /// A session that goes on after step `step`: weights in canonical order, and each one's moments
    /// ([`Session::moments`]).
    ///
    /// Refuses what [`Session::new`] refuses, and moments of another number.
    pub fn resume(
        program: Program,
        weights: &[f32],
        moments: &[f32],
        step: u64,
        optimiser: Optimiser,
        machine: Machine,
    ) -> Result<Self, ModelError> {
        environment::check()?;
        let want = program.parameters().map(crate::zoo::Parameter::len).sum();
        if weights.len() != want {
            return Err(ModelError::ParameterCount { got: weights.len(), want });
        }
        if moments.len() != optimiser.moments() * want {
            return Err(ModelError::ParameterCount { got: moments.len(), want: optimiser.moments() * want });
        }
        let empty = |value: &super::Value| match value.element {
            Element::Float => Data::Floats(Vec::new()),
            Element::Byte => Data::Bytes(Vec::new()),
            Element::Word => Data::Words(Vec::new()),
        };
        let mut data: Vec<Data> = program.values.iter().map(empty).collect();
        let mut kept = vec![false; data.len()];
        let mut rest = (weights, moments);
        for ((parameter, id), moments) in program.parameters.iter().zip(&program.moments) {
            let (own, after) = rest.0.split_at(parameter.len());
            let (of_own, of_after) = rest.1.split_at(program.values[moments.at()].size.of(1));
            rest = (after, of_after);
            data[id.at()] = Data::Floats(own.to_vec());
            data[moments.at()] = Data::Floats(of_own.to_vec());
            (kept[id.at()], kept[moments.at()]) = (true, true);
        }
        program.inputs.iter().chain([&program.labels]).for_each(|id| kept[id.at()] = true);
        let last = [program.last_uses(program.nodes.len()), program.last_uses(program.forward)];
        Ok(Self { program, machine, optimiser, data, free: Free::default(), last, kept, step, seed: 0 })
    }

    /// The same with this seed, which what is dropped derives from; without it is 0.
    pub fn seeded(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// What it runs on.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Optimiser steps taken.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// The weights in canonical order.
    pub fn weights(&self) -> Vec<f32> {
        let tensors = self.program.parameters.iter();
        tensors.flat_map(|(_, id)| self.data[id.at()].floats().iter().copied()).collect()
    }

    /// What the optimiser keeps, tensor by tensor in canonical order: of each all first moments, then all second.
    pub fn moments(&self) -> Vec<f32> {
        let tensors = self.program.moments.iter();
        tensors.flat_map(|id| self.data[id.at()].floats().iter().copied()).collect()
    }

    /// Each tensor in canonical order with what the optimiser keeps for it.
    pub fn tensors(&self) -> impl Iterator<Item = (&[f32], &[f32])> {
        let of = |id: ValueId| self.data[id.at()].floats();
        self.program
            .parameters
            .iter()
            .zip(&self.program.moments)
            .map(move |((_, id), own)| (of(*id), of(*own)))
    }

    /// One optimiser step on a minibatch; its mean loss before it.
    ///
    /// [`ModelError::NotFinite`] names the first operator of the list with an output that is not finite; the
    /// weights are worthless after it.
    ///
    /// # Panics
    /// If the inputs are not whole examples, or a label or token is out of range: the caller has checked them.
    pub fn train(
        &mut self,
        inputs: &[Batch<'_>],
        labels: &[u32],
        trace: Option<Trace<'_>>,
    ) -> Result<f64, ModelError> {
        self.step += 1;
        let examples = self.load(inputs);
        let id = self.program.labels;
        assert_eq!(labels.len(), self.program.values[id.at()].size.of(examples));
        load_words(&mut self.data[id.at()], labels);
        self.run(self.program.nodes.len(), examples, trace, None)
    }

    /// The logits for a minibatch.
    ///
    /// # Panics
    /// If the inputs are not whole examples, or a token is out of range.
    pub fn infer(&mut self, inputs: &[Batch<'_>], trace: Option<Trace<'_>>) -> Result<&[f32], ModelError> {
        let examples = self.load(inputs);
        self.run(self.program.forward, examples, trace, None)?;
        Ok(self.logits())
    }

    /// The same with attention of the caller's: a program for one position answers for any number of positions of any
    /// number of sequences, if the caller keeps what came before.
    ///
    /// # Panics
    /// If the inputs are not whole examples, or a token is out of range.
    pub fn infer_with(&mut self, inputs: &[Batch<'_>], attend: Attend<'_>) -> Result<&[f32], ModelError> {
        let examples = self.load(inputs);
        self.run(self.program.forward, examples, None, Some(attend))?;
        Ok(self.logits())
    }

    /// The logits of the last [`Session::infer`]; none after anything else.
    pub fn logits(&self) -> &[f32] {
        self.data[self.program.logits.at()].floats()
    }

    /// Copies the inputs in; how many examples they are.
    fn load(&mut self, inputs: &[Batch<'_>]) -> usize {
        assert_eq!(inputs.len(), self.program.inputs.len());
        let mut examples = None;
        for (&id, batch) in self.program.inputs.iter().zip(inputs) {
            let each = self.program.values[id.at()].size.of(1);
            let len = match (*batch, &mut self.data[id.at()]) {
                (Batch::Floats(values), Data::Floats(into)) => {
                    into.clear();
                    into.extend_from_slice(values);
                    values.len()
                }
                (Batch::Tokens(values), into @ Data::Words(_)) => {
                    load_words(into, values);
                    values.len()
                }
                (batch, _) => panic!("{batch:?} is not what the model takes"),
            };
            let count = len / each;
            assert!(len == count * each && examples.is_none_or(|examples| examples == count));
            examples = Some(count);
        }
        examples.unwrap_or(0)
    }

    fn run(
        &mut self,
        end: usize,
        examples: usize,
        mut trace: Option<Trace<'_>>,
        mut attend: Option<Attend<'_>>,
    ) -> Result<f64, ModelError> {
        let whole = end == self.program.nodes.len();
        let (step, mut loss) = (if whole { self.step } else { 0 }, 0.0);
        let turn = Turn { optimiser: self.optimiser, step, seed: self.seed };
        let mut outputs = Vec::new();
        for at in 0..end {
            let node = &self.program.nodes[at];
            for &id in &node.outputs {
                let mut data = mem::replace(&mut self.data[id.at()], Data::Words(Vec::new()));
                if !self.kept[id.at()] {
                    self.free.take(&mut data, self.program.values[id.at()].size.of(examples));
                }
                outputs.push(data);
            }
            let inputs: Vec<&Data> = node.inputs.iter().map(|id| &self.data[id.at()]).collect();
            let said = match (&mut attend, node.op) {
                (Some(attend), Op::Attention(shape, _)) => {
                    attend(&self.machine, shape, inputs[0].floats(), outputs[0].floats_mut());
                    Said::Nothing
                }
                _ => execute(&self.machine, node.op, turn, &inputs, &mut outputs),
            };
            for (place, (&id, data)) in node.outputs.iter().zip(outputs.drain(..)).enumerate() {
                if let Some(trace) = &mut trace {
                    trace(step, node, place, &to_bytes(&data));
                }
                self.data[id.at()] = data;
            }
            if let (Said::Loss(loss), Some(trace)) = (&said, &mut trace) {
                trace(step, node, node.outputs.len(), &loss.to_le_bytes());
            }
            let wild = match said {
                Said::Loss(value) => {
                    loss = value;
                    !value.is_finite()
                }
                Said::Stepped(stepped) => stepped != Stepped::Finite,
                Said::Nothing => false,
            };
            if wild || !self.finite(at) {
                return Err(ModelError::NotFinite { step, operator: self.first_wild(at) });
            }
            self.release(at, end, whole);
        }
        Ok(loss)
    }

    /// Whether an operator's outputs are finite, as far as the optimiser's step does not look at them anyway.
    fn finite(&self, at: usize) -> bool {
        let node = &self.program.nodes[at];
        node.op == Op::Step || node.outputs.iter().all(|&id| self.stepped(id) || self.value_finite(id))
    }

    fn value_finite(&self, id: ValueId) -> bool {
        match &self.data[id.at()] {
            Data::Floats(values) => all_finite(self.machine.isa, values),
            _ => true,
        }
    }

    /// Whether a value is a weight's gradient, which nothing but the optimiser reads.
    fn stepped(&self, id: ValueId) -> bool {
        self.program.nodes[self.last[0][id.at()]].op == Op::Step && !self.kept[id.at()]
    }

    /// The first operator up to `at` with an output that is not finite: gradients that only the optimiser reads
    /// are still there, all others were found finite when they were made.
    fn first_wild(&self, at: usize) -> String {
        let nodes = &self.program.nodes[..=at];
        let wild = |node: &&Node| {
            let mut unseen =
                node.outputs.iter().filter(|&&id| self.stepped(id) && self.last[0][id.at()] >= at);
            unseen.any(|&id| !self.value_finite(id))
        };
        nodes.iter().find(wild).unwrap_or(&nodes[at]).name.clone()
    }

    /// Gives back the memory of values that nothing after this operator reads.
    fn release(&mut self, at: usize, end: usize, whole: bool) {
        let last = &self.last[usize::from(!whole)];
        let node = &self.program.nodes[at];
        for &id in node.inputs.iter().chain(&node.outputs) {
            let answer = end == self.program.forward && id == self.program.logits;
            if last[id.at()] == at && !self.kept[id.at()] && !answer {
                self.free.give(&mut self.data[id.at()]);
            }
        }
    }
}

fn load_words(data: &mut Data, words: &[u32]) {
    let Data::Words(into) = data else { unreachable!("labels and tokens are words") };
    into.clear();
    into.extend_from_slice(words);
}

pub(super) fn to_bytes(data: &Data) -> Vec<u8> {
    match data {
        Data::Floats(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Data::Bytes(values) => values.clone(),
        Data::Words(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}
