//! Mean softmax cross-entropy.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::floats;
use crate::kernels::softmax::cross_entropy;

/// Logits of [n, classes] to one number.
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    labels: Arc<[u32]>,
    gradient: Arc<Mutex<Vec<f32>>>,
    loss: Arc<Mutex<f64>>,
}

impl CrossEntropy {
    /// The loss against these labels, each below the number of classes.
    pub fn new(labels: Arc<[u32]>) -> Self {
        Self { labels, gradient: Arc::default(), loss: Arc::default() }
    }

    /// The loss of the last forward pass, before it was rounded to `f32`.
    pub fn loss(&self) -> f64 {
        *self.loss.lock().expect("nobody panics while holding the lock")
    }
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, classes) = layout.shape().dims2()?;
        let logits = floats(logits, layout)?;
        let mut gradient = vec![0.0; logits.len()];
        let loss = cross_entropy(logits, classes, &self.labels, &mut gradient);
        *self.gradient.lock().expect("nobody panics while holding the lock") = gradient;
        *self.loss.lock().expect("nobody panics while holding the lock") = loss;
        Ok((CpuStorage::F32(vec![loss as f32]), Shape::from(())))
    }

    /// The gradient for a loss that is what is minimised: its own gradient is 1.
    fn bwd(&self, logits: &Tensor, _loss: &Tensor, _gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient =
            std::mem::take(&mut *self.gradient.lock().expect("nobody panics while holding the lock"));
        Ok(Some(Tensor::from_vec(gradient, logits.shape(), logits.device())?))
    }
}
