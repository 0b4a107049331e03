//! Files by content: blobs that were fetched, kept within a bound, and results that wait to be uploaded.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use protocol::hash::Digest;
use protocol::limits::BLOB_BYTES_MAX;

use super::store::{read_within, write_whole};

/// Blobs of a coordinator, in `<dir>/blobs`, the least recently used thrown away first.
#[derive(Debug)]
pub struct Cache {
    blobs: PathBuf,
    partial: PathBuf,
    bytes_max: u64,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    held: BTreeMap<Digest, Held>,
    /// Counts uses.
    uses: u64,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    bytes: u64,
    used: u64,
}

/// A file name for a digest.
fn name(digest: &Digest) -> String {
    digest.to_string().trim_start_matches("0x").to_owned()
}

fn files(directory: &Path) -> io::Result<Vec<(String, std::fs::Metadata)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            files.push((name, entry.metadata()?));
        }
    }
    Ok(files)
}

impl Cache {
    /// Opens the cache in `directory`. Blobs in use are never thrown away, so it may pass `bytes_max` by what they take;
    /// unfinished fetches of others are.
    pub fn open(directory: &Path, bytes_max: u64, in_use: &BTreeSet<Digest>) -> io::Result<Self> {
        let (blobs, partial) = (directory.join("blobs"), directory.join("partial"));
        std::fs::create_dir_all(&blobs)?;
        std::fs::create_dir_all(&partial)?;
        let wanted: BTreeSet<String> = in_use.iter().map(name).collect();
        for (file, _) in files(&partial)? {
            if !wanted.contains(&file) {
                std::fs::remove_file(partial.join(file))?;
            }
        }
        let mut index = Index::default();
        let mut found = files(&blobs)?;
        found.sort_by_key(|(file, metadata)| (metadata.modified().ok(), file.clone()));
        for (file, metadata) in found {
            match file.parse::<Digest>() {
                Ok(digest) => index.touch(digest, metadata.len()),
                Err(_) => std::fs::remove_file(blobs.join(file))?,
            }
        }
        let cache = Self { blobs, partial, bytes_max, index: Mutex::new(index) };
        cache.evict(in_use)?;
        Ok(cache)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a blob is held.
    pub fn holds(&self, digest: &Digest) -> bool {
        self.lock().held.contains_key(digest)
    }

    /// Where a blob lies, or is to lie.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.blobs.join(name(digest))
    }

    /// Where a blob grows while it is fetched.
    pub fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.partial.join(name(digest))
    }

    /// Bytes that a blob may have to fit beside those in use.
    pub fn room(&self, in_use: &BTreeSet<Digest>) -> u64 {
        let index = self.lock();
        let used: u64 =
            in_use.iter().filter_map(|digest| index.held.get(digest)).map(|held| held.bytes).sum();
        self.bytes_max.saturating_sub(used).min(BLOB_BYTES_MAX)
    }

    /// Takes up a blob that was fetched to its [path](Self::path), and throws away others if need be.
    pub fn add(&self, digest: Digest, bytes: u64, in_use: &BTreeSet<Digest>) -> io::Result<()> {
        self.lock().touch(digest, bytes);
        let mut in_use = in_use.clone();
        in_use.insert(digest);
        self.evict(&in_use)
    }

    /// Reads a blob and checks it; `None`, and it is forgotten, if it is not there as it should be.
    pub fn read(&self, digest: &Digest) -> Option<Vec<u8>> {
        let bytes = read_within(&self.path(digest), BLOB_BYTES_MAX).ok();
        match bytes.filter(|bytes| Digest::of(bytes) == *digest) {
            Some(bytes) => {
                self.lock().touch(*digest, bytes.len() as u64);
                Some(bytes)
            }
            None => {
                self.lock().held.remove(digest);
                // It may not be there at all.
                let _ = std::fs::remove_file(self.path(digest));
                None
            }
        }
    }

    fn evict(&self, in_use: &BTreeSet<Digest>) -> io::Result<()> {
        let mut index = self.lock();
        let mut bytes: u64 = index.held.values().map(|held| held.bytes).sum();
        let mut oldest: Vec<(u64, Digest)> = index
            .held
            .iter()
            .filter(|(digest, _)| !in_use.contains(*digest))
            .map(|(d, h)| (h.used, *d))
            .collect();
        oldest.sort_unstable();
        for (_, digest) in oldest {
            if bytes <= self.bytes_max {
                break;
            }
            if let Some(held) = index.held.remove(&digest) {
                bytes -= held.bytes;
                std::fs::remove_file(self.path(&digest))?;
            }
        }
        Ok(())
    }
}

