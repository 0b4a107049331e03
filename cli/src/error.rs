//! What can keep a command from finding its answer: data, a word for programs, and what to do about it.

use std::path::PathBuf;
use std::time::Duration;

use protocol::api::ApiError;
use protocol::hash::Digest;
use protocol::ids::Address;
use protocol::sign::SignError;

/// A command that found no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// A file could not be read, written or made.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// `read`, `write`, `create` …
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that must not be overwritten.
    #[error("{} exists already", path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// A key file that others may read.
    #[error("{} holds a secret key, and its mode {mode:04o} lets others read it", path.display())]
    KeyMode {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A key file with something else in it.
    #[error("{} does not hold a key: {source}", path.display())]
    KeyText {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: SignError,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gives no random bytes: {0}")]
    Randomness(String),
    /// Something the command needs was not said, and nothing else says it.
    #[error("{what} is not known")]
    Unknown {
        /// What is missing.
        what: &'static str,
        /// How to say it.
        fix: String,
    },
    /// A question that only a person can answer, and there is none.
    #[error("this asks before it goes on, and there is no terminal to ask at")]
    NoTerminal,
    /// The person said no.
    #[error("stopped: nothing was done")]
    Declined,
    /// Interrupted by Ctrl-C or SIGTERM.
    #[error("interrupted")]
    Interrupted,
    /// A URL that cannot be used.
    #[error("'{url}' is not a URL that can be used here: {why}")]
    Url {
        /// The text.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The coordinator could not be reached.
    #[error("no answer from the coordinator at {url}: {why}")]
    Unreachable {
        /// Where.
        url: String,
        /// What happened.
        why: String,
    },
    /// The coordinator refused.
    #[error("the coordinator refuses ({status}): {}", error.message)]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it says.
        error: Box<ApiError>,
    },
    /// The coordinator answered with something that this build cannot read.
    #[error("cannot make sense of the coordinator's answer to {path}: {why}")]
    Answer {
        /// What was asked.
        path: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// Bytes that do not match their digest.
    #[error("the bytes received are {got}, not the {want} that was asked for")]
    Digest {
        /// The digest asked for.
        want: Digest,
        /// The digest of what came.
        got: Digest,
    },
    /// The chain and the coordinator, or two arguments, disagree.
    #[error("{what}")]
    Mismatch {
        /// What differs.
        what: String,
        /// What to do.
        fix: &'static str,
    },
    /// Too little money.
    #[error("{who} holds {has} tokens and needs {needs}")]
    Poor {
        /// Whose balance.
        who: Address,
        /// The balance.
        has: String,
        /// What is needed.
        needs: String,
    },
    /// A sibling program that is not there or not of this version.
    #[error("{why}")]
    Program {
        /// What is wrong.
        why: String,
    },
    /// A program that this one started has ended, or did not say that it is ready.
    #[error("{name} {what}; its log is {}", log.display())]
    Child {
        /// Which program.
        name: String,
        /// What it did.
        what: String,
        /// Where its log lies.
        log: PathBuf,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {} s", limit.as_secs())]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// An input that does not hold what it should.
    #[error("{0}")]
    Input(String),
    /// A directory that another process is using.
    #[error("{} is in use by another fedroll process", path.display())]
    InUse {
        /// Which directory.
        path: PathBuf,
    },
}

impl CliError {
    /// A word that a program can match on.
    pub fn code(&self) -> &str {
        match self {
            Self::File { .. } => "file",
            Self::Exists { .. } => "exists",
            Self::KeyMode { .. } => "key-mode",
            Self::KeyText { .. } => "key-text",
            Self::Randomness(_) => "randomness",
            Self::Unknown { .. } => "unknown",
            Self::NoTerminal => "no-terminal",
            Self::Declined => "declined",
            Self::Interrupted => "interrupted",
            Self::Url { .. } => "url",
            Self::Unreachable { .. } => "unreachable",
            Self::Refused { error, .. } => &error.code,
            Self::Answer { .. } => "answer",
            Self::Digest { .. } => "digest",
            Self::Mismatch { .. } => "mismatch",
            Self::Poor { .. } => "poor",
            Self::Program { .. } => "program",
            Self::Child { .. } => "child",
            Self::Late { .. } => "late",
            Self::Input(_) => "input",
            Self::InUse { .. } => "in-use",
        }
    }

    /// What to do about it, if there is something to say.
    pub fn fix(&self) -> Option<String> {
        let text = match self {
            Self::Exists { path } => format!("choose another name, or move {} away first", path.display()),
            Self::KeyMode { path, .. } => format!("chmod 600 {}", path.display()),
            Self::KeyText { .. } => {
                "a key file is 64 hexadecimal characters; `fedroll key new` makes one".into()
            }
            Self::Unknown { fix, .. } => fix.clone(),
            Self::NoTerminal => "pass --yes to go on without being asked".into(),
            Self::Url { .. } => "write it as http://host:port or https://host".into(),
            Self::Unreachable { .. } => {
                "check that the coordinator runs there, or name another with --coordinator URL".into()
            }
            Self::Refused { error, .. } if !error.fix.is_empty() => error.fix.clone(),
            Self::Answer { .. } => {
                "check that a coordinator of this program's version is at that address".into()
            }
            Self::Digest { .. } => "try again; if it goes on, the coordinator's copy is damaged".into(),
            Self::Mismatch { fix, .. } => (*fix).into(),
            Self::Poor { .. } => "send it tokens of the rollup's ERC-20, or lower the job's price".into(),
            Self::Program { .. } => {
                "cargo build --workspace --bins (with --release if this one is a release build)".into()
            }
            Self::InUse { .. } => "stop the other one, or use another directory with --dir".into(),
            _ => return None,
        };
        Some(text)
    }
}

/// Names what was being done to a file when the system said no.
pub fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> CliError {
    let path = path.into();
    move |source| CliError::File { action, path, source }
}
