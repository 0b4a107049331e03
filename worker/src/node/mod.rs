//! The shell around the core: start, run, drain, stop.

pub mod cache;
pub mod clock;
pub mod data;
mod disputes;
pub mod estimate;
mod event_loop;
pub mod executor;
pub mod limits;
pub mod link;
mod log;
pub mod store;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::job::{Name, TaskData};
use protocol::quic::{Client, ClientLimits, key_file};
use protocol::sign::{EthKey, NodeKey};
use protocol::wire::message::{Abilities, DataSet, DataSets};
use tokio::sync::mpsc;

use crate::config::Config;
use crate::core::{self, Event, Keys, Worker};
use crate::error::NodeError;
use cache::{Cache, Results};
use clock::Clock;
use data::HeldShard;
use disputes::Disputes;
use event_loop::{Ended, Shell};
use executor::Executor;
use link::Links;
use store::Store;

/// A worker that is ready to run: its directory is locked, its data is loaded, its facts are read.
pub struct Node {
    shell: Shell,
    events: mpsc::Sender<Event>,
    worker: protocol::ids::WorkerId,
    /// Held as long as the node lives; the system lets go of it whatever ends the process.
    _lock: File,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("worker", &self.worker).finish_non_exhaustive()
    }
}

/// Where a worker's facts lie.
pub fn log_path(directory: &Path) -> PathBuf {
    directory.join("facts.log")
}

/// The worker's identity, made if there is none.
pub fn identity(directory: &Path) -> Result<NodeKey, NodeError> {
    create_directory(directory)?;
    Ok(NodeKey::from_seed(&*key_file::load_or_create(&directory.join("identity.key"))?))
}

/// The key by which the worker states its results to a registry of stakes, made if there is none.
pub fn signer(directory: &Path) -> Result<EthKey, NodeError> {
    create_directory(directory)?;
    let path = directory.join("signer.key");
    let secret = key_file::load_or_create(&path)?;
    EthKey::from_secret(&secret).map_err(|source| NodeError::Signer { path, source })
}

fn create_directory(directory: &Path) -> Result<(), NodeError> {
    let created = std::fs::create_dir_all(directory);
    created.map_err(|source| NodeError::Directory { path: directory.to_owned(), source })
}

fn lock(directory: &Path) -> Result<File, NodeError> {
    let failed = |source| NodeError::Directory { path: directory.to_owned(), source };
    let file = File::create(directory.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(NodeError::Locked(directory.to_owned())),
        Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}

impl Node {
    /// Opens everything that `config` names. Needs a tokio runtime with more than one thread.
    ///
    /// # Errors
    /// In words for the operator: a directory in use, a damaged log, data that cannot be read.
    pub fn open(config: Config) -> Result<Self, NodeError> {
        let directory = config.directory.clone();
        create_directory(&directory)?;
        let lock = lock(&directory)?;
        let key = Arc::new(identity(&directory)?);
        let keys = Keys { identity: identity(&directory)?, signer: signer(&directory)? };
        let worker_id = key.id();
        let (data, shard) = read_data(&config)?;
        let log = log_path(&directory);
        let loaded = store::load(&log)?;
        if loaded.torn_bytes > 0 {
            tracing::warn!(
                bytes = loaded.torn_bytes,
                "an unfinished record at the end of the log is cut off"
            );
        }
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let abilities = Abilities { slots: config.slots, cores, memory_bytes: config.memory_bytes, data };
        let worker = Worker::restore(core_config(&config, abilities), keys, jitter_seed()?, &loaded.facts)?;
        // One record in place of many, at a time when nothing waits for it.
        let store = if loaded.facts.len() > 1 {
            Store::rewrite(&log, &worker.facts())?
        } else {
            Store::open(&log, &loaded)?
        };
        let failed = |source| NodeError::Directory { path: directory.clone(), source };
        let blobs_in_use = worker.blobs_in_use();
        let cache = Arc::new(Cache::open(&directory, config.cache_bytes, &blobs_in_use).map_err(failed)?);
        let results = Results::open(&directory, &worker.results_in_use()).map_err(failed)?;
        let (events, inbox) = mpsc::channel(limits::EVENTS_MAX);
        let clock = Clock::new();
        let links =
            Links::new(Client::new(key, ClientLimits::default())?, config.coordinator, events.clone());
        let threads = config.threads;
        let held = executor::Held { sources: config.data, shard };
        let executor =
            Executor::new(cache.clone(), results.clone(), held, threads, clock.clone(), events.clone());
        let disputes = Disputes::new(cache.clone(), directory.join("disputes"), threads, events.clone());
        let shell = Shell {
            worker,
            store,
            links,
            executor,
            disputes,
            cache,
            results,
            clock,
            events: inbox,
            on_welcome: None,
        };
        Ok(Self { shell, events, worker: worker_id, _lock: lock })
    }

    /// Who this worker is.
    pub fn id(&self) -> protocol::ids::WorkerId {
        self.worker
    }

    /// Calls `ready` once the coordinator has welcomed the worker.
    pub fn on_welcome(&mut self, ready: impl FnOnce() + Send + 'static) {
        self.shell.on_welcome = Some(Box::new(ready));
    }

    /// Tells the worker things: [`Event::Leave`] is for all, the rest for tests.
    pub fn events(&self) -> mpsc::Sender<Event> {
        self.events.clone()
    }

    /// Runs until it is told to leave.
    ///
    /// # Errors
    /// The disk failed, or the worker refuses to work on the coordinator's terms.
    pub async fn run(self) -> Result<(), NodeError> {
        let Self { shell, _lock, .. } = self;
        match shell.run().await? {
            Ended::Left => Ok(()),
            Ended::Refused(reason) => Err(NodeError::Refused(reason)),
        }
    }
}

fn core_config(config: &Config, abilities: Abilities) -> core::Config {
    core::Config {
        node: config.coordinator.id(),
        payout: config.payout,
        software: software(),
        invitation: config.invitation.clone(),
        abilities,
        policy: config.policy.clone(),
        memory_estimate: estimate::memory_bytes,
        accept_changed_coordinator: config.accept_changed_coordinator,
    }
}

fn software() -> Name {
    concat!("fedroll-worker-", env!("CARGO_PKG_VERSION"))
        .parse()
        .expect("a version is made of letters a name may have")
}

/// Reads every data set once: a file that is missing or corrupt is said at the start, not in the first round. The last
/// one stays in memory.
fn read_data(config: &Config) -> Result<(DataSets, Option<HeldShard>), NodeError> {
    let (mut sets, mut last) = (Vec::new(), None);
    for source in &config.data {
        // Gone before the next one comes: never both in memory.
        drop(last.take());
        let shard = source.load()?;
        let examples = shard.dataset.len() as u64;
        tracing::info!(tag = %source.tag, examples, path = %source.path.display(), "data");
        sets.push(DataSet { tag: source.tag.clone(), examples });
        last = Some((TaskData::Local(source.tag.clone()), Arc::new(shard)));
    }
    Ok((DataSets::try_from(sets)?, last))
}

fn jitter_seed() -> Result<u64, NodeError> {
    getrandom::u64().map_err(|error| NodeError::Randomness(error.to_string()))
}