impl Index {
    fn touch(&mut self, digest: Digest, bytes: u64) {
        self.uses += 1;
        let used = self.uses;
        self.held.insert(digest, Held { bytes, used });
    }
}

/// Results that were computed and not yet handed over, in `<dir>/results`.
#[derive(Clone, Debug)]
pub struct Results(PathBuf);

impl Results {
    /// Opens the directory and throws away what no task refers to.
    pub fn open(directory: &Path, in_use: &BTreeSet<Digest>) -> io::Result<Self> {
        let results = Self(directory.join("results"));
        std::fs::create_dir_all(&results.0)?;
        let wanted: BTreeSet<String> = in_use.iter().map(name).collect();
        for (file, _) in files(&results.0)? {
            if !wanted.contains(&file) {
                std::fs::remove_file(results.0.join(file))?;
            }
        }
        Ok(results)
    }

    /// Where a result lies.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.0.join(name(digest))
    }

    /// Makes a result durable.
    pub fn write(&self, bytes: &[u8]) -> io::Result<Digest> {
        let digest = Digest::of(bytes);
        write_whole(&self.path(&digest), bytes)?;
        Ok(digest)
    }

    /// Throws a result away.
    pub fn discard(&self, digest: &Digest) {
        if let Err(error) = std::fs::remove_file(self.path(digest))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%digest, %error, "a result could not be deleted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(cache: &Cache, bytes: &[u8], in_use: &BTreeSet<Digest>) -> Digest {
        let digest = Digest::of(bytes);
        std::fs::write(cache.path(&digest), bytes).unwrap();
        cache.add(digest, bytes.len() as u64, in_use).unwrap();
        digest
    }

    #[test]
    fn the_least_recently_used_goes_first_and_what_is_in_use_never() {
        let directory = tempfile::tempdir().unwrap();
        let none = BTreeSet::new();
        let cache = Cache::open(directory.path(), 100, &none).unwrap();
        let [a, b] = [put(&cache, &[1; 40], &none), put(&cache, &[2; 40], &none)];
        assert!(cache.read(&a).is_some());
        let c = put(&cache, &[3; 40], &none);
        assert!(cache.holds(&a) && !cache.holds(&b) && cache.holds(&c));
        let in_use = BTreeSet::from([a]);
        assert_eq!(cache.room(&in_use), 60);
        put(&cache, &[4; 90], &in_use);
        assert!(cache.holds(&a) && !cache.holds(&c) && !cache.path(&c).exists());
        let again = Cache::open(directory.path(), 100, &in_use).unwrap();
        assert!(again.holds(&a), "what is in use survives a restart");
    }

    #[test]
    fn a_blob_that_rotted_is_not_served() {
        let directory = tempfile::tempdir().unwrap();
        let none = BTreeSet::new();
        let cache = Cache::open(directory.path(), 100, &none).unwrap();
        let digest = put(&cache, b"good", &none);
        std::fs::write(cache.path(&digest), b"rot!").unwrap();
        assert!(cache.read(&digest).is_none());
        assert!(!cache.holds(&digest));
    }

    #[test]
    fn strange_files_and_stale_fetches_are_cleared_at_the_start() {
        let directory = tempfile::tempdir().unwrap();
        let none = BTreeSet::new();
        let cache = Cache::open(directory.path(), 100, &none).unwrap();
        std::fs::write(directory.path().join("blobs/strange"), b"x").unwrap();
        std::fs::write(cache.partial_path(&Digest([1; 32])), b"x").unwrap();
        std::fs::write(cache.partial_path(&Digest([2; 32])), b"x").unwrap();
        let wanted = BTreeSet::from([Digest([2; 32])]);
        let cache = Cache::open(directory.path(), 100, &wanted).unwrap();
        assert!(!directory.path().join("blobs/strange").exists());
        assert!(!cache.partial_path(&Digest([1; 32])).exists());
        assert!(cache.partial_path(&Digest([2; 32])).exists());
    }
}
