//! The keys of a job file and their defaults.

use std::fmt;
use std::path::PathBuf;

use protocol::amount::{Amount, UNITS_PER_TOKEN};
use protocol::job::{ModelKind, ModelSpec, Name, Real};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileJob {
    pub version: u16,
    pub name: Name,
    pub model: FileModel,
    pub training: FileTraining,
    pub data: Option<FileData>,
    pub round: FileRound,
    #[serde(default)]
    pub settlement: FileSettlement,
    #[serde(default)]
    pub evaluation: FileEvaluation,
    #[serde(default)]
    pub checks: FileChecks,
    pub pay: FilePay,
    #[serde(default)]
    pub workers: FileWorkers,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileChecks {
    pub rate_bps: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileModel {
    pub kind: FileModelKind,
    pub input: [u32; 3],
    pub classes: u32,
    pub hidden: Option<Vec<u32>>,
    pub layers: Option<u32>,
    pub heads: Option<u32>,
    pub width: Option<u32>,
    pub dropout: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileModelKind {
    Logistic,
    Mlp,
    CnnFedavg,
    CnnFlower,
    Resnet20,
    Gpt,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileTraining {
    pub data: Option<Name>,
    pub rounds: u32,
    #[serde(default = "local_epochs")]
    pub local_epochs: u32,
    #[serde(default = "minibatch")]
    pub minibatch: u32,
    #[serde(default = "learning_rate")]
    pub learning_rate: Real,
    #[serde(default = "momentum")]
    pub momentum: Real,
    #[serde(default = "seed")]
    pub seed: u64,
    #[serde(default = "scale_bits")]
    pub scale_bits: u8,
    pub checkpoint_steps: Option<u32>,
    pub start: Option<PathBuf>,
}

/// Data that the job brings, and how it is cut.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileData {
    pub images: Option<PathBuf>,
    pub labels: Option<PathBuf>,
    pub csv: Option<PathBuf>,
    pub text: Option<PathBuf>,
    pub divisor: Option<u32>,
    pub shards: u32,
    #[serde(default)]
    pub split: FileSplit,
    pub alpha: Option<f64>,
    pub labels_each: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileSplit {
    #[default]
    Iid,
    Dirichlet,
    Labels,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRound {
    pub workers: u32,
    pub quorum: Option<u32>,
    #[serde(default)]
    pub over_select: u32,
    #[serde(default = "deadline")]
    pub deadline: Duration,
    pub examples_cap: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSettlement {
    pub rounds: Option<u32>,
    #[serde(default)]
    pub approve: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEvaluation {
    #[serde(default)]
    pub by: By,
    pub images: Option<PathBuf>,
    pub labels: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    #[default]
    None,
    Coordinator,
    Workers,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilePay {
    pub price: Tokens,
    #[serde(default)]
    pub fee_bps: u16,
    pub burst: Option<Tokens>,
    #[serde(default)]
    pub rate: Tokens,
}

/// What a job asks of its workers beside their data.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileWorkers {
    pub stake: Option<Tokens>,
    pub registry: Option<String>,
}

fn local_epochs() -> u32 {
    1
}
fn minibatch() -> u32 {
    32
}
fn learning_rate() -> Real {
    Real::try_from(0.05).expect("0.05 is finite")
}
fn momentum() -> Real {
    Real::try_from(0.9).expect("0.9 is finite")
}
fn seed() -> u64 {
    1
}
fn scale_bits() -> u8 {
    24
}
fn deadline() -> Duration {
    Duration(600_000)
}

/// A key and what is wrong with its value.
type Wrong = (&'static str, String);

impl FileModel {
    /// The model as a spec names it.
    pub fn into_spec(self) -> Result<ModelSpec, Wrong> {
        let gpt = self.kind == FileModelKind::Gpt;
        let sizes = [("model.layers", self.layers), ("model.heads", self.heads), ("model.width", self.width)];
        if let Some((key, _)) = sizes.iter().find(|(_, size)| size.is_some() && !gpt) {
            return Err((key, "only kind = \"gpt\" takes layers, heads and width".to_owned()));
        }
        if self.dropout.is_some() && !gpt {
            return Err(("model.dropout", "only kind = \"gpt\" drops values".to_owned()));
        }
        let kind = match (self.kind, self.hidden) {
            (FileModelKind::Mlp, Some(hidden)) => ModelKind::Mlp { hidden },
            (FileModelKind::Mlp, None) => {
                return Err(("model.kind", "an mlp needs its layers: hidden = [200, 200]".to_owned()));
            }
            (_, Some(_)) => {
                return Err(("model.hidden", "only kind = \"mlp\" takes hidden layers".to_owned()));
            }
            (FileModelKind::Logistic, None) => ModelKind::Logistic,
            (FileModelKind::CnnFedavg, None) => ModelKind::CnnFedavg,
            (FileModelKind::CnnFlower, None) => ModelKind::CnnFlower,
            (FileModelKind::Resnet20, None) => ModelKind::Resnet20,
            (FileModelKind::Gpt, None) => {
                let [Some(layers), Some(heads), Some(width)] = sizes.map(|(_, size)| size) else {
                    let why = "a gpt needs its sizes: layers = 2, heads = 4, width = 64";
                    return Err(("model.kind", why.to_owned()));
                };
                let rate = self.dropout.unwrap_or(0.0);
                if !(0.0..=0.9).contains(&rate) {
                    return Err(("model.dropout", "a share of values to drop, from 0 to 0.9".to_owned()));
                }
                ModelKind::Gpt { layers, heads, width, dropout: (rate * 1e3).round() as u32 }
            }
        };
        Ok(ModelSpec { kind, input: self.input, classes: self.classes })
    }
}

/// An amount of tokens: `"1.5"`, or a whole number. Not a float: 0.1 has no exact one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens(pub Amount);

impl Tokens {
    /// In ledger units.
    pub fn units(self, key: &'static str) -> Result<u64, Wrong> {
        let units = u64::try_from(self.0.as_units());
        units.map_err(|_| {
            (key, format!("{key} is {} tokens, more than the ledger can say (2^64 − 1 units)", self.0))
        })
    }
}

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Tokens;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of tokens in quotes, for example \"1.5\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Tokens, E> {
                text.parse().map(Tokens).map_err(E::custom)
            }
            fn visit_i64<E: Error>(self, tokens: i64) -> Result<Tokens, E> {
                let tokens = u128::try_from(tokens).map_err(|_| E::custom("an amount cannot be negative"))?;
                Ok(Tokens(Amount::units(tokens * UNITS_PER_TOKEN)))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// A span of time in milliseconds, written `"500ms"`, `"90s"`, `"10m"`, `"2h"` or `"1d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duration(pub u64);

impl std::str::FromStr for Duration {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err("a time is a whole number with its unit: 500ms, 90s, 10m, 2h or 1d"),
        };
        let number: u64 = number.parse().map_err(|_| "a time starts with a whole number, for example 90s")?;
        number.checked_mul(unit).map(Self).ok_or("that time is too long")
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
