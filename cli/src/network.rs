//! Which chain, rollup, coordinator and key a command works with: a flag, over a variable (both by clap),
//! over the network directory that `fedroll up` made.

use std::path::{Path, PathBuf};

use contracts::rpc::BlobSource;
use protocol::ids::Address;
use protocol::sign::EthKey;
use serde::{Deserialize, Serialize};

use crate::args::{CoordinatorArgs, KeyArgs, NetworkArgs};
use crate::client::Client;
use crate::error::CliError;
use crate::{files, keys};

/// The network directory that is looked for when none is named.
const DEFAULT_DIR: &str = ".fedroll";
/// The file in it.
const FILE: &str = "network.toml";
/// The version of that file.
const VERSION: u32 = 1;
/// Bytes of that file.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What a network directory says. Paths in it are relative to the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkFile {
    /// [`VERSION`].
    pub version: u32,
    /// The base layer's JSON-RPC.
    pub rpc: String,
    /// The `Rollup` contract.
    #[serde(with = "protocol::api::text")]
    pub rollup: Address,
    /// The `WorkerRegistry` where its workers may stake.
    #[serde(default, with = "protocol::api::text::option", skip_serializing_if = "Option::is_none")]
    pub registry: Option<Address>,
    /// The `DisputeBonds` where parties to disputes pledge.
    #[serde(default, with = "protocol::api::text::option", skip_serializing_if = "Option::is_none")]
    pub disputes: Option<Address>,
    /// The `FundingRelay` that funds its jobs by signature.
    #[serde(default, with = "protocol::api::text::option", skip_serializing_if = "Option::is_none")]
    pub relay: Option<Address>,
    /// The rollup's first block.
    pub deployed_at: u64,
    /// The coordinator's HTTP API.
    pub coordinator: String,
    /// What a worker dials.
    pub worker_address: String,
    /// The requester's key file.
    pub key_file: PathBuf,
}

impl NetworkFile {
    /// Writes it into a directory.
    pub fn write(&self, dir: &Path) -> Result<(), CliError> {
        let toml = toml::to_string(self).map_err(|error| CliError::Input(error.to_string()))?;
        let note = "# Written by `fedroll up`: how to reach the network in this directory.\n";
        files::write(&dir.join(FILE), format!("{note}{toml}").as_bytes())
    }

    /// Reads it from a directory.
    pub fn read(dir: &Path) -> Result<Self, CliError> {
        let path = dir.join(FILE);
        let bytes = files::read(&path, FILE_BYTES_MAX)?;
        let wrong = |why: String| CliError::Input(format!("{}: {why}", path.display()));
        let text = std::str::from_utf8(&bytes).map_err(|error| wrong(error.to_string()))?;
        let file: Self = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if file.version == VERSION {
            Ok(file)
        } else {
            Err(wrong(format!("version {} is not one that this build reads", file.version)))
        }
    }

    /// The version to write.
    pub const fn version() -> u32 {
        VERSION
    }
}

/// A network directory and what it says, if there is one.
#[derive(Debug, Default)]
pub struct Network {
    args: NetworkArgs,
    found: Option<(PathBuf, NetworkFile)>,
}

impl Network {
    /// Finds the network directory that is named, or the default one if it is there.
    pub fn find(args: &NetworkArgs) -> Result<Self, CliError> {
        let found = match &args.network {
            Some(dir) => Some((dir.clone(), NetworkFile::read(dir)?)),
            None => {
                let dir = PathBuf::from(DEFAULT_DIR);
                if dir.join(FILE).is_file() { Some((dir.clone(), NetworkFile::read(&dir)?)) } else { None }
            }
        };
        Ok(Self { args: args.clone(), found })
    }

    fn file(&self) -> Option<&NetworkFile> {
        self.found.as_ref().map(|(_, file)| file)
    }

    /// The base layer's JSON-RPC, if anything says it.
    pub fn rpc(&self) -> Option<String> {
        self.args.rpc.clone().or_else(|| self.file().map(|file| file.rpc.clone()))
    }

    /// The rollup, if anything says it.
    pub fn rollup(&self) -> Option<Address> {
        self.args.rollup.or_else(|| self.file().map(|file| file.rollup))
    }

