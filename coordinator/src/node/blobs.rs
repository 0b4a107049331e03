//! Blobs by content: models, updates, inputs, answers. A file is complete and named by its digest, or it is not there.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::hash::Digest;
use protocol::ids::WorkerId;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::NodeError;

/// The two folders: `blobs/aa/<digest>` and `spool/` for what is still arriving.
#[derive(Debug)]
pub struct Blobs {
    blobs: PathBuf,
    spool: PathBuf,
    next: AtomicU64,
    /// Read while a result is looked at and told to the core, written while unnamed blobs are removed: what the core
    /// relies on stays.
    relied_on: RwLock<()>,
}

fn disk(what: &'static str) -> impl FnOnce(io::Error) -> NodeError {
    move |source| NodeError::Disk { what, source }
}

impl Blobs {
    /// Opens both folders, making them if need be. Half-arrived uploads stay: they are resumed.
    pub fn open(dir: &Path) -> Result<Self, NodeError> {
        let (blobs, spool) = (dir.join("blobs"), dir.join("spool"));
        fs::create_dir_all(&blobs).map_err(disk("making the blob folder"))?;
        fs::create_dir_all(&spool).map_err(disk("making the spool folder"))?;
        for entry in fs::read_dir(&spool).map_err(disk("reading the spool folder"))? {
            let path = entry.map_err(disk("reading the spool folder"))?.path();
            if path.extension().is_some_and(|extension| extension == "tmp") {
                fs::remove_file(&path).map_err(disk("cleaning the spool folder"))?;
            }
        }
        Ok(Self { blobs, spool, next: AtomicU64::new(0), relied_on: RwLock::default() })
    }

    /// Where a blob is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string()[2..].to_owned();
        self.blobs.join(&name[..2]).join(name)
    }

    /// Where an upload gathers until it is complete.
    pub fn partial(&self, name: &str) -> PathBuf {
        self.spool.join(format!("{name}.part"))
    }

    /// Whether a blob is here.
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Its length, if it is here.
    pub fn len(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.path(digest)).ok().map(|data| data.len())
    }

    /// Opens one.
    pub fn open_blob(&self, digest: &Digest) -> io::Result<File> {
        File::open(self.path(digest))
    }

    /// Reads one of at most `bytes_max`.
    pub fn read(&self, digest: &Digest, bytes_max: u64) -> io::Result<Vec<u8>> {
        let file = self.open_blob(digest)?;
        // Its exact size, where growing would take up to twice as much.
        let mut bytes = Vec::with_capacity(file.metadata()?.len().min(bytes_max + 1) as usize);
        file.take(bytes_max + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("the blob is over {bytes_max} bytes"),
            ));
        }
        Ok(bytes)
    }

    /// Stores bytes and returns once they would survive a power cut.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, NodeError> {
        let digest = Digest::of(bytes);
        if self.has(&digest) {
            return Ok(digest);
        }
        let temporary = self.temporary();
        let mut file = File::create(&temporary).map_err(disk("writing a blob"))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(disk("writing a blob"))?;
        self.adopt(&temporary, &digest)?;
        Ok(digest)
    }

    /// A file of its own in the spool folder, gone at the next start.
    pub fn temporary(&self) -> PathBuf {
        self.spool.join(format!("{}.tmp", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    /// Gives a complete, synced file its name.
    pub fn adopt(&self, file: &Path, digest: &Digest) -> Result<(), NodeError> {
        let path = self.path(digest);
        let folder = path.parent().expect("blobs lie in folders");
        fs::create_dir_all(folder).map_err(disk("making a blob folder"))?;
        fs::rename(file, &path).map_err(disk("naming a blob"))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(disk("syncing a blob folder"))
    }

    /// Makes the folder that a blob's name lies in, so that an upload can be renamed into it.
    pub fn prepare(&self, digest: &Digest) -> io::Result<PathBuf> {
        let path = self.path(digest);
        fs::create_dir_all(path.parent().expect("blobs lie in folders"))?;
        Ok(path)
    }

    /// Notes, durably, that a worker has sent this blob itself: whoever only knows its name has done no work.
    pub fn mark(&self, digest: &Digest, sender: WorkerId) -> io::Result<()> {
        let path = self.mark_path(digest, sender);
        File::create(&path)?.sync_all()?;
        File::open(path.parent().expect("blobs lie in folders"))?.sync_all()
    }

    /// Whether a blob is here and this worker has sent it.
    pub fn has_from(&self, digest: &Digest, sender: WorkerId) -> bool {
        self.has(digest) && self.mark_path(digest, sender).is_file()
    }

    fn mark_path(&self, digest: &Digest, sender: WorkerId) -> PathBuf {
        let mut path = self.path(digest).into_os_string();
        path.push(format!(".{}", &sender.to_string()[2..]));
        path.into()
    }

    /// Nothing is removed until this is dropped, so that the core can be told of a blob that was seen.
    pub async fn relying(&self) -> RwLockReadGuard<'_, ()> {
        self.relied_on.read().await
    }

    /// Waits until nobody relies on a blob that the core does not know of. For a thread that may block.
    pub fn removing(&self) -> RwLockWriteGuard<'_, ()> {
        self.relied_on.blocking_write()
    }

    /// Forgets one, and who sent it. It may be gone already.
    pub fn remove(&self, digest: &Digest) -> io::Result<()> {
        let path = self.path(digest);
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(name.as_encoded_bytes()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_found_by_its_content_and_can_be_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path()).unwrap();
        let digest = blobs.put(b"hello").unwrap();
        assert_eq!((digest, blobs.len(&digest)), (Digest::of(b"hello"), Some(5)));
        assert_eq!(blobs.read(&digest, 5).unwrap(), b"hello");
        assert!(blobs.read(&digest, 4).is_err());
        let worker = WorkerId([7; 32]);
        assert!(!blobs.has_from(&digest, worker));
        blobs.mark(&digest, worker).unwrap();
        assert!(blobs.has_from(&digest, worker) && !blobs.has_from(&digest, WorkerId([8; 32])));
        blobs.remove(&digest).unwrap();
        blobs.remove(&digest).unwrap();
        assert!(!blobs.has(&digest) && !blobs.has_from(&digest, worker));
    }

    #[test]
    fn a_start_keeps_half_uploads_and_drops_temporaries() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path()).unwrap();
        fs::write(blobs.partial("worker-digest"), b"half").unwrap();
        let temporary = blobs.temporary();
        fs::write(&temporary, b"junk").unwrap();
        let blobs = Blobs::open(dir.path()).unwrap();
        assert!(blobs.partial("worker-digest").is_file());
        assert!(!temporary.is_file());
    }
}
