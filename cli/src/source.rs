//! Where evidence, and what it takes to run a task again, come from, and where they are kept: a coordinator, or a
//! mirror.
//!
//! A mirror is a directory in which everything lies under the paths that a coordinator serves it by: any server of
//! plain files makes it a source for others. Who keeps it is not trusted: what it shows is checked as a coordinator's
//! is.

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use protocol::api::{DisputeList, Evidence, RoundWork, SettlementWork};
use protocol::hash::Digest;
use protocol::ids::{BatchId, JobId, SpecHash};
use protocol::job::JobSpec;
use protocol::ledger::PostedBatch;
use protocol::limits::{BLOB_BYTES_MAX, SPEC_BYTES_MAX};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::error::{CliError, file};
use crate::files;

/// Bytes of one JSON document: as much as is taken from a coordinator.
const JSON_BYTES_MAX: u64 = 64 << 20;

/// Somebody who shows evidence.
#[derive(Debug)]
pub enum Source {
    /// A coordinator's API, or a mirror's server.
    Http(Client),
    /// A mirror on this machine.
    Mirror(PathBuf),
}

impl Source {
    /// A URL, or else a directory that exists.
    pub fn open(text: &str) -> Result<Self, CliError> {
        if text.contains("://") {
            return Client::new(text).map(Self::Http);
        }
        let path = Path::new(text);
        std::fs::read_dir(path).map_err(file("read", path))?;
        Ok(Self::Mirror(path.to_owned()))
    }

    /// What it shows for a batch.
    pub async fn evidence(&self, batch: BatchId) -> Result<Evidence, CliError> {
        self.json(&evidence_path(batch)).await
    }

    /// The accepted tasks of a settlement.
    pub async fn settlement_work(&self, job: JobId, settlement: u32) -> Result<SettlementWork, CliError> {
        let shown: SettlementWork = self.json(&work_path(job, settlement)).await?;
        let about = (shown.job, shown.settlement) == (job, settlement);
        let about = about
            && shown.tasks.iter().all(|task| (task.task.job, task.task.settlement) == (job, settlement));
        if about {
            Ok(shown)
        } else {
            Err(wrong(&work_path(job, settlement), "it is about another settlement"))
        }
    }

    /// What a round's model was made of; rounds count from 0.
    pub async fn round(&self, job: JobId, round: u32) -> Result<RoundWork, CliError> {
        let shown: RoundWork = self.json(&round_path(job, round)).await?;
        let about = (shown.job, shown.round) == (job, round);
        if about { Ok(shown) } else { Err(wrong(&round_path(job, round), "it is about another round")) }
    }

    /// What was said in the disputes over a job's tasks.
    pub async fn disputes(&self, job: JobId) -> Result<DisputeList, CliError> {
        let shown: DisputeList = self.json(&disputes_path(job)).await?;
        let about = shown.job == job && shown.disputes.iter().all(|one| one.claim.task.job == job);
        if about { Ok(shown) } else { Err(wrong(&disputes_path(job), "it is about another job")) }
    }

    /// A job's spec; its hash is checked.
    pub async fn spec(&self, hash: SpecHash) -> Result<JobSpec, CliError> {
        let directory = match self {
            Self::Http(client) => return client.spec(hash).await,
            Self::Mirror(directory) => directory,
        };
        let path = directory.join(spec_path(hash));
        let bytes = read(&path, SPEC_BYTES_MAX as u64)?;
        let spec: JobSpec = protocol::wire::codec::decode_within(&bytes, SPEC_BYTES_MAX)
            .map_err(|error| wrong(&path.display().to_string(), &error.to_string()))?;
        match spec.hash() {
            got if got == hash => Ok(spec),
            got => Err(wrong(&path.display().to_string(), &format!("it is the spec {got}"))),
        }
    }

    /// A blob; its digest is checked. In memory: at most a gigabyte from a coordinator.
    pub async fn blob(&self, digest: Digest) -> Result<Vec<u8>, CliError> {
        let directory = match self {
            Self::Http(client) => return client.blob(digest).await,
            Self::Mirror(directory) => directory,
        };
        let bytes = read(&directory.join(blob_path(digest)), BLOB_BYTES_MAX)?;
        match Digest::of(&bytes) {
            got if got == digest => Ok(bytes),
            got => Err(CliError::Digest { want: digest, got }),
        }
    }

    async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        match self {
            Self::Http(client) => client.json(&format!("/{path}")).await,
            Self::Mirror(directory) => {
                let path = directory.join(path);
                let bytes = read(&path, JSON_BYTES_MAX)?;
                serde_json::from_slice(&bytes)
                    .map_err(|error| wrong(&path.display().to_string(), &error.to_string()))
            }
        }
    }
}

fn evidence_path(batch: BatchId) -> String {
    format!("v1/batches/{batch}/evidence")
}

fn work_path(job: JobId, settlement: u32) -> String {
    format!("v1/jobs/{job}/settlements/{settlement}/work")
}

fn round_path(job: JobId, round: u32) -> String {
    format!("v1/jobs/{job}/rounds/{round}")
}

fn disputes_path(job: JobId) -> String {
    format!("v1/jobs/{job}/disputes")
}

fn spec_path(hash: SpecHash) -> String {
    format!("v1/specs/{hash}")
}

