//! `fedroll-worker` as a process, with examples of its own.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use protocol::ids::Address;

use super::Process;
use super::jobs::{TAG, model};

/// Examples that each worker holds.
const EXAMPLES: u64 = 24;

/// A worker, and what it takes to start it again.
#[derive(Debug)]
pub struct Worker {
    /// The process.
    pub process: Process,
    dir: PathBuf,
    arguments: Vec<String>,
}

impl Worker {
    /// Starts worker `number` with its directory, examples and log in `dir`, and waits until it is welcome.
    pub async fn start(dir: &Path, coordinator: &str, number: u8) -> Result<Self> {
        Self::paid_to(dir, coordinator, number, Address([number; 20])).await
    }

    /// The same with a payout address of somebody's.
    pub async fn paid_to(dir: &Path, coordinator: &str, number: u8, payout: Address) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let data = dir.join("examples.csv");
        fs::write(&data, examples(number.into()))?;
        Self::holding(dir, coordinator, payout, Some(&data)).await
    }

    /// The same without examples: for jobs that bring their data.
    pub async fn without_data(dir: &Path, coordinator: &str, number: u8) -> Result<Self> {
        fs::create_dir_all(dir)?;
        Self::holding(dir, coordinator, Address([number; 20]), None).await
    }

    async fn holding(dir: &Path, coordinator: &str, payout: Address, data: Option<&Path>) -> Result<Self> {
        let own = dir.join("worker");
        let path = |path: &Path| path.to_str().map(str::to_owned).context("a path in UTF-8");
        let payout = payout.to_string();
        let words = ["--format", "json", "run", "--coordinator", coordinator, "--payout", &payout];
        let mut arguments: Vec<String> = words.map(str::to_owned).to_vec();
        arguments.extend(["--dir".to_owned(), path(&own)?]);
        if let Some(data) = data {
            arguments.extend(["--data".to_owned(), format!("{TAG}={}", path(data)?)]);
        }
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let process = Process::start("fedroll-worker", &words, &dir.join("worker.log")).await?;
        Ok(Self { process, dir: dir.to_owned(), arguments })
    }

    /// kill -9, then start it again without waiting for anything.
    pub async fn crash_at_once(self) -> Result<Self> {
        let Self { process, dir, arguments } = self;
        process.kill().await?;
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let process = Process::spawn("fedroll-worker", &words, &dir.join("worker.log"))?;
        Ok(Self { process, dir, arguments })
    }

    /// What it was started with.
    pub fn arguments(&self) -> Vec<String> {
        self.arguments.clone()
    }

    /// Its directory, as `fedroll-worker status --dir` takes it.
    pub fn dir(&self) -> PathBuf {
        self.dir.join("worker")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("worker.log")).unwrap_or_default()
    }
}

/// Examples of [`model`]'s shape, others for every worker.
fn examples(number: u64) -> String {
    let model = model();
    let mut text = String::new();
    for example in 0..EXAMPLES {
        let label = example % u64::from(model.classes);
        write!(text, "{label}").expect("a String takes everything");
        for value in 0..model.input_len() as u64 {
            let value = (number * 31 + example * 17 + value * (label + 1) * 13) % 256;
            write!(text, ",{value}").expect("a String takes everything");
        }
        text.push('\n');
    }
    text
}
