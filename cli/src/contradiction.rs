//! Two results that one signer signed for one task, in a file: what `audit --evidence` writes and `chain stake prove`
//! takes.

use std::path::Path;

use protocol::api::text;
use protocol::hash::Digest;
use protocol::ids::{Address, JobId, Nonce};
use protocol::job::{Equivocation, TaskResult};
use protocol::sign::EthSignature;
use protocol::sign::eip712::Domain;
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::{files, hex};

/// The version of the file.
const VERSION: u32 = 1;
/// Bytes of the file.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// The file: two statements about one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contradiction {
    version: u32,
    chain_id: u64,
    #[serde(with = "text")]
    registry: Address,
    #[serde(with = "text")]
    job: JobId,
    settlement: u32,
    #[serde(with = "text")]
    nonce: Nonce,
    results: [Statement; 2],
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    #[serde(with = "text")]
    result: Digest,
    /// `r ‖ s ‖ v` in hexadecimal.
    signature: String,
}

impl Contradiction {
    /// For writing down.
    pub fn new(registry: &Domain, found: &Equivocation) -> Self {
        let statement = |result, signature: EthSignature| Statement {
            result,
            signature: hex::encode(&signature.to_bytes()),
        };
        Self {
            version: VERSION,
            chain_id: registry.chain_id,
            registry: registry.contract,
            job: found.first.job,
            settlement: found.first.settlement,
            nonce: found.first.nonce,
            results: [
                statement(found.first.result, found.first_signature),
                statement(found.second, found.second_signature),
            ],
        }
    }

    /// Writes it.
    pub fn write(&self, path: &Path) -> Result<(), CliError> {
        let json = serde_json::to_string_pretty(self).map_err(|error| CliError::Input(error.to_string()))?;
        files::write(path, format!("{json}\n").as_bytes())
    }

    /// Reads one for this registry, checks both signatures and says whose they are.
    pub fn read(path: &Path, registry: &Domain) -> Result<(Equivocation, Address), CliError> {
        let wrong = |why: String| CliError::Input(format!("{}: {why}", path.display()));
        let bytes = files::read(path, FILE_BYTES_MAX)?;
        let file: Self = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        if file.version != VERSION {
            return Err(wrong(format!("version {} is not one that this build reads", file.version)));
        }
        if (file.chain_id, file.registry) != (registry.chain_id, registry.contract) {
            let why = format!(
                "it is for the registry {} on chain {}, not {} on chain {}",
                file.registry, file.chain_id, registry.contract, registry.chain_id
            );
            return Err(wrong(why));
        }
        let statement = |statement: &Statement| {
            let bytes =
                hex::decode(&statement.signature, 65).and_then(|bytes| <[u8; 65]>::try_from(bytes).ok());
            let signature =
                bytes.ok_or_else(|| wrong("a signature is not 65 bytes of hexadecimal text".into()))?;
            let (job, settlement, nonce) = (file.job, file.settlement, file.nonce);
            let result = TaskResult { job, settlement, nonce, result: statement.result };
            Ok((result, EthSignature::from_bytes(&signature)))
        };
        let (first, second) = (statement(&file.results[0])?, statement(&file.results[1])?);
        Equivocation::new(registry, first, second).map_err(|error| wrong(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use protocol::sign::EthKey;

    use super::*;

    #[test]
    fn what_was_written_is_read_back_for_its_registry_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("contradiction.json");
        let registry = Domain { chain_id: 31337, contract: Address([3; 20]) };
        let key = EthKey::from_secret(&[5; 32]).unwrap();
        let first =
            TaskResult { job: JobId(7), settlement: 3, nonce: Nonce([1; 32]), result: Digest([2; 32]) };
        let second = TaskResult { result: Digest([9; 32]), ..first };
        let signed = |result: TaskResult| (result, result.sign(&registry, &key));
        let (found, _) = Equivocation::new(&registry, signed(first), signed(second)).unwrap();
        let written = Contradiction::new(&registry, &found);
        written.write(&path).unwrap();
        assert_eq!(Contradiction::read(&path, &registry).unwrap(), (found, key.address()));
        let elsewhere = Domain { chain_id: 1, ..registry };
        assert!(Contradiction::read(&path, &elsewhere).unwrap_err().to_string().contains("on chain 1"));

        let mut same = written.clone();
        same.results[1] = same.results[0].clone();
        same.write(&path).unwrap();
        assert!(Contradiction::read(&path, &registry).unwrap_err().to_string().contains("the same result"));
        let mut short = written;
        short.results[1].signature.pop();
        short.write(&path).unwrap();
        assert!(Contradiction::read(&path, &registry).unwrap_err().to_string().contains("65 bytes"));
        files::write(&path, b"{}").unwrap();
        assert!(matches!(Contradiction::read(&path, &registry), Err(CliError::Input(_))));
    }
}
