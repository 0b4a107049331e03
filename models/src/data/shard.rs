//! A shard: some labelled examples in one blob, which a job brings and its workers fetch.
//!
//! Safetensors with two tensors: `label`, U32 of [n], and `input` of [n, channels, height, width], either U8 (a byte b
//! stands for b/255, as in IDX files) or F32, as it is.

use protocol::job::{ModelSpec, ShardBlob};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::{DataError, Dataset};
use crate::error::ModelError;
use crate::train::check_data;
use crate::weights::HEADER_BYTES_MAX;

const INPUT: &str = "input";
const LABEL: &str = "label";

/// The blob of these examples: a byte a value if all are k/255, else four. Equal examples have equal bytes.
pub fn encode(data: &Dataset) -> Result<Vec<u8>, DataError> {
    let failed = |error: safetensors::SafeTensorError| DataError::Shard(error.to_string());
    let bytes: Option<Vec<u8>> = data.inputs().iter().map(|&value| byte_of(value)).collect();
    let dtype = if bytes.is_some() { Dtype::U8 } else { Dtype::F32 };
    let floats = || data.inputs().iter().flat_map(|value| value.to_le_bytes()).collect();
    let inputs: Vec<u8> = bytes.unwrap_or_else(floats);
    let labels: Vec<u8> = data.labels().iter().flat_map(|label| label.to_le_bytes()).collect();
    let [channels, height, width] = data.shape().map(|side| side as usize);
    let input = TensorView::new(dtype, vec![data.len(), channels, height, width], &inputs).map_err(failed)?;
    let label = TensorView::new(Dtype::U32, vec![data.len()], &labels).map_err(failed)?;
    safetensors::serialize([(LABEL, label), (INPUT, input)], None).map_err(failed)
}

/// The byte b with b/255 = `value`, if there is one.
fn byte_of(value: f32) -> Option<u8> {
    let byte = (value * 255.0).round_ties_even() as u8;
    // To the bit: −0 is no byte.
    ((f32::from(byte) / 255.0).to_bits() == value.to_bits()).then_some(byte)
}

/// The most bytes that a shard of so many examples of a model can have.
pub fn bytes_max(spec: &ModelSpec, examples: u32) -> u64 {
    let each = 4 * (spec.input_len() as u64 + 1);
    each.saturating_mul(examples.into()).saturating_add(HEADER_BYTES_MAX)
}

/// The examples of a shard that a job names: as many as it states, of the model's shape, with labels the model has.
///
/// The blob's size is checked before it is looked into; memory is that of the examples.
pub fn parse(spec: &ModelSpec, stated: &ShardBlob, bytes: &[u8]) -> Result<Dataset, ModelError> {
    let (got, most) = (bytes.len() as u64, bytes_max(spec, stated.examples));
    if got > most {
        return Err(ModelError::Range { what: "shard's size in bytes", got, least: 0, most });
    }
    let file = SafeTensors::deserialize(bytes).map_err(|error| DataError::Shard(error.to_string()))?;
    if let Some(name) = file.names().into_iter().find(|&name| name != INPUT && name != LABEL) {
        let name: String = name.chars().take(100).collect();
        return Err(DataError::Shard(format!("there is a tensor '{name}' in it")).into());
    }
    let tensor = |name: &str| {
        file.tensor(name).map_err(|_| DataError::Shard(format!("there is no tensor '{name}' in it")))
    };
    let (input, label) = (tensor(INPUT)?, tensor(LABEL)?);
    let (&[count], Dtype::U32) = (label.shape(), label.dtype()) else {
        let got = format!("'{LABEL}' is {:?} {:?}, not U32 of [n]", label.dtype(), label.shape());
        return Err(DataError::Shard(got).into());
    };
    let &[inputs, channels, height, width] = input.shape() else {
        let got = format!("'{INPUT}' is of {:?}, not of [n, channels, height, width]", input.shape());
        return Err(DataError::Shard(got).into());
    };
    let sides = [channels, height, width].map(|side| u32::try_from(side).unwrap_or(u32::MAX));
    if sides != spec.input {
        return Err(ModelError::InputShape { got: sides, want: spec.input });
    }
    if inputs != count {
        return Err(DataError::Count { examples: inputs as u64, labels: count as u64 }.into());
    }
    if count as u64 != u64::from(stated.examples) {
        return Err(DataError::Stated { got: count as u64, want: stated.examples.into() }.into());
    }
    let values = match input.dtype() {
        Dtype::U8 => input.data().iter().map(|&byte| f32::from(byte) / 255.0).collect(),
        Dtype::F32 => input.data().as_chunks::<4>().0.iter().map(|&four| f32::from_le_bytes(four)).collect(),
        other => return Err(DataError::Shard(format!("'{INPUT}' is {other:?}, not U8 or F32")).into()),
    };
    let labels = label.data().as_chunks::<4>().0.iter().map(|&four| u32::from_le_bytes(four)).collect();
    let data = Dataset::new(values, sides, labels)?;
    check_data(spec, &data)?;
    Ok(data)
}

