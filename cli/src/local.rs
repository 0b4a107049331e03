//! A network on this machine: a development chain, a coordinator and workers, each a process of its own, in
//! one directory. `up` keeps it running; `demo` uses it and stops it.

mod child;
mod data;
mod setup;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::task::Poll;

use protocol::ids::{Address, WorkerId};
use serde::{Deserialize, Serialize};

use self::child::Child;
pub use self::data::{find_data, in_workspace};
use crate::args::local::Shape;
use crate::commands::program::{self, Program};
use crate::error::{CliError, file};
use crate::network::NetworkFile;
use crate::output::Output;
use crate::{files, keys};

/// Where everything of a local network lies.
#[derive(Clone, Debug)]
pub struct Places {
    root: PathBuf,
}

impl Places {
    fn worker(&self, number: u32) -> PathBuf {
        self.root.join(format!("workers/{number}"))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.root.join(format!("logs/{name}.log"))
    }

    fn operator_key(&self) -> PathBuf {
        self.root.join("operator.key")
    }

    fn requester_key(&self) -> PathBuf {
        self.root.join(REQUESTER_KEY)
    }
}

/// The requester's key file, as the network file names it.
const REQUESTER_KEY: &str = "requester.key";
/// The tag under which every worker holds its shard.
const TAG: &str = "mnist";

/// A running local network. Dropping it kills its processes; [`Local::stop`] ends them in good order.
#[derive(Debug)]
pub struct Local {
    /// How to reach it.
    pub network: NetworkFile,
    /// Its workers.
    pub workers: Vec<LocalWorker>,
    /// Examples in the workers' shards.
    pub examples: u64,
    places: Places,
    // In the order in which they are stopped.
    children: Vec<Child>,
    // Held for as long as the network runs; the system frees it when the process ends.
    _lock: File,
}

/// One worker of a local network.
#[derive(Clone, Debug, Serialize)]
pub struct LocalWorker {
    /// Who.
    #[serde(with = "protocol::api::text")]
    pub worker: WorkerId,
    /// Where its earnings go; the key lies beside it.
    #[serde(with = "protocol::api::text")]
    pub payout: Address,
    /// Its directory.
    pub dir: PathBuf,
}

/// Ports to listen at; 0 finds free ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ports {
    /// Of the coordinator's HTTP API.
    pub http: u16,
    /// Of the chain's JSON-RPC.
    pub rpc: u16,
}

/// What a coordinator says when it is ready.
#[derive(Debug, Deserialize)]
struct CoordinatorReady {
    http: String,
    worker_address: String,
}

/// What a development chain says when it is ready.
#[derive(Debug, Deserialize)]
struct ChainReady {
    rpc: String,
}

impl Local {
    /// Starts everything in `root`, or goes on where the last network in it stopped.
    pub async fn start(root: &Path, shape: &Shape, ports: Ports, out: &Output) -> anyhow::Result<Self> {
        let places = Places { root: root.to_owned() };
        for dir in ["logs", "workers"] {
            files::make_dir(&root.join(dir))?;
        }
        let lock = lock(root)?;
        let (coordinator, worker) = (Program::Coordinator.find()?, Program::Worker.find()?);
        let operator = keys::read_or_create_eth(&places.operator_key())?;
        let requester = keys::read_or_create_eth(&places.requester_key())?;
        let (workers, examples) = setup::workers(&places, shape, out)?;

        let spinner = out.spinner("starting the development chain");
        let mut arguments = words(["chain", "dev", "--format", "json", "--dir"]);
        arguments.push(root.join("chain").into());
        arguments.extend(words(["--listen", &format!("127.0.0.1:{}", ports.rpc)]));
        let (chain, ready) =
            Child::start::<ChainReady>("chain", &program::own_path()?, &arguments, &places.log("chain"))
                .await?;
        let rpc = ready.rpc;
        let deployed = setup::rollup(&rpc, root, &operator, &requester, &spinner).await?;

        spinner.set_prefix("starting the coordinator");
        let mut arguments =
            words(["--format", "json", "--listen", "127.0.0.1:0", "--rpc", &rpc, "--data-dir"]);
        arguments.push(root.join("coordinator").into());
        arguments.extend(words(["--http", &format!("127.0.0.1:{}", ports.http)]));
        arguments.extend(words(["--rollup", &deployed.rollup.to_string(), "--key-file"]));
        arguments.push(places.operator_key().into());
        if let Some(registry) = deployed.registry {
            arguments.extend(words(["--registry", &registry.to_string()]));
        }
        arguments.push("--allow".into());
        arguments.push(setup::allow_list(&places, &workers)?.into());
        let log = places.log("coordinator");
        let (coordinator, ready) =
            Child::start::<CoordinatorReady>("coordinator", &coordinator, &arguments, &log).await?;

        let network = NetworkFile {
            version: NetworkFile::version(),
            rpc,
            rollup: deployed.rollup,
            registry: deployed.registry,
            disputes: deployed.disputes,
            relay: deployed.relay,
            deployed_at: deployed.block,
            coordinator: ready.http,
            worker_address: ready.worker_address,
            key_file: REQUESTER_KEY.into(),
        };
        network.write(root)?;
        // Workers stop first and the chain last, so that each can still say goodbye to the next.
        let mut local =
            Self { network, workers, examples, places, children: vec![coordinator, chain], _lock: lock };
        spinner.set_prefix("starting the workers");
        local.start_workers(&worker).await?;
        spinner.finish_and_clear();
        Ok(local)
    }

