//! The facts on disk: one append-only file in which one flush is one record.
//!
//! A record is its payload's length (4 bytes, little-endian), the first 8 bytes of blake3 over length and payload, and the
//! payload: postcard of a list of facts. A crash can leave the last record unfinished, and nothing rests on it: it is cut
//! off. A record that is wrong *before* the end is not a crash's work, and nothing is guessed about it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use protocol::wire::codec;

use super::limits::{LOG_BYTES_COMPACT, LOG_GROWTH_MAX, RECORD_BYTES_MAX};
use crate::core::Fact;

const MAGIC: &[u8; 8] = b"FRWLOG8\n";
const HEADER: usize = 12;

/// Why the facts cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused: a full disk, missing rights.
    #[error("{what} {}: {source}", .path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Not a worker's log, or of another version.
    #[error("{} is not a log of this version of fedroll-worker", .path.display())]
    Magic {
        /// The file.
        path: PathBuf,
    },
    /// A record before the last is damaged.
    #[error(
        "{} is damaged at byte {at}: it holds signed receipts and promises, so it is not thrown away. Restore it from a \
         copy, or move it away to begin anew",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damaged record begins.
        at: u64,
    },
    /// One flush over the limit.
    #[error("{bytes} bytes of records at once are over the limit of {RECORD_BYTES_MAX}")]
    TooLarge {
        /// Bytes.
        bytes: usize,
    },
}

/// The log, open for writing.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_compacted: u64,
}

/// What a log holds.
#[derive(Debug)]
pub struct Loaded {
    /// Its facts, oldest first.
    pub facts: Vec<Fact>,
    /// Bytes that are whole records.
    bytes: u64,
    /// Bytes behind them, of a flush that a crash cut off.
    pub torn_bytes: u64,
}

/// Reads a log without changing it; one that does not exist is empty.
pub fn load(path: &Path) -> Result<Loaded, StoreError> {
    let io = |what, source| StoreError::Io { what, path: path.to_owned(), source };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(io("cannot read", error)),
    };
    let Some(records) = bytes.strip_prefix(MAGIC) else {
        // Created and not yet written: the crash came within the first eight bytes.
        if MAGIC.starts_with(&bytes) {
            return Ok(Loaded { facts: Vec::new(), bytes: 0, torn_bytes: bytes.len() as u64 });
        }
        return Err(StoreError::Magic { path: path.to_owned() });
    };
    let mut facts = Vec::new();
    let mut rest = records;
    while let Some((record, after)) = next_record(rest) {
        facts.extend(record);
        rest = after;
    }
    let at = (bytes.len() - rest.len()) as u64;
    if !is_torn_tail(rest) {
        return Err(StoreError::Damaged { path: path.to_owned(), at });
    }
    Ok(Loaded { facts, bytes: at, torn_bytes: rest.len() as u64 })
}

fn next_record(bytes: &[u8]) -> Option<(Vec<Fact>, &[u8])> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let (length, sum) = header.split_at(4);
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    let (payload, after) = rest.split_at_checked(length)?;
    if checksum(payload) != sum {
        return None;
    }
    Some((codec::decode_within(payload, RECORD_BYTES_MAX).ok()?, after))
}

/// Whether what is left is one unfinished flush: no whole record lies anywhere behind its first byte, not even if its
/// length was what was damaged.
fn is_torn_tail(rest: &[u8]) -> bool {
    (1..rest.len()).all(|at| next_record(&rest[at..]).is_none())
}

fn checksum(payload: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(payload.len() as u32).to_le_bytes()).update(payload);
    let mut sum = [0; 8];
    sum.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    sum
}

fn record(facts: &[Fact]) -> Result<Vec<u8>, StoreError> {
    let payload = codec::encode(facts);
    if payload.len() > RECORD_BYTES_MAX {
        return Err(StoreError::TooLarge { bytes: payload.len() });
    }
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&checksum(&payload));
    bytes.extend_from_slice(&payload);
    Ok(bytes)
}

