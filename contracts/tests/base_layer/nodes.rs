//! Base layers as separate processes.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use alloy::rpc::client::RpcClient;
use serde_json::Value;

/// A node that dies with its test.
pub struct Node {
    process: Child,
    pub url: String,
}

impl Node {
    /// The development chain on this directory and a free port.
    pub fn devchain(dir: &Path) -> Self {
        let mut command = Command::new(devchain_program());
        command.arg(dir).arg("127.0.0.1:0");
        Self::start(command, "listening on ")
    }

    pub fn anvil() -> Self {
        let mut command = Command::new(npm_tool("anvil"));
        command.args(["--port", "0", "--hardfork", "osaka", "--timestamp", "1900000000"]);
        Self::start(command, "Listening on ")
    }

    fn start(mut command: Command, announcement: &str) -> Self {
        // The tests' own HTTP clients need it as the crate's does; a second installation changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .find_map(|line| line.unwrap().strip_prefix(announcement).map(str::to_owned))
            .expect("the node says where it listens");
        // Whatever it prints later must not block it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, url: format!("http://{address}") }
    }

    /// As the power going out.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub async fn ask(&self, method: &'static str, params: Value) -> Value {
        let client = RpcClient::new_http(self.url.parse().unwrap());
        client.request(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Why it does not do that.
    pub async fn refusal(&self, method: &'static str, params: Value) -> String {
        let client = RpcClient::new_http(self.url.parse().unwrap());
        client.request::<_, Value>(method, params).await.unwrap_err().to_string()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Cargo builds examples beside the tests.
pub fn devchain_program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().unwrap().parent().unwrap();
    let program = target.join("examples/devchain");
    assert!(program.exists(), "{} is missing: cargo build -p contracts --examples", program.display());
    program
}

/// A tool of Foundry's from npm. Missing is a failure, not a skip: the check would be silently lost.
pub fn npm_tool(name: &str) -> PathBuf {
    if (std::env::consts::OS, std::env::consts::ARCH) != ("linux", "x86_64") {
        return name.into(); // npm carries Foundry for one platform; elsewhere the one on the PATH must do
    }
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("node_modules/@foundry-rs");
    let program = modules.join(format!("{name}-linux-amd64/bin/{name}"));
    assert!(program.exists(), "{name} is missing; run: npm ci --prefix contracts");
    program
}
