//! TOML and flags to a checked configuration; flag over file over default.

mod text;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use protocol::amount::Amount;
use protocol::ids::{Address, JobId};
use protocol::job::Name;
use protocol::limits::TAGS_MAX;
use protocol::wire::address::CoordinatorAddress;
use serde::Deserialize;

pub use text::{ByteSize, DataFlag, HoursText, TextError};

use crate::args::RunArgs;
use crate::core::{ModelName, Policy};
use crate::node::data::DataSource;
use models::kernels::pool::{THREADS_MAX, cores};

/// Bytes of a configuration file.
const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Tasks a worker may run at once.
const SLOTS_MAX: u32 = 64;
/// Bytes of memory without a limit given: what a small board has.
const MEMORY_BYTES: u64 = 1 << 30;
/// Bytes of models kept on disk without a limit given.
const CACHE_BYTES: u64 = 2 << 30;

/// What a worker runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its directory.
    pub directory: PathBuf,
    /// Its coordinator.
    pub coordinator: CoordinatorAddress,
    /// Where its earnings go.
    pub payout: Address,
    /// Shown to be let in.
    pub invitation: Option<Name>,
    /// Its examples, by tag.
    pub data: Vec<DataSource>,
    /// Tasks at once.
    pub slots: u32,
    /// Threads of each.
    pub threads: usize,
    /// Bytes of memory it stays within.
    pub memory_bytes: u64,
    /// Bytes of models it keeps on disk.
    pub cache_bytes: u64,
    /// What it takes.
    pub policy: Policy,
    /// Whether a changed coordinator is accepted.
    pub accept_changed_coordinator: bool,
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what it should be; the message shows the line.
    #[error("{}: {source}", .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where, and what.
        source: Box<toml::de::Error>,
    },
    /// Given neither as a flag nor in the file.
    #[error("{flag} is missing: give the flag, or '{key}' in the configuration file")]
    Missing {
        /// The flag.
        flag: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A number outside its range.
    #[error("{key} is {got}; it must lie between {least} and {most}")]
    Range {
        /// The key.
        key: &'static str,
        /// What it is.
        got: u64,
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// A data set given twice, or too many.
    #[error("{0}")]
    Data(String),
    /// The invitation is no invitation.
    #[error("{}: {source}", .path.display())]
    Invitation {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: protocol::job::NameError,
    },
}

/// The configuration file, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    dir: Option<PathBuf>,
    coordinator: Option<CoordinatorAddress>,
    #[serde(deserialize_with = "text::optional")]
    payout: Option<Address>,
    invitation_file: Option<PathBuf>,
    slots: Option<u32>,
    threads: Option<u32>,
    memory_limit: Option<ByteSize>,
    cache_limit: Option<ByteSize>,
    data: Vec<DataTable>,
    take: Take,
}

/// One `[[data]]` table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DataTable {
    tag: Name,
    path: PathBuf,
    /// What CSV inputs are divided by.
    divisor: Option<u32>,
}

/// The `[take]` table: which tasks are taken.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Take {
    #[serde(deserialize_with = "text::optional")]
    price_per_update_min: Option<Amount>,
    #[serde(deserialize_with = "text::optional")]
    price_per_item_min: Option<Amount>,
    jobs: Option<BTreeSet<u32>>,
    jobs_never: BTreeSet<u32>,
    models: Option<BTreeSet<ModelName>>,
    hours: Option<HoursText>,
}

