//! The two layers the models are made of, as candle sees them.

use candle_core::{CpuStorage, CustomOp3, Error, Layout, Result, Shape, Tensor};
use candle_nn::VarBuilder;

use super::Parameter;
use crate::error::ModelError;
use crate::kernels::conv::{self, ConvShape};
use crate::kernels::dense::{self, DenseShape};

/// One layer of a model: its name in a `state_dict` and what it computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its tensors are `name.weight` and `name.bias`.
    pub name: String,
    /// What it computes.
    pub kind: LayerKind,
}

/// What a layer computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerKind {
    /// Convolution, ReLU, 2×2 max pooling.
    Conv(ConvShape),
    /// x · Wᵀ + b, with or without ReLU.
    Dense(DenseShape),
}

impl Layer {
    pub(super) fn conv(name: &str, shape: ConvShape) -> Self {
        Self { name: name.to_owned(), kind: LayerKind::Conv(shape) }
    }

    pub(super) fn dense(name: &str, inputs: usize, outputs: usize, relu: bool) -> Self {
        Self { name: name.to_owned(), kind: LayerKind::Dense(DenseShape { inputs, outputs, relu }) }
    }

    /// Its weight and its bias.
    pub fn parameters(&self) -> [Parameter; 2] {
        let (shape, fan_in) = match self.kind {
            LayerKind::Conv(ConvShape { channels, filters, kernel, .. }) => {
                (vec![filters, channels, kernel, kernel], channels * kernel * kernel)
            }
            LayerKind::Dense(DenseShape { inputs, outputs, .. }) => (vec![outputs, inputs], inputs),
        };
        let bias = vec![shape[0]];
        [
            Parameter { name: format!("{}.weight", self.name), shape, fan_in },
            Parameter { name: format!("{}.bias", self.name), shape: bias, fan_in },
        ]
    }

    /// Values that one example makes of it.
    pub fn output_len(&self) -> usize {
        match self.kind {
            LayerKind::Conv(shape) => shape.output_len(),
            LayerKind::Dense(shape) => shape.outputs,
        }
    }
}

/// Layers with their tensors, one after another.
#[derive(Debug, Clone)]
pub(super) struct Chain(Vec<Built>);

#[derive(Debug, Clone)]
struct Built {
    kind: LayerKind,
    weight: Tensor,
    bias: Tensor,
}

impl Chain {
    pub(super) fn new(layers: &[Layer], vb: &VarBuilder<'_>) -> Result<Self> {
        let build = |layer: &Layer| {
            let vb = vb.pp(&layer.name);
            let [weight, bias] = layer.parameters();
            Ok(Built {
                kind: layer.kind,
                weight: vb.get(weight.shape, "weight")?,
                bias: vb.get(bias.shape, "bias")?,
            })
        };
        layers.iter().map(build).collect::<Result<_>>().map(Self)
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.0.iter().try_fold(x.clone(), |x, Built { kind, weight, bias }| {
            let x = if matches!(kind, LayerKind::Dense(_)) { x.flatten_from(1)? } else { x };
            x.apply_op3_no_bwd(weight, bias, kind)
        })
    }
}

/// The kernels as a candle operation. Without a gradient: training runs the kernels itself (see [`crate::train`]).
impl CustomOp3 for LayerKind {
    fn name(&self) -> &'static str {
        match self {
            Self::Conv(_) => "conv-relu-pool",
            Self::Dense(_) => "dense",
        }
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
        let (dims, n) = (x_layout.shape().dims(), x_layout.shape().dim(0)?);
        let (x, w, b) = (floats(x, x_layout)?, floats(w, w_layout)?, floats(b, b_layout)?);
        let misfit = || Error::Msg(format!("{dims:?} does not fit {self:?}")).bt();
        match *self {
            Self::Conv(shape) => {
                if dims[1..] != [shape.channels, shape.height, shape.width] {
                    return Err(misfit());
                }
                let (height, width) = shape.pooled();
                let (y, _) = conv::forward(shape, x, w, b);
                Ok((CpuStorage::F32(y), Shape::from((n, shape.filters, height, width))))
            }
            Self::Dense(shape) => {
                if dims[1..] != [shape.inputs] {
                    return Err(misfit());
                }
                let y = dense::forward(shape, x, w, b);
                Ok((CpuStorage::F32(y), Shape::from((n, shape.outputs))))
            }
        }
    }
}

/// The values of a contiguous `f32` tensor.
fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (start, end) = layout
        .contiguous_offsets()
        .ok_or_else(|| Error::Msg("reproducible kernels take contiguous tensors".into()).bt())?;
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// Two 5×5 convolutions, one on the other; refused if the input is too small for them.
pub(super) fn two_convolutions(
    input: [u32; 3],
    filters: [usize; 2],
    padding: usize,
) -> std::result::Result<[ConvShape; 2], ModelError> {
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