fn blob_path(digest: Digest) -> String {
    format!("v1/blobs/{digest}")
}

/// A mirror to keep things in, over what was there.
#[derive(Clone, Copy, Debug)]
pub struct Mirror<'a>(pub &'a Path);

impl Mirror<'_> {
    /// Keeps a batch's evidence.
    pub fn keep_evidence(self, batch: BatchId, evidence: &Evidence) -> Result<(), CliError> {
        self.keep_json(&evidence_path(batch), evidence)
    }

    /// Keeps the accepted tasks of a settlement.
    pub fn keep_work(self, work: &SettlementWork) -> Result<(), CliError> {
        self.keep_json(&work_path(work.job, work.settlement), work)
    }

    /// Keeps what a round's model was made of.
    pub fn keep_round(self, round: &RoundWork) -> Result<(), CliError> {
        self.keep_json(&round_path(round.job, round.round), round)
    }

    /// Keeps what was said in the disputes over a job's tasks.
    pub fn keep_disputes(self, disputes: &DisputeList) -> Result<(), CliError> {
        self.keep_json(&disputes_path(disputes.job), disputes)
    }

    /// Keeps a spec.
    pub fn keep_spec(self, spec: &JobSpec) -> Result<(), CliError> {
        self.keep(&spec_path(spec.hash()), &spec.canonical_bytes())
    }

    /// Keeps a blob, unless it is there.
    pub fn keep_blob(self, digest: Digest, bytes: &[u8]) -> Result<(), CliError> {
        let path = blob_path(digest);
        if self.0.join(&path).exists() { Ok(()) } else { self.keep(&path, bytes) }
    }

    /// Keeps a batch's blobs, which the base layer forgets after some 18 days, where `--blobs DIR/blobs` finds them.
    pub fn keep_batch_blobs(self, posted: &PostedBatch) -> Result<(), CliError> {
        let Some(blobs) = &posted.blobs else { return Ok(()) };
        for (hash, blob) in blobs.hashes.iter().zip(&blobs.blobs) {
            let path = format!("blobs/{hash}");
            if !self.0.join(&path).exists() {
                self.keep(&path, blob.bytes())?;
            }
        }
        Ok(())
    }

    fn keep_json(self, path: &str, document: &impl Serialize) -> Result<(), CliError> {
        self.keep(path, &serde_json::to_vec(document).expect("the API's shapes are plain data"))
    }

    fn keep(self, path: &str, bytes: &[u8]) -> Result<(), CliError> {
        let path = self.0.join(path);
        files::make_dir(files::parent(&path))?;
        files::write(&path, bytes)
    }
}

fn wrong(path: &str, why: &str) -> CliError {
    CliError::Answer { path: path.to_owned(), why: why.to_owned() }
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, CliError> {
    let shown = path.display().to_string();
    let opened = match std::fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(wrong(&shown, "the mirror does not have it"));
        }
        opened => opened.map_err(file("read", path))?,
    };
    let mut bytes = Vec::new();
    opened.take(bytes_max + 1).read_to_end(&mut bytes).map_err(file("read", path))?;
    if bytes.len() as u64 > bytes_max {
        return Err(wrong(&shown, &format!("it is longer than {bytes_max} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use protocol::api::SCHEMA;

    use super::*;

    #[tokio::test]
    async fn what_is_kept_is_shown_again_and_what_is_not_is_missed_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let evidence = Evidence { schema: SCHEMA, credits: Vec::new() };
        Mirror(dir.path()).keep_evidence(BatchId(3), &evidence).unwrap();
        let mirror = Source::open(dir.path().to_str().unwrap()).unwrap();
        assert_eq!(mirror.evidence(BatchId(3)).await.unwrap(), evidence);
        let error = mirror.evidence(BatchId(4)).await.unwrap_err();
        assert!(error.to_string().contains("the mirror does not have it"), "{error}");
        std::fs::write(dir.path().join(evidence_path(BatchId(3))), "{").unwrap();
        assert!(matches!(mirror.evidence(BatchId(3)).await, Err(CliError::Answer { .. })));
        assert!(Source::open("/nowhere/at/all").is_err());
        assert!(matches!(Source::open("http://127.0.0.1:9"), Ok(Source::Http(_))));
    }

    #[tokio::test]
    async fn a_blob_and_a_round_that_are_something_else_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"right");
        Mirror(dir.path()).keep_blob(digest, b"right").unwrap();
        let mirror = Source::open(dir.path().to_str().unwrap()).unwrap();
        assert_eq!(mirror.blob(digest).await.unwrap(), b"right");
        std::fs::write(dir.path().join(blob_path(digest)), b"wrong").unwrap();
        assert!(matches!(mirror.blob(digest).await, Err(CliError::Digest { .. })));
        let (job, spec) = (JobId(1), SpecHash([2; 32]));
        let round =
            RoundWork { schema: SCHEMA, job, spec, round: 7, base: digest, model: None, tasks: Vec::new() };
        Mirror(dir.path()).keep_round(&round).unwrap();
        assert_eq!(mirror.round(job, 7).await.unwrap(), round);
        std::fs::rename(dir.path().join(round_path(job, 7)), dir.path().join(round_path(job, 8))).unwrap();
        assert!(mirror.round(job, 8).await.unwrap_err().to_string().contains("another round"));
    }
}
