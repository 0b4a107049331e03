//! What the development chain must not forget: every change, in order, on disk before anyone hears of it.
//!
//! A line is `<first 16 hex digits of its record's blake3> <record as JSON>`. The last line may be cut short by a
//! crash; nobody was told of it, so it is dropped. Anything else that does not read stops the chain.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use alloy::primitives::{Address, B256, Bytes, U256};
use protocol::hash::Digest;
use serde::{Deserialize, Serialize};

use super::error::DevChainError;

/// Version of the journal's lines.
const FORMAT: u32 = 2;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Record {
    /// The first line.
    Genesis { format: u32, time: u64 },
    /// A block with one transaction.
    Transaction { time: u64, raw: Bytes, state: B256 },
    /// A block without any.
    Mine { time: u64, state: B256 },
    /// The clock was put forward for good.
    Forward { seconds: u64 },
    /// An account's ether was set, outside any transaction.
    Ether { account: Address, wei: U256 },
}

impl Record {
    pub(super) const fn genesis(time: u64) -> Self {
        Self::Genesis { format: FORMAT, time }
    }
}

/// The open journal. Its directory is locked for as long as it lives.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    length: u64,
    /// Held, not read: the operating system releases it when the process ends, however it ends.
    _lock: File,
}

impl Journal {
    /// Opens or creates the journal in `dir`, and returns what it holds, each record with its line number.
    pub(super) fn open(dir: &Path) -> Result<(Self, Vec<(usize, Record)>), DevChainError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DevChainError::File { path, source }
        };
        std::fs::create_dir_all(dir).map_err(failed(dir))?;
        let lock_path = dir.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(failed(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DevChainError::InUse { dir: dir.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(DevChainError::File { path: lock_path, source }),
        }
        let path = dir.join("journal");
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let mut journal = Self { file: file.map_err(failed(&path))?, path, length: 0, _lock: lock };
        let records = journal.read()?;
        let trimmed = journal.trim();
        trimmed.map_err(failed(&journal.path))?;
        // The directory entry of a new file must be durable too.
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed(dir))?;
        Ok((journal, records))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a record and returns once it is durable. On an error nothing was appended.
    pub(super) fn append(&mut self, record: &Record) -> io::Result<()> {
        let json = serde_json::to_string(record)?;
        let line = format!("{} {json}\n", check(&json));
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.length += line.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Half a line in the middle would be damage: take it back. If even that fails, the next start drops it.
                let _ = self.trim();
                Err(error)
            }
        }
    }

    fn read(&mut self) -> Result<Vec<(usize, Record)>, DevChainError> {
        let mut records = Vec::new();
        let mut reader = BufReader::new(&self.file);
        let mut text = Vec::new();
        for line in 1.. {
            text.clear();
            let read = reader.read_until(b'\n', &mut text);
            let read = read.map_err(|source| DevChainError::File { path: self.path.clone(), source })?;
            if read == 0 {
                break;
            }
            match parse(&text) {
                Ok(record) => {
                    records.push((line, record));
                    self.length += read as u64;
                }
                Err(detail) => {
                    let last = reader.fill_buf().is_ok_and(<[u8]>::is_empty);
                    if last {
                        tracing::warn!(line, %detail, "the journal's last line is incomplete and is dropped");
                        break;
                    }
                    return Err(DevChainError::Journal { path: self.path.clone(), line, detail });
                }
            }
        }
        Ok(records)
    }

    /// Cuts the file to what was read or appended whole, and stands at its end.
    fn trim(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::End(0))?;
        self.file.sync_all()
    }
}

fn check(json: &str) -> String {
    Digest::of(json.as_bytes()).to_string()[2..18].to_owned()
}

fn parse(line: &[u8]) -> Result<Record, String> {
    let text = std::str::from_utf8(line).map_err(|_| "not text".to_owned())?;
    let text = text.strip_suffix('\n').ok_or("it does not end")?;
    let (sum, json) = text.split_once(' ').ok_or("it has no checksum")?;
    if sum != check(json) {
        return Err("its checksum does not match".into());
    }
    let record: Record = serde_json::from_str(json).map_err(|error| error.to_string())?;
    match record {
        Record::Genesis { format, .. } if format != FORMAT => {
            Err(format!("format {format}; this version reads format {FORMAT}"))
        }
        record => Ok(record),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(dir: &Path) -> Vec<Record> {
        let records = vec![
            Record::genesis(5),
            Record::Forward { seconds: 9 },
            Record::Transaction { time: 7, raw: Bytes::from_static(&[1, 2]), state: B256::repeat_byte(3) },
        ];
        let (mut journal, read) = Journal::open(dir).unwrap();
        assert!(read.is_empty());
        records.iter().for_each(|record| journal.append(record).unwrap());
        records
    }

    fn read(dir: &Path) -> Vec<Record> {
        Journal::open(dir).unwrap().1.into_iter().map(|(_, record)| record).collect()
    }

    #[test]
    fn what_was_appended_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let records = filled(dir.path());
        assert_eq!(read(dir.path()), records);
    }

    #[test]
    fn a_cut_last_line_is_dropped_at_every_length_and_writing_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let records = filled(dir.path());
        let path = dir.path().join("journal");
        let whole = std::fs::read(&path).unwrap();
        let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        for cut in last..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut journal, read_back) = Journal::open(dir.path()).unwrap();
            assert_eq!(read_back.len(), 2, "cut at {cut}");
            journal.append(&records[2]).unwrap();
            drop(journal);
            assert_eq!(read(dir.path()), records);
        }
    }

    #[test]
    fn damage_before_the_last_line_is_an_error_that_names_the_line() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let path = dir.path().join("journal");
        let text = std::fs::read_to_string(&path).unwrap().replace("\"seconds\":9", "\"seconds\":8");
        std::fs::write(&path, text).unwrap();
        let error = Journal::open(dir.path()).unwrap_err();
        assert!(matches!(error, DevChainError::Journal { line: 2, .. }), "{error}");
    }

    #[test]
    fn a_second_opening_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let _held = Journal::open(dir.path()).unwrap();
        assert!(matches!(Journal::open(dir.path()), Err(DevChainError::InUse { .. })));
    }
}