#[cfg(test)]
mod tests {
    use protocol::hash::Digest;
    use protocol::job::ModelKind;

    use super::*;

    fn spec() -> ModelSpec {
        ModelSpec { kind: ModelKind::Logistic, input: [1, 2, 2], classes: 3 }
    }

    fn stated(examples: u32) -> ShardBlob {
        ShardBlob { digest: Digest([0; 32]), examples }
    }

    fn bytes() -> Dataset {
        let inputs = (0..12).map(|at| f32::from(21 * at as u8) / 255.0).collect();
        Dataset::new(inputs, [1, 2, 2], vec![0, 2, 1]).unwrap()
    }

    fn floats(first: f32) -> Dataset {
        let mut inputs = bytes().into_inputs();
        inputs[0] = first;
        Dataset::new(inputs, [1, 2, 2], vec![0, 2, 1]).unwrap()
    }

    #[test]
    fn examples_come_back_to_the_bit_as_bytes_or_as_floats() {
        for (data, each) in [(bytes(), 1), (floats(0.1), 4), (floats(-0.0), 4), (floats(-1e30), 4)] {
            let blob = encode(&data).unwrap();
            assert!(blob.len() < 12 * each + 12 + 256, "{}", blob.len());
            let read = parse(&spec(), &stated(3), &blob).unwrap();
            let bits = |data: &Dataset| data.inputs().iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!((bits(&read), read.labels()), (bits(&data), data.labels()));
        }
    }

    #[test]
    fn what_is_not_as_stated_is_named() {
        let blob = encode(&bytes()).unwrap();
        let error =
            |spec: &ModelSpec, count, blob: &[u8]| parse(spec, &stated(count), blob).unwrap_err().to_string();
        let two = ModelSpec { classes: 2, ..spec() };
        let tall = ModelSpec { input: [1, 4, 1], ..spec() };
        assert_eq!(error(&spec(), 4, &blob), "the shard holds 3 examples, the job says 4");
        assert!(error(&two, 3, &blob).contains("example 1 has label 2"));
        assert!(error(&tall, 3, &blob).contains("the model takes [1, 4, 1]"));
        assert!(error(&spec(), 3, &blob[..blob.len() - 1]).contains("not a valid shard"));
        assert!(error(&spec(), 3, &vec![0; 2 << 20]).contains("shard's size in bytes"));
        let other = safetensors::serialize([("x", TensorView::new(Dtype::U8, vec![1], &[0]).unwrap())], None);
        assert!(error(&spec(), 3, &other.unwrap()).contains("a tensor 'x'"));
        let wild = {
            let mut blob = encode(&floats(0.1)).unwrap();
            let at = blob.windows(4).position(|four| four == 0.1f32.to_le_bytes()).unwrap();
            blob[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
            blob
        };
        assert!(error(&spec(), 3, &wild).contains("not finite"));
    }
}