impl Store {
    /// Replaces whatever is at `path` by these facts, in one step that a crash cannot split, and opens it.
    pub fn rewrite(path: &Path, facts: &[Fact]) -> Result<Self, StoreError> {
        let io = |what, source| StoreError::Io { what, path: path.to_owned(), source };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(record(facts)?);
        let unfinished = path.with_extension("new");
        let written = (|| {
            let mut file = File::create(&unfinished)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&unfinished, path)?;
            sync_directory_of(path)?;
            Ok(file)
        })();
        let file = written.map_err(|error| io("cannot write", error))?;
        let length = bytes.len() as u64;
        Ok(Self { path: path.to_owned(), file, bytes: length, bytes_compacted: length })
    }

    /// Opens what [`load`] has read, and cuts off an unfinished flush.
    pub fn open(path: &Path, loaded: &Loaded) -> Result<Self, StoreError> {
        if loaded.bytes == 0 {
            return Self::rewrite(path, &[]);
        }
        let io = |what, source| StoreError::Io { what, path: path.to_owned(), source };
        let mut file = OpenOptions::new().write(true).open(path).map_err(|error| io("cannot open", error))?;
        let cut = file.set_len(loaded.bytes).and_then(|()| file.seek(SeekFrom::End(0)));
        cut.and_then(|_| file.sync_all()).map_err(|error| io("cannot mend", error))?;
        Ok(Self { path: path.to_owned(), file, bytes: loaded.bytes, bytes_compacted: 0 })
    }

    /// Makes facts durable, all or none, before it returns.
    ///
    /// # Errors
    /// Nothing may rest on them then, and nothing more can be appended.
    pub fn append(&mut self, facts: &[Fact]) -> Result<(), StoreError> {
        let bytes = record(facts)?;
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        written.map_err(|source| StoreError::Io { what: "cannot write", path: self.path.clone(), source })?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Whether the log has grown so much that it should be [rewritten](Self::rewrite).
    pub fn wants_compaction(&self) -> bool {
        self.bytes > LOG_BYTES_COMPACT && self.bytes > self.bytes_compacted.saturating_mul(LOG_GROWTH_MAX)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes a rename durable.
pub(super) fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

/// Writes `bytes` under `path` so that they are there whole, or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    sync_directory_of(path)
}

/// Reads a file of at most `bytes_max` bytes.
pub(crate) fn read_within(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is over {bytes_max} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use protocol::time::Millis;

    use super::*;

    fn fact(n: u64) -> Fact {
        Fact::Refused { at: Millis(n), reason: "no".into() }
    }

    /// A log of three flushes.
    fn log() -> (tempfile::TempDir, PathBuf, Vec<Fact>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("facts.log");
        let mut store = Store::open(&path, &load(&path).unwrap()).unwrap();
        let facts: Vec<Fact> = (0..5).map(fact).collect();
        for flush in [&facts[..1], &facts[1..4], &facts[4..]] {
            store.append(flush).unwrap();
        }
        (directory, path, facts)
    }

    #[test]
    fn facts_come_back_in_order_and_more_can_follow() {
        let (_directory, path, facts) = log();
        let loaded = load(&path).unwrap();
        assert_eq!((loaded.facts.as_slice(), loaded.torn_bytes), (facts.as_slice(), 0));
        Store::open(&path, &loaded).unwrap().append(&[fact(9)]).unwrap();
        assert_eq!(load(&path).unwrap().facts.len(), 6);
    }

    #[test]
    fn a_flush_cut_off_anywhere_is_gone_and_the_ones_before_are_not() {
        let (_directory, path, facts) = log();
        let whole = std::fs::read(&path).unwrap();
        let mut seen = Vec::new();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let loaded = load(&path).unwrap();
            assert!(facts.starts_with(&loaded.facts), "{length}");
            let mut store = Store::open(&path, &loaded).unwrap();
            store.append(&[fact(77)]).unwrap();
            let again = load(&path).unwrap();
            assert_eq!(again.facts.len(), loaded.facts.len() + 1, "{length}");
            seen.push(loaded.facts.len());
        }
        seen.dedup();
        assert_eq!(seen, [0, 1, 4]);
    }

    #[test]
    fn garbage_in_the_last_flush_is_a_crash_and_in_an_earlier_one_is_not() {
        let (_directory, path, facts) = log();
        let whole = std::fs::read(&path).unwrap();
        let mut bad = whole.clone();
        *bad.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &bad).unwrap();
        assert_eq!(load(&path).unwrap().facts, facts[..4]);
        // The first flush with facts begins behind the empty one that a new log opens with.
        let first = MAGIC.len() + HEADER + 1;
        for at in first..first + HEADER + 6 {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(matches!(load(&path), Err(StoreError::Damaged { .. })), "{at}");
        }
        std::fs::write(&path, b"something else").unwrap();
        assert!(matches!(load(&path), Err(StoreError::Magic { .. })));
    }

    #[test]
    fn a_rewrite_replaces_everything() {
        let (_directory, path, facts) = log();
        Store::rewrite(&path, &facts[..2]).unwrap().append(&facts[2..3]).unwrap();
        assert_eq!(load(&path).unwrap().facts, facts[..3]);
    }
}