impl Config {
    /// Flags over the file over defaults.
    ///
    /// # Errors
    /// [`ConfigError`], with the line where the file is wrong.
    pub fn load(args: RunArgs) -> Result<Self, ConfigError> {
        let file = args.config.as_deref().map(read_file).transpose()?.unwrap_or_default();
        let missing = |flag, key| ConfigError::Missing { flag, key };
        let invitation_file = args.invitation_file.or(file.invitation_file);
        let slots = within("slots", args.slots.or(file.slots).unwrap_or(1), SLOTS_MAX)?;
        let threads = args.threads.or(file.threads).map_or_else(
            || Ok((cores() / slots as usize).max(1)),
            |threads| within("threads", threads, THREADS_MAX as u32).map(|threads| threads as usize),
        )?;
        Ok(Self {
            directory: args.dir.or(file.dir).ok_or(missing("--dir", "dir"))?,
            coordinator: args
                .coordinator
                .or(file.coordinator)
                .ok_or(missing("--coordinator", "coordinator"))?,
            payout: args.payout.or(file.payout).ok_or(missing("--payout", "payout"))?,
            invitation: invitation_file.as_deref().map(read_invitation).transpose()?,
            data: data_sources(args.data, file.data)?,
            slots,
            threads,
            memory_bytes: args.memory_limit.or(file.memory_limit).map_or(MEMORY_BYTES, |size| size.0),
            cache_bytes: args.cache_limit.or(file.cache_limit).map_or(CACHE_BYTES, |size| size.0),
            policy: policy(file.take),
            accept_changed_coordinator: args.accept_changed_coordinator,
        })
    }
}

fn within(key: &'static str, got: u32, most: u32) -> Result<u32, ConfigError> {
    let (least, most) = (1, u64::from(most));
    let range = ConfigError::Range { key, got: got.into(), least, most };
    if (least..=most).contains(&got.into()) { Ok(got) } else { Err(range) }
}

fn read_file(path: &Path) -> Result<File, ConfigError> {
    let bytes = crate::node::store::read_within(path, CONFIG_BYTES_MAX);
    let text = bytes.and_then(|bytes| {
        String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    });
    let text = text.map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let mut file: File = toml::from_str(&text)
        .map_err(|error| ConfigError::Parse { path: path.to_owned(), source: Box::new(error) })?;
    // Paths in a file are meant from where the file is, wherever the worker is started.
    let base = path.parent().unwrap_or(Path::new(""));
    for relative in [&mut file.dir, &mut file.invitation_file].into_iter().flatten() {
        *relative = base.join(&*relative);
    }
    for table in &mut file.data {
        table.path = base.join(&table.path);
    }
    Ok(file)
}

fn read_invitation(path: &Path) -> Result<Name, ConfigError> {
    let bytes = crate::node::store::read_within(path, CONFIG_BYTES_MAX)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    Name::try_from(text).map_err(|source| ConfigError::Invitation { path: path.to_owned(), source })
}

/// Any `--data` replaces the file's tables.
fn data_sources(flags: Vec<DataFlag>, tables: Vec<DataTable>) -> Result<Vec<DataSource>, ConfigError> {
    const BYTE: u32 = 255;
    let flags = flags.into_iter().map(|flag| DataSource { tag: flag.tag, path: flag.path, divisor: BYTE });
    let tables = tables.into_iter().map(|table| {
        let divisor = table.divisor.unwrap_or(BYTE).max(1);
        DataSource { tag: table.tag, path: table.path, divisor }
    });
    let sources: Vec<DataSource> = if flags.len() > 0 { flags.collect() } else { tables.collect() };
    if sources.len() > TAGS_MAX {
        return Err(ConfigError::Data(format!(
            "{} data sets are over the limit of {TAGS_MAX}",
            sources.len()
        )));
    }
    let mut tags = BTreeSet::new();
    match sources.iter().find(|source| !tags.insert(&source.tag)) {
        Some(twice) => Err(ConfigError::Data(format!("the data tag '{}' is given twice", twice.tag))),
        None => Ok(sources),
    }
}

