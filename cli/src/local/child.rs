//! A process that this one started and answers for: it says when it is ready, its words go to a log, and it
//! does not outlive its parent.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{ChildStdout, Command};
use tokio::time::timeout;

use crate::error::{CliError, file};

/// How long a process may take to be ready: a coordinator that comes back reads its store and the chain.
const READY_MAX: Duration = Duration::from_secs(120);
/// How long a process may take to end once it was asked to.
const STOP_MAX: Duration = Duration::from_secs(15);
/// Bytes of the line that says that a process is ready.
const READY_BYTES_MAX: u64 = 64 * 1024;

/// A process.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: tokio::process::Child,
    log: PathBuf,
}

/// The document of a program that found no answer.
#[derive(Deserialize)]
struct Failure {
    error: String,
}

impl Child {
    /// Starts `program` and waits for the one line of JSON with which it says that it is ready.
    pub async fn start<Ready: DeserializeOwned>(
        name: &str,
        program: &Path,
        arguments: &[OsString],
        log: &Path,
    ) -> Result<(Self, Ready), CliError> {
        let stderr = File::options().create(true).append(true).open(log).map_err(file("open", log))?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        command.kill_on_drop(true);
        bind_to_parent(&mut command);
        let failed = |what: String| CliError::Child { name: name.to_owned(), what, log: log.to_owned() };
        let mut process =
            command.spawn().map_err(|error| failed(format!("could not be started: {error}")))?;
        let stdout = process.stdout.take().expect("stdout is piped");
        let mut child = Self { name: name.to_owned(), process, log: log.to_owned() };
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        let reading = async { (&mut stdout).take(READY_BYTES_MAX).read_line(&mut line).await };
        match timeout(READY_MAX, reading).await {
            Err(_) => return Err(failed(format!("was not ready after {} s", READY_MAX.as_secs()))),
            Ok(Err(error)) => return Err(failed(format!("cannot be heard: {error}"))),
            Ok(Ok(0)) => return Err(child.death().await),
            Ok(Ok(_)) => {}
        }
        let ready = serde_json::from_str(&line).map_err(|_| {
            let said = serde_json::from_str::<Failure>(&line);
            let why = said.map_or_else(|_| line.trim().to_owned(), |said| said.error);
            failed(format!("did not get ready: {why}"))
        })?;
        tokio::spawn(append(stdout, log.to_owned()));
        Ok((child, ready))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Waits until it ends by itself, and says how.
    pub async fn death(&mut self) -> CliError {
        let what = match self.process.wait().await {
            Ok(status) => format!("has ended ({status}){}", last_words(&self.log)),
            Err(error) => format!("cannot be waited for: {error}"),
        };
        CliError::Child { name: self.name.clone(), what, log: self.log.clone() }
    }

    /// Asks it to end.
    #[cfg(unix)]
    pub fn ask_to_stop(&self) {
        use rustix::process::{Pid, Signal, kill_process};
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended in this moment; it has not been waited for, so the number is still its own.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    #[cfg(not(unix))]
    pub fn ask_to_stop(&self) {}

    /// Asks it to end, and kills it if it does not.
    pub async fn stop(&mut self) {
        self.ask_to_stop();
        if timeout(STOP_MAX, self.process.wait()).await.is_err() {
            // The only error is that it has ended.
            let _ = self.process.kill().await;
        }
    }
}

/// Puts the process into a group of its own, so that Ctrl-C reaches it through its parent only, in order; and
/// has the system end it should the parent die without a word.
#[cfg(unix)]
fn bind_to_parent(command: &mut Command) {
    command.process_group(0);
    #[cfg(target_os = "linux")]
    {
        let set =
            || Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?);
        // SAFETY: between fork and exec only async-signal-safe calls are allowed; `set` is one plain prctl
        // system call, allocates nothing and takes no lock.
        unsafe { command.pre_exec(set) };
    }
}

#[cfg(not(unix))]
fn bind_to_parent(_: &mut Command) {}

/// What a process says on stdout after it was ready goes to its log.
async fn append(mut stdout: BufReader<ChildStdout>, log: PathBuf) {
    let mut line = String::new();
    loop {
        line.clear();
        match (&mut stdout).take(READY_BYTES_MAX).read_line(&mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                // A log that cannot be written is no reason to stop the network.
                if let Ok(mut log) = File::options().append(true).open(&log) {
                    let _ = log.write_all(line.as_bytes());
                }
            }
        }
    }
}

/// The end of a log, as part of a message.
fn last_words(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(2000)..]).into_owned();
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    if lines.is_empty() {
        String::new()
    } else {
        format!(": {}", lines.into_iter().rev().collect::<Vec<_>>().join(" / "))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Ready {
        #[expect(dead_code, reason = "only its presence matters")]
        ready: bool,
    }

    async fn shell(script: &str, log: &Path) -> Result<(Child, serde_json::Value), CliError> {
        Child::start("shell", Path::new("/bin/sh"), &["-c".into(), script.into()], log).await
    }

    #[tokio::test]
    async fn a_child_says_that_it_is_ready_and_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let (mut child, ready) = shell(r#"echo '{"ready":true}'; exec sleep 1000"#, &log).await.unwrap();
        assert_eq!(ready["ready"], true);
        assert!(child.pid().is_some());
        child.stop().await;
        assert_eq!(child.pid(), None);
    }

    #[tokio::test]
    async fn a_child_that_dies_is_named_with_its_last_words_and_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let error = shell("echo 'no such port' >&2; exit 3", &log).await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("no such port"), "{error}");
        assert!(error.contains(&log.display().to_string()), "{error}");
        let error = shell("echo hello; exec sleep 1000", &log).await.unwrap_err().to_string();
        assert!(error.contains("did not get ready: hello"), "{error}");
        let script = r#"echo '{"schema":1,"error":"the port is busy"}'; exec sleep 1000"#;
        let arguments = ["-c".into(), script.into()];
        let started = Child::start::<Ready>("shell", Path::new("/bin/sh"), &arguments, &log);
        let error = started.await.unwrap_err().to_string();
        assert!(error.contains("did not get ready: the port is busy;"), "{error}");
    }
}
