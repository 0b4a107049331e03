//! One operator: from the values it reads to those it writes.

use super::Op;
use crate::kernels::optimiser::{Optimiser, Stepped, accumulate};
use crate::kernels::random::{Stream, dropout};
use crate::kernels::{
    Machine, activation, attention, conv, conv_gradient, conv2d, dense, embedding, norm, pooling, softmax,
};

/// A value's elements.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    Floats(Vec<f32>),
    Bytes(Vec<u8>),
    Words(Vec<u32>),
}

impl Data {
    pub(super) fn floats(&self) -> &[f32] {
        match self {
            Self::Floats(values) => values,
            _ => unreachable!("the builder gives operators what they take"),
        }
    }

    pub(super) fn words(&self) -> &[u32] {
        match self {
            Self::Words(values) => values,
            _ => unreachable!("the builder gives operators what they take"),
        }
    }

    fn words_mut(&mut self) -> &mut [u32] {
        match self {
            Self::Words(values) => values,
            _ => unreachable!("the builder gives operators what they take"),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(values) => values,
            _ => unreachable!("the builder gives operators what they take"),
        }
    }

    pub(super) fn floats_mut(&mut self) -> &mut [f32] {
        match self {
            Self::Floats(values) => values,
            _ => unreachable!("the builder gives operators what they take"),
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Bytes(values) => values,
            _ => unreachable!("the builder gives operators what they take"),
        }
    }
}

/// What an operator says beside its outputs.
pub(super) enum Said {
    Nothing,
    Loss(f64),
    Stepped(Stepped),
}

/// What outputs follow from beside the inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turn {
    /// How weights are changed.
    pub optimiser: Optimiser,
    /// The optimiser's step, from 1; 0 in a forward pass alone, which drops nothing.
    pub step: u64,
    /// What is dropped derives from it.
    pub seed: u64,
}

/// A part of the streams that say what is dropped.
pub(crate) const DROPOUT: u64 = 0x0064_726f_7000;

/// What an operator leaves unwritten shows in tests: as numbers that are none, routes and places out of range.
#[cfg(test)]
fn poison(op: Op, outputs: &mut [Data]) {
    if op == Op::Step {
        return;
    }
    for output in outputs {
        match output {
            Data::Floats(values) => values.fill(f32::NAN),
            Data::Bytes(values) => values.fill(0xff),
            Data::Words(values) => values.fill(u32::MAX),
        }
    }
}

/// Runs one operator; outputs have their length, and anything may be in them (weights and moments what they were).
pub(super) fn execute(machine: &Machine, op: Op, turn: Turn, inputs: &[&Data], outputs: &mut [Data]) -> Said {
    let read = |at: usize| inputs[at].floats();
    #[cfg(test)]
    poison(op, outputs);
    let [y, rest @ ..] = outputs else { unreachable!("every operator writes something") };
    match op {
        Op::ConvPool(shape) => {
            let y = y.floats_mut();
            conv::forward(machine, shape, read(0), read(1), read(2), y, rest[0].bytes_mut());
        }
        Op::ConvPoolGradient(shape) => {
            let (dw, [db, dx @ ..]) = (y.floats_mut(), rest) else { unreachable!("it has a bias") };
            let want = dx.first_mut().map(|dx| (read(1), dx.floats_mut()));
            let (routes, db) = (inputs[2].bytes(), db.floats_mut());
            conv_gradient::backward(machine, shape, read(0), routes, read(3), dw, db, want);
        }
        Op::Dense(shape) => {
            let bias = inputs.get(2).map_or(&[][..], |bias| bias.floats());
            dense::forward(machine, shape, read(0), read(1), bias, y.floats_mut());
        }
        Op::StopDead => dense::stop_dead(machine.isa, read(0), read(1), y.floats_mut()),
        Op::DenseGradient(shape, bias) => {
            let (db, dx) = rest.split_at_mut(usize::from(bias));
            let db = db.first_mut().map_or(&mut [][..], |db| db.floats_mut());
            let dx = dx.first_mut().map(|dx| dx.floats_mut());
            dense::backward(machine, shape, read(0), read(1), read(2), y.floats_mut(), db, dx);
        }
        Op::Conv(shape) => conv2d::forward(machine, shape, read(0), read(1), y.floats_mut()),
        Op::ConvWeightGradient(shape) => {
            conv2d::weight_gradient(machine, shape, read(0), read(1), y.floats_mut());
        }
        Op::ConvInputGradient(shape) => {
            conv2d::input_gradient(machine, shape, read(0), read(1), y.floats_mut());
        }
        Op::Activation(function) => activation::forward(machine, function, read(0), y.floats_mut()),
        Op::ActivationGradient(function) => {
            activation::backward(machine, function, read(0), read(1), y.floats_mut());
        }
        Op::Norm(shape) => {
            let shift = inputs.get(2).map_or(&[][..], |shift| shift.floats());
            norm::forward(machine, shape, read(0), read(1), shift, y.floats_mut(), rest[0].floats_mut());
        }
        Op::NormGradient(shape) => {
            let (dx, [dgain, dshift @ ..]) = (y.floats_mut(), rest) else { unreachable!("it has gains") };
            let dshift = dshift.first_mut().map_or(&mut [][..], |dshift| dshift.floats_mut());
            let (x, gain, stats, dy) = (read(0), read(1), read(2), read(3));
            norm::backward(machine, shape, x, gain, stats, dy, dx, dgain.floats_mut(), dshift);
        }
        Op::Add => {
            y.floats_mut().copy_from_slice(read(0));
            accumulate(machine, y.floats_mut(), read(1));
        }
        Op::Embed(width) => embedding::forward(read(0), width, inputs[1].words(), y.floats_mut()),
        Op::EmbedGradient(width) => {
            embedding::backward(machine, width, inputs[0].words(), read(1), y.floats_mut());
        }
        Op::Attention(shape, positions) => {
            attention::forward(machine, shape, positions, read(0), y.floats_mut());
        }
        Op::AttentionGradient(shape, positions) => {
            attention::backward(machine, shape, positions, read(0), read(1), y.floats_mut());
        }
        Op::MaxPool(shape) => {
            pooling::max_forward(machine, shape, read(0), y.floats_mut(), rest[0].words_mut());
        }
        Op::MaxPoolGradient(shape) => {
            pooling::max_backward(machine, shape, inputs[0].words(), read(1), y.floats_mut());
        }
        Op::MeanPool(shape) => pooling::mean_forward(machine, shape, read(0), y.floats_mut()),
        Op::MeanPoolGradient(shape) => pooling::mean_backward(machine, shape, read(0), y.floats_mut()),
        Op::Dropout(..) if turn.step == 0 => y.floats_mut().copy_from_slice(read(0)),
        Op::Dropout(keep, number) => {
            let stream = Stream::new(&[turn.seed, DROPOUT, turn.step, number.into()]);
            dropout(machine, &stream, keep, read(0), y.floats_mut());
        }
        Op::GlobalMean(plane) => pooling::global_forward(machine, plane, read(0), y.floats_mut()),
        Op::GlobalMeanGradient(plane) => pooling::global_backward(plane, read(0), y.floats_mut()),
        Op::Loss(classes) => {
            let labels = inputs[1].words();
            return Said::Loss(softmax::cross_entropy(machine, read(0), classes, labels, y.floats_mut()));
        }
        Op::Step => {
            let (weight, moments) = (y.floats_mut(), rest[0].floats_mut());
            return Said::Stepped(turn.optimiser.step(machine, turn.step, weight, read(0), moments));
        }
    }
    Said::Nothing
}
