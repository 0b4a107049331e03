//! Every event of a run, to read and to replay.
//!
//! The log is lines of text. The first is the parameters and the planted bug as JSON: with them the run can be made
//! again, even after the swarm has changed. The others are the events, in order: a replay compares them, so that a
//! program that behaves differently is noticed at the first difference.

use protocol::hash::Digest;
use protocol::time::Millis;
use serde::{Deserialize, Serialize};

use super::bugs::Bug;
use super::swarm::Params;
use super::{Due, EPOCH_MS};

/// The log of one run.
#[derive(Debug)]
pub struct EventLog {
    lines: Option<Vec<String>>,
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The cluster.
    pub params: Params,
    /// The planted bug.
    pub bug: Option<Bug>,
}

/// A log that is not one.
#[derive(Debug)]
pub struct NotALog(String);

impl core::fmt::Display for NotALog {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the first line of the log should be the parameters of the run: {}", self.0)
    }
}

impl std::error::Error for NotALog {}

impl EventLog {
    pub(super) const fn off() -> Self {
        Self { lines: None }
    }

    pub(super) fn on(params: &Params, bug: Option<Bug>) -> Self {
        let head = Head { params: params.clone(), bug };
        let head = serde_json::to_string(&head).expect("integers and names are JSON");
        Self { lines: Some(vec![head]) }
    }

    pub(super) fn event(&mut self, at: Millis, due: &Due) {
        self.note(at, || format!("{due:?}"));
    }

    pub(super) fn note(&mut self, at: Millis, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>10} {}", at.since(Millis(EPOCH_MS)), text()));
        }
    }

    /// Every line.
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }

    /// Names the whole run: two runs with the same digest did the same.
    pub fn digest(&self) -> Digest {
        Digest::of(self.lines().join("\n").as_bytes())
    }

    /// Reads the first line of a log.
    ///
    /// # Errors
    /// If it holds no parameters.
    pub fn head(text: &str) -> Result<Head, NotALog> {
        serde_json::from_str(text.lines().next().unwrap_or_default())
            .map_err(|error| NotALog(error.to_string()))
    }
}
