//! ResNet-20 of He et al., "Deep residual learning for image recognition", 2016, with group normalisation, whose
//! result for an example does not depend on its neighbours in the minibatch: a 3×3 convolution of 16 filters,
//! three stages of three blocks of 16, 32 and 64 filters, the mean of each plane, and the classes. A block is two
//! 3×3 convolutions, each normalised in 8 groups; where the size changes, a normalised 1×1 convolution leads past it.

use protocol::job::ModelSpec;

use super::layers::dense;
use crate::engine::{Builder, ValueId};
use crate::kernels::activation::Activation;
use crate::kernels::conv2d::Conv2d;
use crate::kernels::norm::{Norm, NormKind};

const WIDTHS: [usize; 3] = [16, 32, 64];
const BLOCKS: usize = 3;
const GROUPS: usize = 8;
const EPSILON: f32 = 1e-5;

/// Sizes of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Channels, rows and columns of one example.
    pub input: [usize; 3],
    /// Classes to tell apart.
    pub classes: usize,
}

impl From<&ModelSpec> for Config {
    fn from(spec: &ModelSpec) -> Self {
        Self { input: spec.input.map(|side| side as usize), classes: spec.classes as usize }
    }
}

/// A value with its shape: channels, rows, columns.
#[derive(Clone, Copy)]
struct Planes {
    value: ValueId,
    shape: [usize; 3],
}

impl Config {
    /// Builds the model; its logits.
    pub fn build(&self, model: &mut Builder) -> ValueId {
        let value = model.input("input", self.input.iter().product());
        let mut x = Planes { value, shape: self.input };
        x = normalised(model, ["conv1", "norm1"], x, WIDTHS[0], 3, 1);
        x.value = model.activation("relu", x.value, Activation::Relu);
        for (stage, &width) in (1..).zip(&WIDTHS) {
            for block in 0..BLOCKS {
                let stride = if stage > 1 && block == 0 { 2 } else { 1 };
                x = residual(model, &format!("layer{stage}.{block}"), x, width, stride);
            }
        }
        let [channels, height, width] = x.shape;
        let means = model.global_mean("pool", x.value, channels, height * width);
        dense(model, "fc", means, channels, self.classes, false)
    }
}

fn residual(model: &mut Builder, name: &str, x: Planes, width: usize, stride: usize) -> Planes {
    let part = |part: &str| format!("{name}.{part}");
    let mut y = normalised(model, [&part("conv1"), &part("norm1")], x, width, 3, stride);
    y.value = model.activation(&part("relu1"), y.value, Activation::Relu);
    y = normalised(model, [&part("conv2"), &part("norm2")], y, width, 3, 1);
    let past = if stride == 1 && x.shape[0] == width {
        x
    } else {
        normalised(model, [&part("downsample.0"), &part("downsample.1")], x, width, 1, stride)
    };
    y.value = model.add(&part("sum"), y.value, past.value);
    y.value = model.activation(&part("relu2"), y.value, Activation::Relu);
    y
}

/// A convolution that keeps the size but for its stride, and its normalisation.
fn normalised(
    model: &mut Builder,
    names: [&str; 2],
    x: Planes,
    filters: usize,
    kernel: usize,
    stride: usize,
) -> Planes {
    let [channels, height, width] = x.shape;
    let shape = Conv2d { channels, height, width, filters, kernel, stride, padding: kernel / 2 };
    let y = model.conv(names[0], x.value, shape);
    let (height, width) = shape.output();
    let kind = NormKind::Group { channels: filters, pixels: height * width, groups: GROUPS };
    let value = model.norm(names[1], y, Norm { kind, epsilon: EPSILON });
    Planes { value, shape: [filters, height, width] }
}
