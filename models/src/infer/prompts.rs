//! The blobs of an inference task on a model of sequences.
//!
//! Prompts: safetensors with two tensors: `prompt`, U32 of [all tokens of all prompts], and `lengths`, U32 of [n, 2]:
//! of each prompt its tokens and how many are to follow. Answers: JSON lines `{"item":…,"tokens":[…]}`.

use protocol::job::ModelSpec;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::weights::HEADER_BYTES_MAX;

const PROMPT: &str = "prompt";
const LENGTHS: &str = "lengths";

/// What is to be gone on with, and how far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The tokens, 1 or more.
    pub tokens: Vec<u32>,
    /// How many are to follow, 1 or more.
    pub wanted: u32,
}

impl Prompt {
    /// Whether a model can go on with prompt number `at`: its tokens are the model's, and with those that follow they
    /// fit into its longest sequence.
    pub fn check(&self, spec: &ModelSpec, at: usize) -> Result<(), ModelError> {
        let (prompt, wanted, most) =
            (self.tokens.len() as u64, u64::from(self.wanted), spec.input_len() as u64);
        if prompt == 0 || wanted == 0 || prompt.saturating_add(wanted) > most {
            return Err(ModelError::Prompt { at, prompt, wanted, most });
        }
        match self.tokens.iter().find(|&&token| token >= spec.classes) {
            Some(&token) => Err(ModelError::Token { at, token, vocabulary: spec.classes }),
            None => Ok(()),
        }
    }
}

/// The blob of these prompts.
pub fn encode(prompts: &[Prompt]) -> Result<Vec<u8>, ModelError> {
    let failed = |error: safetensors::SafeTensorError| ModelError::Format(error.to_string());
    let bytes = |words: Vec<u32>| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let tokens = bytes(prompts.iter().flat_map(|prompt| &prompt.tokens).copied().collect());
    let lengths = prompts.iter().flat_map(|prompt| [prompt.tokens.len() as u32, prompt.wanted]).collect();
    let lengths = bytes(lengths);
    let prompt = TensorView::new(Dtype::U32, vec![tokens.len() / 4], &tokens).map_err(failed)?;
    let lengths = TensorView::new(Dtype::U32, vec![prompts.len(), 2], &lengths).map_err(failed)?;
    safetensors::serialize([(LENGTHS, lengths), (PROMPT, prompt)], None).map_err(failed)
}

/// The prompts in such a blob, for a model of sequences, at most `items_max` of them; each as [`Prompt::check`] wants
/// it.
pub fn decode(spec: &ModelSpec, bytes: &[u8], items_max: u64) -> Result<Vec<Prompt>, ModelError> {
    let each = 4 * spec.input_len() as u64 + 8;
    let (got, most) = (bytes.len() as u64, each.saturating_mul(items_max).saturating_add(HEADER_BYTES_MAX));
    if got > most {
        return Err(ModelError::Range { what: "input file size", got, least: 0, most });
    }
    let file = SafeTensors::deserialize(bytes).map_err(|error| ModelError::Format(error.to_string()))?;
    if let Some(name) = file.names().into_iter().find(|&name| name != PROMPT && name != LENGTHS) {
        return Err(ModelError::UnknownTensor(name.chars().take(100).collect()));
    }
    let tokens = words(&file, PROMPT, |shape| shape.len() == 1)?;
    let lengths = words(&file, LENGTHS, |shape| matches!(shape, [_, 2]))?;
    let (items, total) = (lengths.len() as u64 / 2, tokens.len() as u64);
    if items > items_max {
        return Err(ModelError::Range { what: "number of prompts", got: items, least: 0, most: items_max });
    }
    let (mut rest, mut prompts) = (&tokens[..], Vec::new());
    for (at, &[length, wanted]) in lengths.as_chunks::<2>().0.iter().enumerate() {
        let Some((own, after)) = rest.split_at_checked(length as usize) else {
            let want = (total - rest.len() as u64).saturating_add(length.into());
            return Err(ModelError::Range { what: "number of tokens", got: total, least: want, most: want });
        };
        rest = after;
        let prompt = Prompt { tokens: own.to_vec(), wanted };
        prompt.check(spec, at)?;
        prompts.push(prompt);
    }
    let want = total - rest.len() as u64;
    if total != want {
        return Err(ModelError::Range { what: "number of tokens", got: total, least: want, most: want });
    }
    Ok(prompts)
}

fn words(
    file: &SafeTensors<'_>,
    name: &'static str,
    fits: impl Fn(&[usize]) -> bool,
) -> Result<Vec<u32>, ModelError> {
    let view = file.tensor(name).map_err(|_| ModelError::MissingTensor(name.into()))?;
    if view.dtype() != Dtype::U32 || !fits(view.shape()) {
        let what = format!("'{name}' is {:?} {:?}, not U32 as prompts have it", view.dtype(), view.shape());
        return Err(ModelError::Format(what));
    }
    Ok(view.data().as_chunks::<4>().0.iter().map(|&word| u32::from_le_bytes(word)).collect())
}

