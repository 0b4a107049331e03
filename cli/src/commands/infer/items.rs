//! What is to be answered: examples, or prompts to be gone on with.

use models::error::ModelError;
use models::infer::prompts::{self, Prompt};
use models::infer::{encode_inputs, read_answers, write_answers};
use protocol::job::ModelSpec;
use protocol::limits::BLOB_BYTES_MAX;
use serde::Serialize;

use super::Examples;
use crate::args::job::Infer;
use crate::error::CliError;
use crate::files;

/// Items, as the model takes them.
#[derive(Debug)]
pub enum Items {
    /// Values to be told apart.
    Examples(Examples),
    /// Text to be gone on with.
    Prompts(Vec<Prompt>),
}

/// A line of what follows a prompt.
#[derive(Serialize)]
struct Followed<'a> {
    item: u64,
    tokens: &'a [u32],
    /// The tokens as bytes, what is no UTF-8 replaced.
    text: String,
}

impl Items {
    /// Reads what the flags name.
    pub fn read(args: &Infer, model: &ModelSpec) -> anyhow::Result<Self> {
        if !model.kind.is_sequential() {
            return Examples::read(args, model.input).map(Self::Examples);
        }
        if args.labels.is_some() || args.label_column.is_some() {
            return Err(CliError::Input("a gpt's answers are text: there are no labels".to_owned()).into());
        }
        let text = files::read(&args.input, BLOB_BYTES_MAX)?;
        let named = |error: ModelError| CliError::Input(format!("{}: {error}", args.input.display()));
        let most = args.first.and_then(|first| usize::try_from(first).ok()).unwrap_or(usize::MAX);
        let mut prompts = Vec::new();
        for (at, line) in lines(&text).take(most).enumerate() {
            let tokens = line.iter().map(|&byte| byte.into()).collect();
            let prompt = Prompt { tokens, wanted: args.follow };
            prompt.check(model, at).map_err(named)?;
            prompts.push(prompt);
        }
        if prompts.is_empty() {
            return Err(CliError::Input(format!("{} holds no prompts", args.input.display())).into());
        }
        Ok(Self::Prompts(prompts))
    }

    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Examples(examples) => examples.len(),
            Self::Prompts(prompts) => prompts.len(),
        }
    }

    /// Whether the right answers are known.
    pub fn are_labelled(&self) -> bool {
        matches!(self, Self::Examples(Examples { labels: Some(_), .. }))
    }

    /// The tasks' input blobs, with how many items each holds.
    pub fn blobs(&self, model: &ModelSpec, per_task: u32) -> Result<Vec<(u32, Vec<u8>)>, ModelError> {
        let (each, count) = (model.input_len(), |items: usize| items as u32);
        match self {
            Self::Examples(Examples { inputs, .. }) => inputs
                .chunks(per_task as usize * each)
                .map(|part| Ok((count(part.len() / each), encode_inputs(part, model.input)?)))
                .collect(),
            Self::Prompts(prompts) => prompts
                .chunks(per_task as usize)
                .map(|part| Ok((count(part.len()), prompts::encode(part)?)))
                .collect(),
        }
    }

    /// The lines to write for the answers blob of the items from `first` on, looked at; and how many are right.
    pub fn lines(
        &self,
        model: &ModelSpec,
        first: u64,
        items: usize,
        blob: &[u8],
    ) -> Result<(Vec<u8>, u64), ModelError> {
        match self {
            Self::Examples(examples) => {
                let answers = read_answers(first, items, model.classes, blob)?;
                let labels = examples.labels.iter().flat_map(|labels| &labels[first as usize..]);
                let right = answers.iter().zip(labels).filter(|(answer, label)| answer.label == **label);
                Ok((write_answers(first, &answers), right.count() as u64))
            }
            Self::Prompts(prompts) => {
                let (followed, mut bytes) = (prompts::read(model, first, items, blob)?, Vec::new());
                for ((item, prompt), tokens) in (first..).zip(&prompts[first as usize..]).zip(&followed) {
                    if tokens.len() != prompt.wanted as usize {
                        let problem = format!("{} tokens, not {}", tokens.len(), prompt.wanted);
                        return Err(ModelError::Answers { line: (item - first) as usize + 1, problem });
                    }
                    let text: Vec<u8> = tokens.iter().map(|&token| token.min(255) as u8).collect();
                    let text = String::from_utf8_lossy(&text).into_owned();
                    serde_json::to_writer(&mut bytes, &Followed { item, tokens, text })
                        .expect("writing numbers to memory cannot fail");
                    bytes.push(b'\n');
                }
                Ok((bytes, 0))
            }
        }
    }
}

/// Lines without what ends them; nothing after the last one's end.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use protocol::job::ModelKind;

    use super::*;
    use crate::args::{Cli, Command};

    fn read(text: &str, words: &[&str]) -> Result<Items, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prompts.txt");
        std::fs::write(&path, text).unwrap();
        let fixed =
            ["fedroll", "infer", "--model", "job:0", "--output", "x", "--input", path.to_str().unwrap()];
        let Command::Infer(args) = Cli::try_parse_from(fixed.iter().chain(words)).unwrap().command else {
            unreachable!("the words say infer")
        };
        Items::read(&args, &model()).map_err(|error| error.to_string())
    }

    fn model() -> ModelSpec {
        let kind = ModelKind::Gpt { layers: 1, heads: 1, width: 4, dropout: 0 };
        ModelSpec { kind, input: [1, 1, 8], classes: 256 }
    }

    #[test]
    fn each_line_is_a_prompt_and_what_follows_has_the_length_asked_for() {
        let items = read("ab\r\nc\n", &["--follow", "3"]).unwrap();
        let blobs = items.blobs(&model(), 1).unwrap();
        assert_eq!((items.len(), blobs.len(), blobs[0].0), (2, 2, 1));
        let prompt = |text: &str, wanted| Prompt { tokens: text.bytes().map(u32::from).collect(), wanted };
        assert_eq!(prompts::decode(&model(), &blobs[0].1, 1).unwrap(), [prompt("ab", 3)]);
        let answers = prompts::write(1, &[vec![104, 105, 33]]);
        let (lines, _) = items.lines(&model(), 1, 1, &answers).unwrap();
        assert_eq!(lines, b"{\"item\":1,\"tokens\":[104,105,33],\"text\":\"hi!\"}\n");
        assert!(items.lines(&model(), 1, 1, &prompts::write(1, &[vec![104]])).is_err());
        assert!(read("ab\n\nc\n", &[]).unwrap_err().contains("prompt 0"));
        assert!(read("ab\n\nc\n", &["--follow", "1"]).unwrap_err().contains("prompt 1 has 0 tokens"));
        assert!(read("abcdef\n", &["--follow", "3"]).unwrap_err().contains("at most 8"));
    }
}