fn policy(take: Take) -> Policy {
    let units = |amount: Option<Amount>| {
        amount.map_or(0, |amount| u64::try_from(amount.as_units()).unwrap_or(u64::MAX))
    };
    let jobs = |jobs: BTreeSet<u32>| jobs.into_iter().map(JobId).collect();
    Policy {
        price_per_update_min: units(take.price_per_update_min),
        price_per_item_min: units(take.price_per_item_min),
        jobs_allowed: take.jobs.map(jobs),
        jobs_denied: jobs(take.jobs_never),
        models_allowed: take.models,
        hours: take.hours.map(|hours| hours.0),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn load(arguments: &[&str], file: &str) -> Result<Config, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("worker.toml");
        std::fs::write(&path, file).unwrap();
        std::fs::write(directory.path().join("invitation.txt"), "let-me-in\n").unwrap();
        let path = path.to_str().unwrap();
        let cli = Cli::parse_from([&["fedroll-worker", "run", "--config", path], arguments].concat());
        let Command::Run(args) = cli.command else { panic!() };
        Config::load(*args)
    }

    const EXAMPLE: &str = include_str!("../worker.example.toml");

    #[test]
    fn the_example_is_right_and_its_paths_start_at_the_file() {
        let config = load(&[], EXAMPLE).unwrap();
        assert!(config.directory.is_absolute() && config.directory.ends_with("worker-data"));
        assert_eq!(config.data.len(), 1);
        assert_eq!(config.memory_bytes, 512_000_000);
        assert!(config.policy.hours.is_some());
    }

    #[test]
    fn every_line_that_the_example_comments_out_is_right_too() {
        let all: Vec<&str> = EXAMPLE.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line)).collect();
        let config = load(&[], &all.join("\n")).unwrap();
        assert_eq!(config.policy.jobs_denied, BTreeSet::from([JobId(13)]));
        assert_eq!(config.policy.price_per_item_min, 10);
        assert_eq!(config.data.len(), 2);
        assert_eq!(config.invitation.unwrap().as_str(), "let-me-in");
    }

    #[test]
    fn flags_win() {
        let other = format!("0x{}@[::1]:9", "ab".repeat(32));
        let config =
            load(&["--coordinator", &other, "--slots", "3", "--data", "a=x", "--data", "b=y"], EXAMPLE);
        let config = config.unwrap();
        assert_eq!(config.coordinator.to_string(), other);
        assert_eq!((config.slots, config.data.len()), (3, 2));
    }

    #[test]
    fn a_task_has_the_cores_that_other_slots_leave_it() {
        let threads = |arguments: &[&str], setting: &str| {
            load(arguments, &EXAMPLE.replace("slots = 1", setting)).map(|config| config.threads)
        };
        assert_eq!(threads(&[], "slots = 1").unwrap(), cores());
        assert_eq!(threads(&[], "slots = 64").unwrap(), (cores() / 64).max(1));
        assert_eq!(threads(&[], "slots = 2\nthreads = 3").unwrap(), 3);
        assert_eq!(threads(&["--threads", "5"], "threads = 3").unwrap(), 5);
        for wrong in ["threads = 0", "threads = 257"] {
            let error = threads(&[], wrong).unwrap_err().to_string();
            assert!(error.contains("threads is") && error.contains("between 1 and 256"), "{error}");
        }
    }

    #[test]
    fn mistakes_are_shown_with_their_line() {
        let cases = [
            ("slots = 1\nslot = 2\n", "line 2", "unknown field `slot`"),
            ("\n[take]\nhours = \"25:00-06:00+00:00\"\n", "line 3", "22:00-06:00+01:00"),
            ("memory_limit = \"lots\"\n", "line 1", "512MB"),
            ("payout = \"0x12\"\n", "line 1", "40 hexadecimal characters"),
            ("[take]\nmodels = [\"gpt9\"]\n", "line 2", "unknown variant `gpt9`"),
            ("[take]\nprice_per_update_min = \"-1\"\n", "line 2", "-1"),
            ("[[data]]\ntag = \"a b\"\npath = \"x\"\n", "line 2", "not a name"),
        ];
        for (text, line, words) in cases {
            let error = load(&[], text).unwrap_err().to_string();
            assert!(error.contains(line) && error.contains(words), "{error}");
        }
        let error = load(&[], "slots = 1\n").unwrap_err().to_string();
        assert!(error.contains("--dir is missing"), "{error}");
        let error = load(&["--slots", "0"], EXAMPLE).unwrap_err().to_string();
        assert!(error.contains("between 1 and 64"), "{error}");
        let error = load(&["--data", "a=x", "--data", "a=y"], EXAMPLE).unwrap_err().to_string();
        assert!(error.contains("'a' is given twice"), "{error}");
    }
}
