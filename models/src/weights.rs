//! Weights: one flat row of values in canonical order, and their bytes as safetensors.
//!
//! Canonical order is that of [`zoo::parameters`]: tensors sorted by name, each row-major. The canonical file has the
//! metadata `{"format":"pt"}` and nothing more, so equal weights have equal bytes and one digest, and PyTorch
//! opens it (`safetensors.torch.load_file`) with the names a `state_dict` uses.

use std::fmt::Write as _;

use protocol::hash::Digest;
use protocol::job::ModelSpec;
use safetensors::{Dtype, SafeTensors};

use crate::error::ModelError;
use crate::zoo::{self, Parameter};

/// Bytes of a safetensors file beyond its values that [`Weights::parse`] puts up with: names, shapes, metadata.
pub const HEADER_BYTES_MAX: u64 = 1 << 20;

/// The finite weights of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    spec: ModelSpec,
    values: Vec<f32>,
}

impl Weights {
    /// Initial weights from a seed, as each tensor's [`zoo::Init`] says.
    pub fn init(spec: &ModelSpec, seed: u64) -> Result<Self, ModelError> {
        let parameters = zoo::parameters(spec)?;
        let values = (0..).zip(&parameters).flat_map(|(number, own)| own.draw(seed, number)).collect();
        Ok(Self { spec: spec.clone(), values })
    }

    /// Weights from values in canonical order; refuses a wrong count and values that are not finite.
    pub fn new(spec: &ModelSpec, values: Vec<f32>) -> Result<Self, ModelError> {
        let parameters = zoo::parameters(spec)?;
        let want = parameters.iter().map(Parameter::len).sum();
        if values.len() != want {
            return Err(ModelError::ParameterCount { got: values.len(), want });
        }
        let mut rest = &values[..];
        for parameter in &parameters {
            let (own, after) = rest.split_at(parameter.len());
            finite(&parameter.name, own)?;
            rest = after;
        }
        Ok(Self { spec: spec.clone(), values })
    }

    /// Weights from a safetensors file of any tensor order and metadata; exactly the model's tensors, all F32, of its
    /// shapes, all finite.
    ///
    /// The file's size is checked before it is looked into; memory is the model's.
    pub fn parse(spec: &ModelSpec, bytes: &[u8]) -> Result<Self, ModelError> {
        let parameters = zoo::parameters(spec)?;
        let count: usize = parameters.iter().map(Parameter::len).sum();
        let most = 4 * count as u64 + HEADER_BYTES_MAX;
        if bytes.len() as u64 > most {
            return Err(ModelError::Range { what: "file size", got: bytes.len() as u64, least: 0, most });
        }
        let file = SafeTensors::deserialize(bytes).map_err(|error| ModelError::Format(error.to_string()))?;
        if let Some(name) =
            file.names().into_iter().find(|&name| parameters.iter().all(|own| own.name != name))
        {
            return Err(ModelError::UnknownTensor(name.chars().take(100).collect()));
        }
        let mut values = Vec::with_capacity(count);
        for parameter in &parameters {
            let name = &parameter.name;
            let view = file.tensor(name).map_err(|_| ModelError::MissingTensor(name.clone()))?;
            if view.dtype() != Dtype::F32 || view.shape() != parameter.shape {
                let got = format!("{:?} {:?}", view.dtype(), view.shape());
                return Err(ModelError::TensorShape {
                    name: name.clone(),
                    got,
                    want: parameter.shape.clone(),
                });
            }
            let start = values.len();
            let floats = view.data().as_chunks::<4>().0.iter();
            values.extend(floats.map(|&bytes| f32::from_le_bytes(bytes)));
            finite(name, &values[start..])?;
        }
        Ok(Self { spec: spec.clone(), values })
    }

    /// The canonical safetensors file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut header = String::from(r#"{"__metadata__":{"format":"pt"}"#);
        let mut start = 0;
        for parameter in self.parameters() {
            let end = start + 4 * parameter.len();
            // `Debug` of a list of integers is its JSON; names are plain ASCII.
            let shape = format!("{:?}", parameter.shape).replace(' ', "");
            write!(
                header,
                r#","{}":{{"dtype":"F32","shape":{shape},"data_offsets":[{start},{end}]}}"#,
                parameter.name
            )
            .expect("writing to a string cannot fail");
            start = end;
        }
        header.push('}');
        // Values start at a multiple of 8.
        header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
        let mut bytes = Vec::with_capacity(8 + header.len() + 4 * self.values.len());
        bytes.extend((header.len() as u64).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(self.values.iter().flat_map(|value| value.to_le_bytes()));
        bytes
    }

    /// The digest of the canonical file: the model's name on the wire.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }

    /// The model these are weights of.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// All values in canonical order.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The values, for whoever needs to own them.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// Each tensor's name, shape and values, in canonical order.
    pub fn tensors(&self) -> impl Iterator<Item = (String, Vec<usize>, &[f32])> {
        let mut rest = &self.values[..];
        self.parameters().into_iter().map(move |parameter| {
            let (own, after) = rest.split_at(parameter.len());
            rest = after;
            (parameter.name, parameter.shape, own)
        })
    }

    fn parameters(&self) -> Vec<Parameter> {
        zoo::parameters(&self.spec).expect("weights exist only for a model that was checked")
    }
}

fn finite(name: &str, values: &[f32]) -> Result<(), ModelError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(ModelError::WeightNotFinite { name: name.to_owned(), at }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
