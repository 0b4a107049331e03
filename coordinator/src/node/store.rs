//! Facts on disk, in order; the only file that names sled.
//!
//! Two faults of sled 0.34 are covered here: its `flush` does not force the file to the disk on Linux (so the file is
//! synced after it), and a half-written snapshot makes it refuse to open (so such a file is removed first; it was
//! never complete, and the log it was made from is still there).

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use protocol::wire::codec;

use crate::core::Record;
use crate::error::NodeError;

/// Bytes of one record: a sealed batch is the largest.
const RECORD_BYTES_MAX: usize = 1 << 20;
/// The version of what is stored; another one is not read.
const FORMAT: &[u8] = b"fedroll-coordinator-9";

/// The log of facts. One process at a time.
#[derive(Debug)]
pub struct Store {
    db: sled::Db,
    file: File,
    next: u64,
    _lock: File,
}

impl Store {
    /// Opens the store in `dir`, making it if it is not there, and reads every fact back.
    pub fn open(dir: &Path) -> Result<(Self, Vec<Record>), NodeError> {
        let failed = |what: &'static str| move |source| NodeError::Disk { what, source };
        fs::create_dir_all(dir).map_err(failed("making the data directory"))?;
        let lock = lock(dir)?;
        let path = dir.join("db");
        remove_half_snapshots(&path).map_err(failed("cleaning the store"))?;
        let db = sled::Config::new()
            .path(&path)
            .flush_every_ms(None)
            .open()
            .map_err(|error| NodeError::Store { detail: error.to_string() })?;
        let file = File::open(path.join("db")).map_err(failed("opening the store's file"))?;
        let store_error = |error: sled::Error| NodeError::Store { detail: error.to_string() };
        match db.get(b"format").map_err(store_error)? {
            None => {
                db.insert(b"format", FORMAT).map_err(store_error)?;
            }
            Some(found) if found == FORMAT => {}
            Some(found) => {
                let found = String::from_utf8_lossy(&found).into_owned();
                return Err(NodeError::Store {
                    detail: format!("it is in format '{found}', written by another version"),
                });
            }
        }
        let facts = db.open_tree("facts").map_err(store_error)?;
        let mut records = Vec::new();
        for entry in facts.iter() {
            let (key, value) = entry.map_err(store_error)?;
            if key.as_ref() != (records.len() as u64).to_be_bytes() {
                return Err(NodeError::Store { detail: format!("fact {} is missing", records.len()) });
            }
            let record = codec::decode_within(&value, RECORD_BYTES_MAX).map_err(|error| {
                NodeError::Store { detail: format!("fact {} cannot be read: {error}", records.len()) }
            })?;
            records.push(record);
        }
        let store = Self { db, file, next: records.len() as u64, _lock: lock };
        Ok((store, records))
    }

    /// Appends facts and returns once they would survive a power cut. All of them survive, or none.
    pub fn append<'a>(&mut self, records: impl IntoIterator<Item = &'a Record>) -> Result<(), NodeError> {
        let store_error = |error| match error {
            // sled wraps what the system said into a debug text; the kind says it in words.
            sled::Error::Io(source) => NodeError::Full { source: source.kind().into() },
            other => NodeError::Store { detail: other.to_string() },
        };
        let mut batch = sled::Batch::default();
        let mut next = self.next;
        for record in records {
            batch.insert(&next.to_be_bytes(), codec::encode(record));
            next += 1;
        }
        if next == self.next {
            return Ok(());
        }
        self.db.open_tree("facts").map_err(store_error)?.apply_batch(batch).map_err(store_error)?;
        self.db.flush().map_err(store_error)?;
        self.file.sync_data().map_err(|source| NodeError::Full { source })?;
        self.next = next;
        Ok(())
    }
}

fn lock(dir: &Path) -> Result<File, NodeError> {
    let path = dir.join("lock");
    let file =
        File::create(&path).map_err(|source| NodeError::Disk { what: "making the lock file", source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(NodeError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => {
            Err(NodeError::Disk { what: "locking the data directory", source })
        }
    }
}

fn remove_half_snapshots(path: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path: PathBuf = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use protocol::ids::BatchId;
    use protocol::time::Millis;

    use super::*;
    use crate::core::Fact;

    fn record(number: u64) -> Record {
        Record { at: Millis(number), fact: Fact::Final { number: BatchId(number) } }
    }

    /// sled's threads hold its lock for a moment after it is dropped, as no process does after its end.
    fn reopen(dir: &Path) -> Vec<Record> {
        loop {
            match Store::open(dir) {
                Err(NodeError::Store { detail }) if detail.contains("WouldBlock") => std::thread::yield_now(),
                opened => return opened.unwrap().1,
            }
        }
    }

    #[test]
    fn facts_come_back_in_order_after_a_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, records) = Store::open(dir.path()).unwrap();
        assert!(records.is_empty());
        store.append(&[record(0), record(1)]).unwrap();
        store.append(&[record(2)]).unwrap();
        drop(store);
        assert_eq!(reopen(dir.path()), [record(0), record(1), record(2)]);
    }

    #[test]
    fn a_second_coordinator_is_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Store::open(dir.path()).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(matches!(error, NodeError::InUse { .. }), "{error}");
    }

    #[test]
    fn a_half_written_snapshot_does_not_keep_it_from_opening() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(dir.path()).unwrap();
        store.append(&[record(0)]).unwrap();
        drop(store);
        fs::write(dir.path().join("db/snap.0000000000000ABC.generating"), b"half").unwrap();
        assert_eq!(reopen(dir.path()).len(), 1);
    }
}
