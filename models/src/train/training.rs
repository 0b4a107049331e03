//! A training under way: it can be looked at between steps, and go on from any of them.

use protocol::rng::Rng;

use super::{Minibatch, TrainParams, check_data, check_params};
use crate::data::Dataset;
use crate::engine::{Session, Trace};
use crate::error::ModelError;
use crate::kernels::Machine;
use crate::kernels::optimiser::Optimiser;
use crate::weights::Weights;
use crate::zoo;

/// All that a training goes on from.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Optimiser steps taken.
    pub step: u64,
    /// Losses of the epoch that the last step belongs to, each minibatch's times its examples; 0 before the first.
    pub loss: f64,
    /// The weights in canonical order.
    pub weights: Vec<f32>,
    /// What the optimiser keeps ([`Session::moments`]).
    pub moments: Vec<f32>,
}

/// A training under way.
#[derive(Debug)]
pub struct Training<'a> {
    data: &'a Dataset,
    spec: protocol::job::ModelSpec,
    params: TrainParams,
    session: Session,
    /// The order of the examples in this epoch.
    order: Order,
    loss: f64,
}

#[derive(Debug)]
struct Order {
    epoch: u32,
    positions: Vec<u32>,
}

impl Order {
    fn new(examples: usize) -> Self {
        Self { epoch: 0, positions: (0..examples as u32).collect() }
    }

    /// Every epoch's order is the one before it, shuffled.
    fn advance_to(&mut self, epoch: u32, seed: u64) {
        while self.epoch < epoch {
            self.epoch += 1;
            Rng::derive(&[seed, SHUFFLE, self.epoch.into()]).shuffle(&mut self.positions);
        }
    }

    fn minibatch(&self, params: &TrainParams, step: u64) -> &[u32] {
        let each = steps_each(self.positions.len(), params);
        let first = ((step - 1) % each) as usize * params.minibatch as usize;
        let end = self.positions.len().min(first + params.minibatch as usize);
        &self.positions[first..end]
    }
}

/// Optimiser steps of an epoch.
fn steps_each(examples: usize, params: &TrainParams) -> u64 {
    examples.div_ceil(params.minibatch.max(1) as usize).max(1) as u64
}

/// Optimiser steps of a whole training.
pub fn steps(examples: usize, params: &TrainParams) -> u64 {
    steps_each(examples, params) * u64::from(params.local_epochs)
}

/// The examples of step `step` (from 1), by position.
///
/// # Panics
/// If there are no examples, or the step is 0.
pub fn chosen(examples: usize, params: &TrainParams, step: u64) -> Vec<u32> {
    let mut order = Order::new(examples);
    order.advance_to(((step - 1) / steps_each(examples, params)) as u32 + 1, params.seed);
    order.minibatch(params, step).to_vec()
}

impl<'a> Training<'a> {
    /// One that starts from these weights.
    ///
    /// Refuses parameters out of range, examples of another shape and labels the model does not have.
    pub fn new(
        machine: Machine,
        weights: &Weights,
        data: &'a Dataset,
        params: &TrainParams,
    ) -> Result<Self, ModelError> {
        check_params(params)?;
        check_data(weights.spec(), data)?;
        let optimiser = optimiser(params);
        let program = zoo::program(weights.spec(), optimiser.moments())?;
        let session = Session::new(program, weights.values(), optimiser, machine)?.seeded(params.seed);
        let (spec, order) = (weights.spec().clone(), Order::new(data.len()));
        Ok(Self { data, spec, params: *params, session, order, loss: 0.0 })
    }

    /// One that goes on from a state of it.
    ///
    /// Refuses what [`Training::new`] refuses, and values that are not as many as the model's.
    pub fn resume(
        machine: Machine,
        spec: &protocol::job::ModelSpec,
        state: &State,
        data: &'a Dataset,
        params: &TrainParams,
    ) -> Result<Self, ModelError> {
        check_params(params)?;
        check_data(spec, data)?;
        let optimiser = optimiser(params);
        let program = zoo::program(spec, optimiser.moments())?;
        let State { step, loss, weights, moments } = state;
        let session = Session::resume(program, weights, moments, *step, optimiser, machine)?;
        let session = session.seeded(params.seed);
        let order = Order::new(data.len());
        Ok(Self { data, spec: spec.clone(), params: *params, session, order, loss: *loss })
    }

    /// Takes the next step; the loss of its minibatch.
    ///
    /// After [`ModelError::NotFinite`] there is nothing to go on from.
    pub fn advance(&mut self, trace: Option<Trace<'_>>) -> Result<f64, ModelError> {
        let step = self.session.steps() + 1;
        let each = steps_each(self.data.len(), &self.params);
        self.order.advance_to(((step - 1) / each) as u32 + 1, self.params.seed);
        let chosen = self.order.minibatch(&self.params, step);
        let batch = Minibatch::new(self.data, chosen);
        let loss = self.session.train(&batch.inputs(), batch.labels(), trace)?;
        if (step - 1).is_multiple_of(each) {
            self.loss = 0.0;
        }
        self.loss += loss * chosen.len() as f64;
        Ok(loss)
    }

    /// Steps taken.
    pub fn step(&self) -> u64 {
        self.session.steps()
    }

    /// Steps that there are.
    pub fn steps(&self) -> u64 {
        steps(self.data.len(), &self.params)
    }

    /// The epoch that the last step belongs to, from 1.
    pub fn epoch(&self) -> u32 {
        self.order.epoch
    }

    /// The mean loss over an epoch that has ended.
    pub fn mean_loss(&self) -> f32 {
        (self.loss / self.data.len() as f64) as f32
    }

    /// Losses of this epoch so far, each times its examples.
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// How it trains.
    pub fn params(&self) -> &TrainParams {
        &self.params
    }

    /// What runs it.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The weights.
    pub fn weights(&self) -> Result<Weights, ModelError> {
        Weights::new(&self.spec, self.session.weights())
    }

    /// All that it goes on from.
    pub fn state(&self) -> State {
        let (weights, moments) = (self.session.weights(), self.session.moments());
        State { step: self.step(), loss: self.loss, weights, moments }
    }
}

/// The optimiser of these parameters.
pub(crate) fn optimiser(params: &TrainParams) -> Optimiser {
    Optimiser::Sgd { rate: params.learning_rate, momentum: params.momentum }
}

/// A part of the streams that epochs are ordered by.
pub(crate) const SHUFFLE: u64 = 0x7368_7566_666c_6500;
