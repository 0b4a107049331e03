//! One step of stochastic gradient descent with momentum.

use super::vectorized;

vectorized! {
    /// v ← momentum · v + g, w ← w − rate · v (as PyTorch's SGD: no dampening, not Nesterov); whether all weights are
    /// finite after it.
    pub fn sgd(weights: &mut [f32], gradient: &[f32], velocity: &mut [f32], rate: f32, momentum: f32) -> bool {
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
