//! One step of stochastic gradient descent, in place.

use std::sync::Mutex;

use candle_core::{CpuStorage, InplaceOp2, Layout, Result};

use super::floats;
use crate::kernels::vectorized;

/// v ← momentum · v + g, w ← w − learning rate · v (as PyTorch's SGD: no dampening, not Nesterov).
#[derive(Debug)]
pub struct SgdStep<'a> {
    learning_rate: f32,
    momentum: f32,
    state: Mutex<(&'a mut [f32], bool)>,
}

impl<'a> SgdStep<'a> {
    /// A step for one tensor with its velocity.
    pub fn new(learning_rate: f32, momentum: f32, velocity: &'a mut [f32]) -> Self {
        Self { learning_rate, momentum, state: Mutex::new((velocity, true)) }
    }

    /// Whether all weights were finite after the step.
    pub fn finite(self) -> bool {
        self.state.into_inner().expect("nobody panics while holding the lock").1
    }
}

impl InplaceOp2 for SgdStep<'_> {
    fn name(&self) -> &'static str {
        "sgd-step"
    }

    fn cpu_fwd(
        &self,
        w: &mut CpuStorage,
        w_layout: &Layout,
        g: &CpuStorage,
        g_layout: &Layout,
    ) -> Result<()> {
        let gradient = floats(g, g_layout)?;
        let (start, end) = w_layout.contiguous_offsets().expect("parameters are contiguous");
        let CpuStorage::F32(weights) = w else {
            return Err(candle_core::Error::Msg("parameters are f32".into()).bt());
        };
        let mut state = self.state.lock().expect("nobody panics while holding the lock");
        let (velocity, finite) = &mut *state;
        *finite = step(&mut weights[start..end], gradient, velocity, self.learning_rate, self.momentum);
        Ok(())
    }
}

vectorized! {
    fn step(weights: &mut [f32], gradient: &[f32], velocity: &mut [f32], rate: f32, momentum: f32) -> bool {
        let mut wild = 0u32;
        for ((w, &g), v) in weights.iter_mut().zip(gradient).zip(velocity) {
            *v = momentum * *v + g;
            *w -= rate * *v;
            // An exponent of all ones is what NaN and the infinities share.
            wild |= u32::from(w.to_bits() & 0x7f80_0000 == 0x7f80_0000);
        }
        wild == 0
    }
}
