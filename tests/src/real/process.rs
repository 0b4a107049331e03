//! Programs as processes: started, killed, started again, measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use protocol::quic::key_file;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::{Chain, operator};

/// Seconds a program may take to say that it is ready.
const READY_S_MAX: u64 = 60;

/// A program of the workspace, beside this test's executable.
pub fn program(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    for folder in here.ancestors().skip(1).take(2) {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!("{name} has not been built: run `cargo build --workspace --bins` in the same profile first");
}

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// The line it printed when it was ready.
    pub ready: serde_json::Value,
}

/// What a process has used.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Seconds of processor time.
    pub cpu_s: f64,
    /// Bytes of resident memory at its peak.
    pub peak_bytes: u64,
}

impl Process {
    /// Starts a program and waits for nothing. What it logs goes to `log`.
    pub fn spawn(name: &str, arguments: &[&str], log: &Path) -> Result<Self> {
        let child = Self::command(name, arguments, log)?.stdout(Stdio::null()).spawn();
        Ok(Self { child: child.with_context(|| format!("starting {name}"))?, ready: serde_json::Value::Null })
    }

    fn command(name: &str, arguments: &[&str], log: &Path) -> Result<Command> {
        let errors = fs::File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(program(name)?);
        command.args(arguments).stdin(Stdio::null()).stderr(errors).kill_on_drop(true);
        Ok(command)
    }

    /// Starts a program and waits for its line of JSON. What it logs goes to `log`.
    pub async fn start(name: &str, arguments: &[&str], log: &Path) -> Result<Self> {
        let child = Self::command(name, arguments, log)?.stdout(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("starting {name}"))?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(Duration::from_secs(READY_S_MAX), lines.next_line()).await;
        let log_text = || fs::read_to_string(log).unwrap_or_default();
        let line = line.with_context(|| format!("{name} is not ready: {}", log_text()))??;
        let line = line.with_context(|| format!("{name} stopped: {}", log_text()))?;
        // Whoever reads no further must not block the program.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let ready: serde_json::Value = serde_json::from_str(&line)?;
        ensure!(ready["ready"] == true, "{name} is not ready: {line} {}", log_text());
        Ok(Self { child, ready })
    }

    /// kill -9.
    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("killing a process")
    }

    /// SIGTERM, and the exit code.
    pub async fn terminate(mut self) -> Result<i32> {
        self.stop().await
    }

    async fn stop(&mut self) -> Result<i32> {
        let pid = self.child.id().context("it runs")?;
        let sent = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await?;
        ensure!(sent.success(), "kill -TERM {pid} failed");
        self.child.wait().await?.code().context("it ended by a signal")
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// What it has used so far.
    pub fn usage(&self) -> Result<Usage> {
        let pid = self.child.id().context("it runs")?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let after_name = stat.rsplit_once(')').context("/proc/PID/stat has a name")?.1;
        let ticks = |place: usize| -> Result<u64> {
            Ok(after_name.split_whitespace().nth(place).context("/proc/PID/stat has its fields")?.parse()?)
        };
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("a peak is known")?;
        let kib: u64 = peak.trim().trim_end_matches("kB").trim().parse()?;
        // Fields 14 and 15 of proc(5), in ticks of 10 ms on every Linux that Rust supports.
        Ok(Usage { cpu_s: (ticks(11)? + ticks(12)?) as f64 / 100.0, peak_bytes: kib * 1024 })
    }

    /// Sets the peak of memory back to what is used now.
    pub fn reset_peak(&self) -> Result<()> {
        let pid = self.child.id().context("it runs")?;
        Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
    }
}

/// A coordinator as a process, and what it takes to start it again.
#[derive(Debug)]
pub struct Coordinator {
    /// The process.
    pub process: Process,
    /// Its HTTP API.
    pub http: String,
    /// What workers dial.
    pub worker_address: String,
    dir: PathBuf,
    config: PathBuf,
}

#[derive(Deserialize)]
struct Ready {
    http: String,
    worker_address: String,
}

impl Coordinator {
    /// Starts one with its data in `dir`; `settings` are lines for its configuration file.
    pub async fn start(dir: &Path, chain: &Chain, settings: &str) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let key = dir.join("operator.key");
        if !key.exists() {
            key_file::write(&key, &operator().secret())?;
        }
        let config = dir.join("coordinator.toml");
        let ports = "listen = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n";
        let text = format!(
            "data_dir = {:?}\nrpc = {:?}\nrollup = \"{}\"\nkey_file = {key:?}\nopen = true\n{ports}{settings}",
            dir.join("data"),
            chain.url,
            chain.rollup
        );
        fs::write(&config, text)?;
        Self::run(dir.to_owned(), config).await
    }

    async fn run(dir: PathBuf, config: PathBuf) -> Result<Self> {
        let arguments = ["--config", config.to_str().context("a path in UTF-8")?, "--format", "json"];
        let process = Process::start("fedroll-coordinator", &arguments, &dir.join("coordinator.log")).await?;
        let ready: Ready = serde_json::from_value(process.ready.clone())?;
        Ok(Self { process, http: ready.http, worker_address: ready.worker_address, dir, config })
    }

    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("coordinator.log")).unwrap_or_default()
    }

    /// kill -9, then start it again on the same ports.
    pub async fn crash(self) -> Result<Self> {
        self.fix_ports()?;
        let Self { process, dir, config, .. } = self;
        process.kill().await?;
        Self::run(dir, config).await
    }

    /// SIGTERM, and waits until it has ended.
    pub async fn stop(&mut self) -> Result<()> {
        self.fix_ports()?;
        ensure!(self.process.stop().await? == 0, "{}", self.log());
        Ok(())
    }

    /// Starts it again after it has ended.
    pub async fn start_again(self) -> Result<Self> {
        Self::run(self.dir, self.config).await
    }

    /// The same without waiting until it is there again: the next kill may hit it while it starts.
    pub async fn crash_at_once(self) -> Result<Self> {
        self.fix_ports()?;
        let Self { process, http, worker_address, dir, config } = self;
        process.kill().await?;
        let arguments = ["--config", config.to_str().context("a path in UTF-8")?, "--format", "json"];
        let process = Process::spawn("fedroll-coordinator", &arguments, &dir.join("coordinator.log"))?;
        Ok(Self { process, http, worker_address, dir, config })
    }

    /// Has the configuration name the ports that it was given.
    fn fix_ports(&self) -> Result<()> {
        let Self { http, worker_address, config, .. } = self;
        let port = |address: &str| address.rsplit_once(':').map(|(_, port)| port.to_owned());
        let text = fs::read_to_string(config)?;
        let fixed = text
            .replace(
                "listen = \"127.0.0.1:0\"",
                &format!("listen = \"127.0.0.1:{}\"", port(worker_address).context("a port")?),
            )
            .replace(
                "http = \"127.0.0.1:0\"",
                &format!("http = \"127.0.0.1:{}\"", port(http).context("a port")?),
            );
        Ok(fs::write(config, fixed)?)
    }
}