/// The blob of the tokens that follow, items counted from `first_item` on.
pub fn write(first_item: u64, followed: &[Vec<u32>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (item, tokens) in (first_item..).zip(followed) {
        let line = Line { item, tokens: tokens.clone() };
        serde_json::to_writer(&mut bytes, &line).expect("writing numbers to memory cannot fail");
        bytes.push(b'\n');
    }
    bytes
}

/// The tokens in such a blob: exactly `count` lines, in order, each of 1 or more tokens that the model has, and no more
/// than fit into its longest sequence.
pub fn read(
    spec: &ModelSpec,
    first_item: u64,
    count: usize,
    bytes: &[u8],
) -> Result<Vec<Vec<u32>>, ModelError> {
    let wrong = |line: usize, problem: String| ModelError::Answers { line: line + 1, problem };
    let (mut all, mut lines) = (Vec::new(), bytes.split(|&byte| byte == b'\n'));
    for at in 0..count {
        let text = lines.next().unwrap_or_default();
        let line: Line = serde_json::from_slice(text).map_err(|error| wrong(at, error.to_string()))?;
        let item = first_item + at as u64;
        if line.item != item || line.tokens.is_empty() || line.tokens.len() > spec.input_len() {
            return Err(wrong(at, format!("expected item {item} with 1 to {} tokens", spec.input_len())));
        }
        if line.tokens.iter().any(|&token| token >= spec.classes) {
            return Err(wrong(at, format!("a token is not below {}", spec.classes)));
        }
        all.push(line.tokens);
    }
    match (lines.next(), lines.next()) {
        (Some([]), None) => Ok(all),
        _ => Err(wrong(count, "expected the end of the file".into())),
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    item: u64,
    tokens: Vec<u32>,
}

#[cfg(test)]
mod tests {
    use protocol::job::ModelKind;

    use super::*;

    fn spec() -> ModelSpec {
        let kind = ModelKind::Gpt { layers: 1, heads: 1, width: 4, dropout: 0 };
        ModelSpec { kind, input: [1, 1, 5], classes: 9 }
    }

    fn prompt(tokens: &[u32], wanted: u32) -> Prompt {
        Prompt { tokens: tokens.to_vec(), wanted }
    }

    #[test]
    fn prompts_come_back_and_what_no_model_can_go_on_with_is_refused() {
        let some = [prompt(&[1, 2, 8], 2), prompt(&[0], 1), prompt(&[3], 4)];
        let blob = encode(&some).unwrap();
        assert_eq!(decode(&spec(), &blob, 3).unwrap(), some);
        assert!(matches!(decode(&spec(), &blob, 2), Err(ModelError::Range { .. })));
        for wrong in [prompt(&[], 1), prompt(&[1], 0), prompt(&[1], 5), prompt(&[1], u32::MAX)] {
            let blob = encode(&[some[0].clone(), wrong]).unwrap();
            assert!(matches!(decode(&spec(), &blob, 3), Err(ModelError::Prompt { at: 1, .. })));
        }
        let blob = encode(&[prompt(&[9], 1)]).unwrap();
        assert!(matches!(decode(&spec(), &blob, 3), Err(ModelError::Token { token: 9, .. })));
        // One token too few for the lengths, and one too many.
        for (from, to) in [(3u32, 4u32), (3, 2)] {
            let mut blob = encode(&some).unwrap();
            let at = blob.len() - 4 * 11;
            let lengths = blob[..].windows(8).position(|two| two == [3, 0, 0, 0, 2, 0, 0, 0]).unwrap();
            assert!(lengths >= at.saturating_sub(8) && blob[lengths] == from as u8);
            blob[lengths] = to as u8;
            blob[lengths + 4] = 1;
            assert!(decode(&spec(), &blob, 3).is_err());
        }
    }

    #[test]
    fn tokens_come_back_and_others_lines_are_refused() {
        let followed = [vec![1, 2], vec![8]];
        let bytes = write(7, &followed);
        assert!(bytes.starts_with(b"{\"item\":7,\"tokens\":[1,2]}\n"));
        assert_eq!(read(&spec(), 7, 2, &bytes).unwrap(), followed);
        assert!(read(&spec(), 8, 2, &bytes).is_err() && read(&spec(), 7, 1, &bytes).is_err());
        for wrong in [vec![], vec![9], vec![0; 6]] {
            assert!(read(&spec(), 7, 1, &write(7, &[wrong])).is_err());
        }
        assert!(read(&spec(), 7, 2, &[&bytes[..], b"\n"].concat()).is_err());
    }
}
