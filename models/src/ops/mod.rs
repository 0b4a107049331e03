//! The kernels as candle operations: candle keeps the tensors and the graph, the kernels keep the bits.

mod conv;
mod linear;
mod loss;
mod sgd;

pub use conv::ConvReluPool;
pub use linear::Linear;
pub use loss::CrossEntropy;
pub use sgd::SgdStep;

use candle_core::{CpuStorage, Error, Layout, Result, Storage, Tensor};

/// The values of a contiguous `f32` tensor.
fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (start, end) = layout
        .contiguous_offsets()
        .ok_or_else(|| Error::Msg("reproducible kernels take contiguous tensors".into()).bt())?;
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// Runs `body` on the values of `tensor`.
fn with_floats<T>(tensor: &Tensor, body: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(body(floats(storage, layout)?)),
        _ => Err(Error::Msg("reproducible kernels run on the CPU".into()).bt()),
    }
}
