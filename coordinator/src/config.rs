//! Settings: flag over file over default, checked once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use models::kernels::pool::{THREADS_MAX, cores};
use protocol::ids::{Address, WorkerId};
use protocol::job::Name;
use serde::Deserialize;

use crate::args::Args;
use crate::core::Admission;
use crate::core::posting::BatchData;
use crate::error::NodeError;

/// Bytes of a settings file, an allow-list or a list of invitations.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where facts, blobs and the identity key are kept.
    pub data_dir: PathBuf,
    /// Where workers dial in.
    pub listen: SocketAddr,
    /// Where the HTTP API listens.
    pub http: SocketAddr,
    /// How workers reach `listen` from outside.
    pub public_address: Option<String>,
    /// The base layer's JSON-RPC: one address, or several with commas between.
    pub rpc: String,
    /// The Rollup contract.
    pub rollup: Address,
    /// The WorkerRegistry whose stakes jobs may ask for.
    pub registry: Option<Address>,
    /// The operator's key.
    pub key_file: PathBuf,
    /// Who may join.
    pub admission: Admission,
    /// Where batches' bytes are to stand.
    pub batch_data: BatchData,
    /// Milliseconds that ops wait for company before a batch is sealed.
    pub seal_after_ms: u64,
    /// Seconds after an acceptance by which its settlement must be posted.
    pub settle_by_s: u64,
    /// Milliseconds a worker that lost its link keeps its tasks.
    pub reconnect_grace_ms: u64,
    /// Milliseconds between two looks at the base layer.
    pub poll_ms: Option<u64>,
    /// Rounds whose updates stay on disk.
    pub keep_rounds: u32,
    /// Threads that models are evaluated and accepted tasks run again on.
    pub threads: usize,
}

/// `batch_data`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    Calldata,
    Blobs,
    Auto,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data_dir: Option<PathBuf>,
    listen: Option<SocketAddr>,
    http: Option<SocketAddr>,
    public_address: Option<String>,
    rpc: Option<String>,
    rollup: Option<String>,
    registry: Option<String>,
    key_file: Option<PathBuf>,
    allow: Option<PathBuf>,
    invitations: Option<PathBuf>,
    open: Option<bool>,
    batch_data: Option<Form>,
    blobs_at_percent: Option<u64>,
    seal_after_ms: Option<u64>,
    settle_by_s: Option<u64>,
    reconnect_grace_ms: Option<u64>,
    poll_ms: Option<u64>,
    keep_rounds: Option<u32>,
    threads: Option<u64>,
}

impl Config {
    /// Puts flags and file together.
    pub fn load(args: &Args) -> Result<Self, NodeError> {
        let file = match &args.config {
            None => File::default(),
            Some(path) => toml::from_str(&read(path)?)
                .map_err(|error| NodeError::Config(format!("{}: {error}", path.display())))?,
        };
        let rollup = match (args.rollup, &file.rollup) {
            (Some(rollup), _) => rollup,
            (None, Some(text)) => {
                text.parse().map_err(|error| NodeError::Config(format!("rollup: {error}")))?
            }
            (None, None) => {
                return Err(missing("--rollup", "the Rollup contract's address (`fedroll chain deploy`)"));
            }
        };
        let registry = match (args.registry, &file.registry) {
            (None, Some(text)) => {
                Some(text.parse().map_err(|error| NodeError::Config(format!("registry: {error}")))?)
            }
            (registry, _) => registry,
        };
        let allow = args.allow.clone().or(file.allow);
        let invitations = args.invitations.clone().or(file.invitations);
        let admission = Admission {
            open: args.open || file.open.unwrap_or(false),
            workers: allow.as_deref().map(read_allowed).transpose()?.unwrap_or_default(),
            invitations: invitations.as_deref().map(read_invitations).transpose()?.unwrap_or_default(),
        };
        if !admission.open && admission.workers.is_empty() && admission.invitations.is_empty() {
            let text =
                "nobody could join: give --allow FILE (worker ids), --invitations FILE, or --open (unsafe)";
            return Err(NodeError::Config(text.into()));
        }
        let blobs_at_percent = within("blobs_at_percent", file.blobs_at_percent, 50, 1, 10_000)?;
        let blobs_at_percent = u16::try_from(blobs_at_percent).expect("bounded by 10,000");
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Ok(Self {
            data_dir: args
                .data_dir
                .clone()
                .or(file.data_dir)
                .ok_or_else(|| missing("--data-dir", "a directory for facts, blobs and the identity key"))?,
            listen: args.listen.or(file.listen).unwrap_or(SocketAddr::from(([0, 0, 0, 0], 7600))),
            http: args.http.or(file.http).unwrap_or(loopback(7601)),
            public_address: args.public_address.clone().or(file.public_address),
            rpc: args
                .rpc
                .clone()
                .or(file.rpc)
                .ok_or_else(|| missing("--rpc", "the base layer's JSON-RPC address"))?,
            rollup,
            registry,
            key_file: args
                .key_file
                .clone()
                .or(file.key_file)
                .ok_or_else(|| missing("--key-file", "the operator's key (`fedroll key new`)"))?,
            admission,
            batch_data: match file.batch_data {
                None | Some(Form::Calldata) => BatchData::Calldata,
                Some(Form::Blobs) => BatchData::Blobs,
                Some(Form::Auto) => BatchData::Auto { blobs_at_percent },
            },
            seal_after_ms: within("seal_after_ms", file.seal_after_ms, 2_000, 10, 3_000_000)?,
            settle_by_s: within("settle_by_s", file.settle_by_s, 86_400, 10, 30 * 86_400)?,
            reconnect_grace_ms: within(
                "reconnect_grace_ms",
                file.reconnect_grace_ms,
                crate::core::limits::RECONNECT_GRACE_MS,
                0,
                86_400_000,
            )?,
            poll_ms: file.poll_ms.map(|poll| within("poll_ms", Some(poll), poll, 20, 600_000)).transpose()?,
            keep_rounds: file.keep_rounds.unwrap_or(3).max(1),
            threads: within("threads", file.threads, cores() as u64, 1, THREADS_MAX as u64)? as usize,
        })
    }
}

