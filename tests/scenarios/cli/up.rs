//! A network of its own for the commands.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::real::{Ran, Shell, program};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// `fedroll up`, as long as it runs.
pub struct Up {
    child: Child,
    stdout: BufReader<tokio::process::ChildStdout>,
    /// Its answer.
    pub said: String,
}

impl Up {
    /// Starts a network and reads its answer up to a line that ends so.
    pub async fn start(dir: &Path, words: &[&str], last: &str) -> Result<Self> {
        let mut child = Command::new(program("fedroll")?)
            .args(["up", "--workers", "2", "--split", "iid"])
            .args(words)
            .current_dir(dir)
            .env_remove("FEDROLL_NETWORK")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("stdout is piped")?);
        let mut said = String::new();
        while !said.trim_end().ends_with(last) {
            ensure!(stdout.read_line(&mut said).await? > 0, "`fedroll up` has ended: {said}");
        }
        Ok(Self { child, stdout, said })
    }

    /// Ctrl-C, and all that it said.
    pub async fn stop(mut self) -> Result<Ran> {
        let pid = self.child.id().context("it runs")?;
        Command::new("kill").args(["-INT", &pid.to_string()]).status().await?;
        self.stdout.read_to_string(&mut self.said).await?;
        let mut stderr = String::new();
        self.child.stderr.take().context("stderr is piped")?.read_to_string(&mut stderr).await?;
        let code = self.child.wait().await?.code().context("it ended by a signal")?;
        Ok(Ran { stdout: self.said, stderr, code })
    }
}

/// What the network is made of, by name.
pub fn learn(shell: &mut Shell, up: &Value) -> Result<Value> {
    let running = &up["result"];
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a text");
    shell.name(&text(&running["rollup"])?, "<rollup>");
    shell.name(&text(&running["rpc"])?, "<rpc>");
    shell.name(&text(&running["coordinator"])?, "<http>");
    for worker in running["workers"].as_array().context("workers")? {
        shell.name(&text(&worker["worker"])?, "<worker>");
        shell.name(&text(&worker["payout"])?, "<payout>");
    }
    Ok(running.clone())
}
