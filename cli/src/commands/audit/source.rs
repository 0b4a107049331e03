//! Where evidence comes from, and where it is kept: a coordinator, or a mirror.
//!
//! A mirror is a directory in which evidence lies under the paths that a coordinator serves it by: any server of plain
//! files makes it a source for others. Who keeps it is not trusted: what it shows is checked as a coordinator's is.

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use protocol::api::Evidence;
use protocol::ids::BatchId;
use protocol::ledger::PostedBatch;

use crate::client::Client;
use crate::error::{CliError, file};
use crate::files;

/// Bytes of a batch's evidence: as much as is taken from a coordinator.
const EVIDENCE_BYTES_MAX: u64 = 64 << 20;

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
        match self {
            Self::Http(client) => client.evidence(batch).await,
            Self::Mirror(directory) => read(&place(directory, batch)),
        }
    }
}

/// Keeps a batch's evidence in the mirror at `directory`, over what was there.
pub fn keep(directory: &Path, batch: BatchId, evidence: &Evidence) -> Result<(), CliError> {
    let path = place(directory, batch);
    files::make_dir(files::parent(&path))?;
    let bytes = serde_json::to_vec(evidence).expect("evidence is plain data");
    files::write(&path, &bytes)
}

/// Keeps a batch's blobs, which the base layer forgets after some 18 days, where `--blobs DIR/blobs` finds them.
pub fn keep_blobs(directory: &Path, posted: &PostedBatch) -> Result<(), CliError> {
    let Some(blobs) = &posted.blobs else { return Ok(()) };
    let folder = directory.join("blobs");
    files::make_dir(&folder)?;
    for (hash, blob) in blobs.hashes.iter().zip(&blobs.blobs) {
        let path = folder.join(hash.to_string());
        if !path.exists() {
            files::write(&path, blob.bytes())?;
        }
    }
    Ok(())
}

fn place(directory: &Path, batch: BatchId) -> PathBuf {
    directory.join(format!("v1/batches/{batch}/evidence"))
}

fn read(path: &Path) -> Result<Evidence, CliError> {
    let shown = path.display().to_string();
    let wrong = |why: String| CliError::Answer { path: shown.clone(), why };
    let opened = match std::fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(wrong("the mirror does not have it".to_owned()));
        }
        opened => opened.map_err(file("read", path))?,
    };
    let mut bytes = Vec::new();
    opened.take(EVIDENCE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(file("read", path))?;
    if bytes.len() as u64 > EVIDENCE_BYTES_MAX {
        return Err(wrong(format!("it is longer than {EVIDENCE_BYTES_MAX} bytes")));
    }
    serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use protocol::api::SCHEMA;

    use super::*;

    #[tokio::test]
    async fn what_is_kept_is_shown_again_and_what_is_not_is_missed_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let evidence = Evidence { schema: SCHEMA, credits: Vec::new() };
        keep(dir.path(), BatchId(3), &evidence).unwrap();
        let mirror = Source::open(dir.path().to_str().unwrap()).unwrap();
        assert_eq!(mirror.evidence(BatchId(3)).await.unwrap(), evidence);
        let error = mirror.evidence(BatchId(4)).await.unwrap_err();
        assert!(error.to_string().contains("the mirror does not have it"), "{error}");
        std::fs::write(place(dir.path(), BatchId(3)), "{").unwrap();
        assert!(matches!(mirror.evidence(BatchId(3)).await, Err(CliError::Answer { .. })));
        assert!(Source::open("/nowhere/at/all").is_err());
        assert!(matches!(Source::open("http://127.0.0.1:9"), Ok(Source::Http(_))));
    }
}