fn within(what: &str, value: Option<u64>, default: u64, least: u64, most: u64) -> Result<u64, NodeError> {
    let value = value.unwrap_or(default);
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(NodeError::Config(format!("{what} is {value}; it must lie between {least} and {most}")))
    }
}

fn missing(flag: &str, what: &str) -> NodeError {
    NodeError::Config(format!("{flag} is missing: {what}"))
}

fn read(path: &Path) -> Result<String, NodeError> {
    let failed = |detail: String| NodeError::Config(format!("{}: {detail}", path.display()));
    let length = fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(failed(format!("{length} bytes are over the limit of {FILE_BYTES_MAX}")));
    }
    fs::read_to_string(path).map_err(|error| failed(error.to_string()))
}

/// Lines that are neither empty nor comments, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn read_allowed(path: &Path) -> Result<BTreeSet<WorkerId>, NodeError> {
    let text = read(path)?;
    lines(&text)
        .map(|(number, line)| {
            line.parse().map_err(|error| NodeError::Config(format!("{}:{number}: {error}", path.display())))
        })
        .collect()
}

fn read_invitations(path: &Path) -> Result<BTreeMap<Name, u32>, NodeError> {
    let text = read(path)?;
    lines(&text)
        .map(|(number, line)| {
            let bad = |detail: String| NodeError::Config(format!("{}:{number}: {detail}", path.display()));
            let (name, uses) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let name: Name =
                name.parse().map_err(|error: protocol::job::NameError| bad(error.to_string()))?;
            let uses = match uses.trim() {
                "" => u32::MAX,
                uses => uses
                    .strip_prefix("uses=")
                    .and_then(|count| count.parse().ok())
                    .ok_or_else(|| bad(format!("'{uses}' is not `uses=` and a number")))?,
            };
            Ok((name, uses))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn load(words: &[&str]) -> Result<Config, NodeError> {
        Config::load(&Args::parse_from(std::iter::once("fedroll-coordinator").chain(words.iter().copied())))
    }

    #[test]
    fn what_is_missing_is_named() {
        let message = load(&[]).unwrap_err().to_string();
        assert!(message.contains("--rollup"), "{message}");
        let rollup = format!("0x{}", "11".repeat(20));
        let message = load(&["--rollup", &rollup]).unwrap_err().to_string();
        assert!(message.contains("--allow"), "{message}");
        let message = load(&["--rollup", &rollup, "--open"]).unwrap_err().to_string();
        assert!(message.contains("--data-dir"), "{message}");
    }

    #[test]
    fn a_file_is_read_flags_win_and_unknown_keys_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        let rollup = format!("0x{}", "11".repeat(20));
        let text = format!(
            "rollup = \"{rollup}\"\nopen = true\ndata_dir = \"d\"\nrpc = \"http://a\"\nkey_file = \"k\"\n"
        );
        fs::write(&path, &text).unwrap();
        let config = path.to_str().unwrap();
        let loaded = load(&["--config", config, "--rpc", "http://b"]).unwrap();
        assert_eq!((loaded.rpc.as_str(), loaded.admission.open), ("http://b", true));
        fs::write(&path, text + "sael_after_ms = 1\n").unwrap();
        let message = load(&["--config", config]).unwrap_err().to_string();
        assert!(message.contains("sael_after_ms") && message.contains('6'), "{message}");
    }

    #[test]
    fn where_batches_stand_is_one_of_three_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        let rollup = format!("0x{}", "11".repeat(20));
        let text = format!(
            "rollup = \"{rollup}\"\nopen = true\ndata_dir = \"d\"\nrpc = \"http://a\"\nkey_file = \"k\"\n"
        );
        let with = |more: &str| {
            fs::write(&path, format!("{text}{more}")).unwrap();
            load(&["--config", path.to_str().unwrap()]).map(|config| config.batch_data)
        };
        assert_eq!(with("").unwrap(), BatchData::Calldata);
        assert_eq!(with("batch_data = \"blobs\"").unwrap(), BatchData::Blobs);
        let auto = with("batch_data = \"auto\"").unwrap();
        assert_eq!(auto, BatchData::Auto { blobs_at_percent: 50 });
        let message = with("batch_data = \"beacon\"").unwrap_err().to_string();
        assert!(message.contains("`calldata`, `blobs`, `auto`"), "{message}");
        let message = with("blobs_at_percent = 0").unwrap_err().to_string();
        assert!(message.contains("between 1 and 10000"), "{message}");
    }

    #[test]
    fn lists_point_at_the_line_that_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        fs::write(&path, "# friends\n\nabc uses=2\nok\n").unwrap();
        let read = read_invitations(&path).unwrap();
        assert_eq!(read.values().copied().collect::<Vec<_>>(), [2, u32::MAX]);
        fs::write(&path, "abc uses=two\n").unwrap();
        assert!(read_invitations(&path).unwrap_err().to_string().contains(":1:"));
        fs::write(&path, "\n0x12\n").unwrap();
        assert!(read_allowed(&path).unwrap_err().to_string().contains(":2:"));
    }
}