    /// The worker registry, if the directory knows it.
    pub fn registry(&self) -> Option<Address> {
        self.file().and_then(|file| file.registry)
    }

    /// Where parties to disputes pledge, if the directory knows it.
    pub fn disputes(&self) -> Option<Address> {
        self.file().and_then(|file| file.disputes)
    }

    /// The funding relay, if the directory knows it.
    pub fn relay(&self) -> Option<Address> {
        self.file().and_then(|file| file.relay)
    }

    /// Chain and rollup, both of which must be known without asking a coordinator.
    pub fn base_layer(&self) -> Result<(String, Address), CliError> {
        let missing = |what, flag: &str| CliError::Unknown {
            what,
            fix: format!("name it with {flag}, or a network directory with --network DIR"),
        };
        let rpc = self.rpc().ok_or_else(|| missing("the base layer's JSON-RPC", "--rpc URL"))?;
        let rollup = self.rollup().ok_or_else(|| missing("the rollup's address", "--rollup ADDRESS"))?;
        Ok((rpc, rollup))
    }

    /// Where batches in blobs are read.
    pub fn blobs(&self) -> Result<BlobSource, CliError> {
        let source = self.args.blobs.as_deref().map(BlobSource::parse).transpose();
        Ok(source.map_err(|why| CliError::Input(format!("--blobs {why}")))?.unwrap_or_default())
    }

    /// The key to sign with.
    pub fn key(&self, args: &KeyArgs) -> Result<EthKey, CliError> {
        if let Some(path) = &args.key_file {
            return keys::read_eth(path);
        }
        let Some((dir, file)) = &self.found else {
            return Err(CliError::Unknown {
                what: "the key to sign with",
                fix: "name its file with --key-file FILE (`fedroll key new` makes one)".to_owned(),
            });
        };
        keys::read_eth(&dir.join(&file.key_file))
    }
}

/// The coordinator to ask, and the network around it.
pub fn coordinator(args: &CoordinatorArgs) -> Result<(Client, Network), CliError> {
    let network = Network::find(&args.network)?;
    let url = args.coordinator.clone().or_else(|| network.file().map(|file| file.coordinator.clone()));
    let url = url.ok_or_else(|| CliError::Unknown {
        what: "the coordinator's address",
        fix: "name it with --coordinator URL, or start a network here with `fedroll up`".to_owned(),
    })?;
    Ok((Client::new(&url)?, network))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network_file() -> NetworkFile {
        NetworkFile {
            version: VERSION,
            rpc: "http://127.0.0.1:1".to_owned(),
            rollup: Address([7; 20]),
            registry: Some(Address([8; 20])),
            disputes: Some(Address([6; 20])),
            relay: Some(Address([9; 20])),
            deployed_at: 3,
            coordinator: "http://127.0.0.1:2".to_owned(),
            worker_address: "0x00@127.0.0.1:3".to_owned(),
            key_file: "requester.key".into(),
        }
    }

    #[test]
    fn a_flag_wins_over_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        network_file().write(dir.path()).unwrap();
        let args = NetworkArgs { network: Some(dir.path().to_owned()), ..NetworkArgs::default() };
        let network = Network::find(&args).unwrap();
        assert_eq!(network.base_layer().unwrap(), ("http://127.0.0.1:1".to_owned(), Address([7; 20])));
        let args = NetworkArgs { rpc: Some("http://other".to_owned()), ..args };
        assert_eq!(Network::find(&args).unwrap().rpc().unwrap(), "http://other");
        let (client, _) = coordinator(&CoordinatorArgs { network: args, coordinator: None }).unwrap();
        assert_eq!(client.url(), "http://127.0.0.1:2");
    }

    #[test]
    fn what_nobody_said_is_asked_for_by_flag() {
        let network = Network::default();
        assert!(network.base_layer().unwrap_err().fix().unwrap().contains("--rpc"));
        assert!(network.key(&KeyArgs::default()).unwrap_err().fix().unwrap().contains("--key-file"));
    }

    #[test]
    fn a_directory_of_another_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        NetworkFile { version: 9, ..network_file() }.write(dir.path()).unwrap();
        assert!(NetworkFile::read(dir.path()).unwrap_err().to_string().contains("version 9"));
    }
}
