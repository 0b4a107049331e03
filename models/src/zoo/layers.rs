//! Layers that several models are made of.

use crate::engine::{Builder, ValueId};
use crate::error::ModelError;
use crate::kernels::conv::ConvShape;
use crate::kernels::dense::DenseShape;

/// A fully connected layer of one row an example.
pub(super) fn dense(
    model: &mut Builder,
    name: &str,
    x: ValueId,
    inputs: usize,
    outputs: usize,
    relu: bool,
) -> ValueId {
    model.dense(name, x, 1, DenseShape { inputs, outputs, relu })
}

/// Two 5×5 convolutions, one on the other; refused if the input is too small for them.
pub(super) fn two_convolutions(
    input: [u32; 3],
    filters: [usize; 2],
    padding: usize,
) -> Result<[ConvShape; 2], ModelError> {
    const KERNEL: usize = 5;
    let [channels, height, width] = input.map(|side| side as usize);
    let fits = |layer: &'static str, shape: ConvShape| match shape.pooled() {
        (0, _) | (_, 0) => Err(ModelError::InputTooSmall {
            layer,
            height: shape.height,
            width: shape.width,
            least: KERNEL + 1 - 2 * padding,
        }),
        _ => Ok(shape),
    };
    let shape = ConvShape { channels, height, width, filters: filters[0], kernel: KERNEL, padding };
    let first = fits("the first convolution and its pooling", shape)?;
    let (height, width) = first.pooled();
    let shape =
        ConvShape { channels: filters[0], height, width, filters: filters[1], kernel: KERNEL, padding };
    Ok([first, fits("the second convolution and its pooling", shape)?])
}
