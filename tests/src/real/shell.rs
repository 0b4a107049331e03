//! `fedroll` as a person runs it: a command line, what it printed on both streams, how it ended.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::process::Command;

use super::program;

/// Seconds that one command may take.
const COMMAND_S_MAX: u64 = 90;
/// Milliseconds between two looks at something that is waited for.
const LOOK_MS: u64 = 50;

/// Fields whose values differ from run to run.
const VOLATILE: [&str; 17] = [
    "at_ms",
    "batch",
    "began_ms",
    "block",
    "block_time",
    "bytes_down",
    "bytes_up",
    "client",
    "closed_ms",
    "closes_at",
    "final_at",
    "final_batch",
    "gas",
    "latest_batch",
    "pid",
    "seq",
    "to_block",
];

/// A directory to run commands in, and everything that they said.
#[derive(Debug)]
pub struct Shell {
    dir: PathBuf,
    names: BTreeMap<String, String>,
    transcript: String,
}

/// What one command did.
#[derive(Debug)]
pub struct Ran {
    /// The answer.
    pub stdout: String,
    /// The talk.
    pub stderr: String,
    /// 0 yes, 1 no, 2 no answer.
    pub code: i32,
}

impl Ran {
    /// The one JSON document that the answer is.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("not JSON: {self:?}"))
    }
}

impl Shell {
    /// Runs commands in `dir`.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), names: BTreeMap::new(), transcript: String::new() }
    }

    /// Shows `name` wherever `text` (an id, an address, a path) stands.
    pub fn name(&mut self, text: &str, name: &str) {
        self.names.insert(text.to_owned(), name.to_owned());
    }

    /// A path in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Runs a line without noting what came of it.
    pub async fn quietly(&self, line: &str) -> Result<Ran> {
        let mut words = line.split_whitespace();
        let name = words.next().context("a program to run")?;
        let mut command = Command::new(program(name)?);
        command.args(words).current_dir(&self.dir).stdin(Stdio::null()).kill_on_drop(true);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FEDROLL_") {
                command.env_remove(name);
            }
        }
        let ran = tokio::time::timeout(Duration::from_secs(COMMAND_S_MAX), command.output()).await;
        let ran = ran.with_context(|| format!("`{line}` did not end"))??;
        Ok(Ran {
            stdout: String::from_utf8(ran.stdout)?,
            stderr: String::from_utf8(ran.stderr)?,
            code: ran.status.code().with_context(|| format!("`{line}` ended by a signal"))?,
        })
    }

    /// Runs a line and notes it with all that came of it; with `--format json` in it, the answer must be one document
    /// with a schema version.
    pub async fn run(&mut self, line: &str) -> Result<Ran> {
        let ran = self.quietly(line).await?;
        self.note(line, &ran)?;
        Ok(ran)
    }

    /// Notes a command and all that came of it.
    pub fn note(&mut self, line: &str, ran: &Ran) -> Result<()> {
        writeln!(self.transcript, "$ {line}")?;
        if line.contains("--format json") {
            ensure!(ran.stdout.lines().count() == 1, "not one line: {ran:?}");
            let mut document = ran.json()?;
            ensure!(document["schema"] == 1, "no schema version: {}", ran.stdout);
            settle(&mut document);
            if line.contains("--watch") {
                // It ends when the work is over, and the batches may or may not be sealed by then.
                for name in ["phase", "settled", "spent"] {
                    document["result"]["status"][name] = "<varies>".into();
                }
            }
            writeln!(self.transcript, "{document:#}")?;
        } else {
            self.transcript.push_str(&ran.stdout);
        }
        for said in ran.stderr.lines() {
            writeln!(self.transcript, "{}", format!("stderr: {said}").trim_end())?;
        }
        writeln!(self.transcript, "exit {}\n", ran.code)?;
        Ok(())
    }

    /// Everything noted since the last time, with names in place of ids.
    pub fn transcript(&mut self) -> String {
        let text = std::mem::take(&mut self.transcript);
        // The longest first: an address may be a part of another text.
        let mut names: Vec<_> = self.names.iter().collect();
        names.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        names.into_iter().fold(text, |text, (id, name)| text.replace(id, name))
    }

    /// Runs a line with `--format json` until its answer is as wanted.
    pub async fn until(&self, line: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut last = Value::Null;
        for _ in 0..COMMAND_S_MAX * 1000 / LOOK_MS {
            last = self.quietly(&format!("{line} --format json")).await?.json()?;
            if wanted(&last) {
                return Ok(last);
            }
            tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
        }
        bail!("`{line}` never answered as wanted; last {last:#}")
    }

    /// Writes a file there: the text of another one with replacements.
    pub fn rewrite(&self, from: &str, to: &str, replacements: &[(&str, &str)]) -> Result<()> {
        let mut text = fs::read_to_string(self.path(from))?;
        for (old, new) in replacements {
            ensure!(text.contains(old), "{from} has no {old}");
            text = text.replacen(old, new, 1);
        }
        Ok(fs::write(self.path(to), text)?)
    }
}

/// Takes the place of what differs from run to run: times, gas, process ids; how ops fell into batches.
fn settle(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let is_number = field.is_number() || field.is_null();
                if VOLATILE.contains(&name.as_str()) && (is_number || field.is_string()) {
                    *field = Value::from("<varies>");
                } else if let ("batches", Value::Array(batches)) = (name.as_str(), &mut *field) {
                    *batches = vec![Value::from("<batches>")];
                } else if let ("entries", Value::Array(entries)) = (name.as_str(), &mut *field) {
                    entries.retain(|entry| !is_about_batches(entry));
                    entries.iter_mut().for_each(settle);
                } else {
                    settle(field);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(settle),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whether an entry of a job's log comes when a batch does: between others, sooner or later.
fn is_about_batches(entry: &Value) -> bool {
    entry["text"].as_str().is_some_and(|text| text.contains(" in batch "))
}