    async fn start_workers(&mut self, program: &Path) -> anyhow::Result<()> {
        for (number, worker) in (1..).zip(&self.workers) {
            let mut arguments = words(["run", "--format", "json", "--dir"]);
            arguments.push(worker.dir.clone().into());
            arguments.extend(words(["--coordinator", &self.network.worker_address]));
            arguments.extend(words(["--payout", &worker.payout.to_string(), "--data"]));
            let mut data = std::ffi::OsString::from(format!("{TAG}="));
            data.push(data::shard_dir(&worker.dir));
            arguments.push(data);
            let name = format!("worker-{number}");
            let log = self.places.log(&name);
            let (child, _) = Child::start::<serde::de::IgnoredAny>(&name, program, &arguments, &log).await?;
            self.children.insert(0, child);
        }
        Ok(())
    }

    /// Processes and where their logs lie.
    pub fn processes(&self) -> Vec<Process> {
        let listed = self.children.iter().rev().map(|child| Process {
            name: child.name().to_owned(),
            pid: child.pid(),
            log: child.log().to_owned(),
        });
        listed.collect()
    }

    /// Ends as soon as one of the processes does, with the error that says which.
    pub async fn first_death(&mut self) -> CliError {
        let mut deaths: Vec<_> = self.children.iter_mut().map(|child| Box::pin(child.death())).collect();
        std::future::poll_fn(|context| {
            let ended = deaths.iter_mut().find_map(|death| match death.as_mut().poll(context) {
                Poll::Ready(error) => Some(error),
                Poll::Pending => None,
            });
            ended.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Ends all processes: workers, coordinator, chain, each with some time to finish.
    pub async fn stop(mut self) {
        // Those of one kind together: four workers take as long as one.
        let split = self.children.len() - 2;
        let mut rest = self.children.split_off(split);
        for worker in &self.children {
            worker.ask_to_stop();
        }
        for mut worker in self.children {
            worker.stop().await;
        }
        for child in &mut rest {
            child.stop().await;
        }
    }
}

/// A process of a local network.
#[derive(Debug, Serialize)]
pub struct Process {
    /// Its name.
    pub name: String,
    /// Its process id.
    pub pid: Option<u32>,
    /// What it writes to stderr.
    pub log: PathBuf,
}

fn words<const N: usize>(words: [&str; N]) -> Vec<std::ffi::OsString> {
    words.iter().map(|word| (*word).into()).collect()
}

fn lock(root: &Path) -> Result<File, CliError> {
    let path = root.join("lock");
    let lock = File::create(&path).map_err(file("create", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(CliError::InUse { path: root.to_owned() }),
        Err(std::fs::TryLockError::Error(error)) => Err(file("lock", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_serves_one_network_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        assert!(matches!(lock(dir.path()), Err(CliError::InUse { .. })));
        drop(first);
        assert!(lock(dir.path()).is_ok());
    }
}
