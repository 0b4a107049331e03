//! A shard: some examples in one blob, which a job brings and its workers fetch.
//!
//! Labelled values: safetensors with two tensors: `label`, U32 of [n], and `input` of [n, channels, height, width],
//! either U8 (a byte b stands for b/255, as in IDX files) or F32, as it is. Sequences: one tensor, `tokens`, of
//! [n, positions + 1], U8, U16 or U32: of each row all but the last are the input, all but the first the labels.

use protocol::job::{ModelSpec, ShardBlob};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::{DataError, Dataset};
use crate::error::ModelError;
use crate::train::check_data;
use crate::weights::HEADER_BYTES_MAX;

const INPUT: &str = "input";
const LABEL: &str = "label";
const TOKENS: &str = "tokens";

/// The blob of these examples: a byte a value if all are k/255, else four; of sequences the fewest bytes a token that
/// hold them all. Equal examples have equal bytes.
pub fn encode(data: &Dataset) -> Result<Vec<u8>, DataError> {
    let failed = |error: safetensors::SafeTensorError| DataError::Shard(error.to_string());
    if data.is_sequential() {
        let (dtype, bytes) = token_bytes(data);
        let view = TensorView::new(dtype, vec![data.len(), data.input_len() + 1], &bytes).map_err(failed)?;
        return safetensors::serialize([(TOKENS, view)], None).map_err(failed);
    }
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

/// The rows that sequences were made of, in the fewest bytes that hold them all.
fn token_bytes(data: &Dataset) -> (Dtype, Vec<u8>) {
    let each = data.input_len();
    let rows = data.tokens().chunks_exact(each).zip(data.labels().chunks_exact(each));
    let tokens: Vec<u32> =
        rows.flat_map(|(inputs, labels)| inputs[..1].iter().chain(labels)).copied().collect();
    match tokens.iter().max().map_or(0, |&most| most) {
        0..=0xff => (Dtype::U8, tokens.iter().map(|&token| token as u8).collect()),
        0x100..=0xffff => {
            (Dtype::U16, tokens.iter().flat_map(|&token| (token as u16).to_le_bytes()).collect())
        }
        _ => (Dtype::U32, tokens.iter().flat_map(|token| token.to_le_bytes()).collect()),
    }
}

/// The byte b with b/255 = `value`, if there is one.
fn byte_of(value: f32) -> Option<u8> {
    let byte = (value * 255.0).round_ties_even() as u8;
    // To the bit: −0 is no byte.
    ((f32::from(byte) / 255.0).to_bits() == value.to_bits()).then_some(byte)
}

/// The most bytes that a shard of so many examples of a model can have.
pub fn bytes_max(spec: &ModelSpec, examples: u32) -> u64 {
    // A label, or the token after the last.
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
    let known = |name: &str| match spec.kind.is_sequential() {
        true => name == TOKENS,
        false => name == INPUT || name == LABEL,
    };
    if let Some(name) = file.names().into_iter().find(|&name| !known(name)) {
        let name: String = name.chars().take(100).collect();
        return Err(DataError::Shard(format!("there is a tensor '{name}' in it")).into());
    }
    let tensor = |name: &str| {
        file.tensor(name).map_err(|_| DataError::Shard(format!("there is no tensor '{name}' in it")))
    };
    if spec.kind.is_sequential() {
        return sequences(spec, stated, &tensor(TOKENS)?);
    }
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

fn sequences(spec: &ModelSpec, stated: &ShardBlob, tokens: &TensorView<'_>) -> Result<Dataset, ModelError> {
    let positions = spec.input_len();
    let &[count, row] = tokens.shape() else {
        let got = format!("'{TOKENS}' is of {:?}, not of [n, positions + 1]", tokens.shape());
        return Err(DataError::Shard(got).into());
    };
    if row != positions + 1 {
        let got = [1, 1, u32::try_from(row.saturating_sub(1)).unwrap_or(u32::MAX)];
        return Err(ModelError::InputShape { got, want: spec.input });
    }
    if count as u64 != u64::from(stated.examples) {
        return Err(DataError::Stated { got: count as u64, want: stated.examples.into() }.into());
    }
    let bytes = tokens.data();
    let values: Vec<u32> = match tokens.dtype() {
        Dtype::U8 => bytes.iter().map(|&byte| byte.into()).collect(),
        Dtype::U16 => bytes.as_chunks().0.iter().map(|&two| u16::from_le_bytes(two).into()).collect(),
        Dtype::U32 => bytes.as_chunks().0.iter().map(|&four| u32::from_le_bytes(four)).collect(),
        other => return Err(DataError::Shard(format!("'{TOKENS}' is {other:?}, not U8, U16 or U32")).into()),
    };
    let data = Dataset::sequences(&values, positions as u32)?;
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

    fn of_sequences(vocabulary: u32) -> ModelSpec {
        let kind = ModelKind::Gpt { layers: 1, heads: 1, width: 4, dropout: 0 };
        ModelSpec { kind, input: [1, 1, 3], classes: vocabulary }
    }

    #[test]
    fn sequences_come_back_in_as_few_bytes_a_token_as_hold_them() {
        for (last, each) in [(255u32, 1), (256, 2), (65_535, 2)] {
            let data = Dataset::sequences(&[1, 2, 3, 4, 5, 6, 7, last], 3).unwrap();
            let blob = encode(&data).unwrap();
            assert!((8 * each..8 * each + 128).contains(&blob.len()), "{}", blob.len());
            assert_eq!(parse(&of_sequences(65_536), &stated(2), &blob).unwrap(), data);
        }
    }

    #[test]
    fn shards_that_are_no_sequences_of_the_model_are_refused() {
        let spec = of_sequences(9);
        let blob = |tokens: &[u32]| encode(&Dataset::sequences(tokens, 3).unwrap()).unwrap();
        let error =
            |count, blob: &[u8]| parse(&of_sequences(9), &stated(count), blob).unwrap_err().to_string();
        assert!(parse(&spec, &stated(1), &blob(&[8, 0, 1, 2])).is_ok());
        // The first token is in no label, the last in no input.
        for wrong in [[9, 0, 1, 2], [0, 1, 2, 9]] {
            assert_eq!(error(1, &blob(&wrong)), "sequence 0 has token 9, the model has 9 tokens");
        }
        assert_eq!(error(2, &blob(&[0; 4])), "the shard holds 1 examples, the job says 2");
        let longer = encode(&Dataset::sequences(&[0; 5], 4).unwrap()).unwrap();
        assert!(error(1, &longer).contains("[1, 1, 4]"));
        assert!(error(3, &encode(&bytes()).unwrap()).contains("a tensor '"));
        let text = parse(&self::spec(), &stated(1), &blob(&[0; 4])).unwrap_err().to_string();
        assert!(text.contains("a tensor 'tokens'"), "{text}");
        let floats = TensorView::new(Dtype::F32, vec![1, 4], &[0; 16]).unwrap();
        assert!(error(1, &safetensors::serialize([(TOKENS, floats)], None).unwrap()).contains("F32"));
    }
}
