//! The two layers the models are made of.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::Parameter;
use crate::error::ModelError;
use crate::kernels::conv::ConvShape;
use crate::ops::{ConvReluPool, Linear};

/// A fully connected layer.
#[derive(Debug, Clone)]
pub(super) struct Dense {
    weight: Tensor,
    bias: Tensor,
    op: Linear,
}

/// What follows a fully connected layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Relu,
    Nothing,
}

/// Whether a layer is fed by the examples themselves or by a layer that wants its gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fed {
    ByExamples,
    ByLayer,
}

impl Dense {
    pub(super) fn new(
        inputs: usize,
        outputs: usize,
        after: After,
        fed: Fed,
        vb: VarBuilder<'_>,
    ) -> Result<Self> {
        Ok(Self {
            weight: vb.get((outputs, inputs), "weight")?,
            bias: vb.get(outputs, "bias")?,
            op: Linear { relu: after == After::Relu, input_gradient: fed == Fed::ByLayer },
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.apply_op3(&self.weight, &self.bias, self.op)
    }

    pub(super) fn parameters(name: &str, inputs: usize, outputs: usize) -> [Parameter; 2] {
        layer(name, vec![outputs, inputs], inputs)
    }
}

/// A convolution with ReLU and 2×2 pooling.
#[derive(Debug, Clone)]
pub(super) struct Conv {
    weight: Tensor,
    bias: Tensor,
    shape: ConvShape,
    fed: Fed,
}

impl Conv {
    pub(super) fn new(shape: ConvShape, fed: Fed, vb: VarBuilder<'_>) -> Result<Self> {
        let side = shape.kernel;
        Ok(Self {
            weight: vb.get((shape.filters, shape.channels, side, side), "weight")?,
            bias: vb.get(shape.filters, "bias")?,
            shape,
            fed,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.apply_op3(&self.weight, &self.bias, ConvReluPool::new(self.shape, self.fed == Fed::ByLayer))
    }

    pub(super) fn parameters(name: &str, shape: &ConvShape) -> [Parameter; 2] {
        let side = shape.kernel;
        layer(name, vec![shape.filters, shape.channels, side, side], shape.channels * side * side)
    }
}

fn layer(name: &str, shape: Vec<usize>, fan_in: usize) -> [Parameter; 2] {
    let bias = vec![shape[0]];
    [
        Parameter { name: format!("{name}.weight"), shape, fan_in },
        Parameter { name: format!("{name}.bias"), shape: bias, fan_in },
    ]
}

/// Two 5×5 convolutions, one on the other; refused if the input is too small for them.
pub(super) fn two_convolutions(
    input: [u32; 3],
    filters: [usize; 2],
    padding: usize,
) -> std::result::Result<[ConvShape; 2], ModelError> {
    const KERNEL: usize = 5;
    let [channels, height, width] = input.map(|side| side as usize);
    let mut shape = ConvShape { channels, height, width, filters: filters[0], kernel: KERNEL, padding };
    let mut shapes = [shape; 2];
    for (at, layer) in ["the first convolution and its pooling", "the second convolution and its pooling"]
        .into_iter()
        .enumerate()
    {
        let (rows, columns) = shape.pooled();
        if rows == 0 || columns == 0 {
            let least = KERNEL + 1 - 2 * padding;
            return Err(ModelError::InputTooSmall { layer, height: shape.height, width: shape.width, least });
        }
        shapes[at] = shape;
        shape = ConvShape {
            channels: filters[0],
            height: rows,
            width: columns,
            filters: filters[1],
            kernel: KERNEL,
            padding,
        };
    }
    Ok(shapes)
}
