//! Convolution, 2×2 max pooling, bias and ReLU as one operation.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp3, Error, Layout, Result, Shape, Tensor};

use super::{floats, with_floats};
use crate::kernels::conv::{ConvShape, backward, forward};

/// x of [n, channels, h, w], W of [filters, channels, k, k], b of [filters] to the pooled [n, filters, h', w'].
#[derive(Debug)]
pub struct ConvReluPool {
    shape: ConvShape,
    input_gradient: bool,
    /// Where each output came from in the forward pass.
    routes: Mutex<Vec<u8>>,
}

impl ConvReluPool {
    /// One use of a layer of this shape; `input_gradient` says whether anybody asks for the gradient of x.
    pub fn new(shape: ConvShape, input_gradient: bool) -> Self {
        Self { shape, input_gradient, routes: Mutex::default() }
    }
}

impl CustomOp3 for ConvReluPool {
    fn name(&self) -> &'static str {
        "conv-relu-pool"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n, channels, height, width) = x_layout.shape().dims4()?;
        if (channels, height, width) != (self.shape.channels, self.shape.height, self.shape.width) {
            return Err(Error::Msg(format!("{:?} does not fit {:?}", x_layout.shape(), self.shape)).bt());
        }
        let (x, w, b) = (floats(x, x_layout)?, floats(w, w_layout)?, floats(b, b_layout)?);
        let (y, routes) = forward(self.shape, x, w, b);
        *self.routes.lock().expect("no forward pass panics while it holds the lock") = routes;
        let (height, width) = self.shape.pooled();
        Ok((CpuStorage::F32(y), Shape::from((n, self.shape.filters, height, width))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let routes = self.routes.lock().expect("no forward pass panics while it holds the lock");
        let (dw, db, dx) = with_floats(x, |x| {
            with_floats(w, |w| {
                with_floats(gradient, |g| backward(self.shape, x, w, &routes, g, self.input_gradient))
            })
        })???;
        let device = x.device();
        let dx = dx.map(|dx| Tensor::from_vec(dx, x.shape(), device)).transpose()?;
        let (dw, db) = (Tensor::from_vec(dw, w.shape(), device)?, Tensor::from_vec(db, b.shape(), device)?);
        Ok((dx, Some(dw), Some(db)))
    }
}
