//! Blobs on disk, on blocking threads: a partial file that grows while it is hashed and inspected, and chunked reads.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::error::LinkError;
use super::key_file::sync_directory;
use super::limits::CHUNK_BYTES;
use super::transfer::Inspect;
use crate::hash::Digest;

/// Runs blocking work away from the runtime's own threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LinkError> + Send + 'static,
) -> Result<T, LinkError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(LinkError::Lost("the program is stopping".to_owned())),
        },
    }
}

fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> LinkError {
    let what = format!("{what} {}", path.display());
    move |source| LinkError::File { what, source }
}

/// A blob of which a prefix has arrived, with the hash and the inspection of that prefix.
#[derive(Debug)]
pub(super) struct PartialBlob<I> {
    file: File,
    path: PathBuf,
    hasher: blake3::Hasher,
    written: u64,
    inspect: I,
}

impl<I: Inspect> PartialBlob<I> {
    /// Opens or makes the partial file, locks it, and takes in what an interrupted transfer left there.
    ///
    /// More than `bytes_max` there is not from this blob: it is thrown away.
    pub(super) fn open(path: PathBuf, bytes_max: u64, mut inspect: I) -> Result<Self, LinkError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed("cannot open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LinkError::Busy),
            Err(TryLockError::Error(source)) => return Err(failed("cannot lock", &path)(source)),
        }
        let metadata = file.metadata().map_err(failed("cannot read", &path))?;
        if !is_at(&metadata, &path) {
            // The transfer that held the lock has just given the file its final name: it is not ours to write to.
            return Err(LinkError::Busy);
        }
        let length = metadata.len();
        if length > bytes_max {
            file.set_len(0).map_err(failed("cannot empty", &path))?;
        }
        let mut hasher = blake3::Hasher::new();
        let mut written = 0;
        let mut chunk = vec![0; usize::try_from(length).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES)];
        while !chunk.is_empty() {
            let count = file.read(&mut chunk).map_err(failed("cannot read", &path))?;
            if count == 0 {
                break;
            }
            hasher.update(&chunk[..count]);
            written += count as u64;
            if let Err(reason) = inspect.chunk(&chunk[..count]) {
                discard(&path);
                return Err(LinkError::Rejected(reason));
            }
        }
        Ok(Self { file, path, hasher, written, inspect })
    }

    /// Bytes held.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Takes in the next bytes; if they are not acceptable the whole blob is thrown away.
    pub(super) fn append(mut self, bytes: &[u8]) -> Result<Self, LinkError> {
        if let Err(reason) = self.inspect.chunk(bytes) {
            return Err(self.discard_because(LinkError::Rejected(reason)));
        }
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(failed("cannot write", &self.path))?;
        self.written += bytes.len() as u64;
        Ok(self)
    }

    /// Gives the whole blob its final name, if it is the blob that was announced.
    pub(super) fn store(mut self, digest: Digest, stored: &Path, sync: bool) -> Result<(), LinkError> {
        let got = Digest(*self.hasher.finalize().as_bytes());
        if got != digest {
            return Err(self.discard_because(LinkError::DigestMismatch { want: digest, got }));
        }
        if let Err(reason) = self.inspect.finish() {
            return Err(self.discard_because(LinkError::Rejected(reason)));
        }
        if sync {
            self.file.sync_all().map_err(failed("cannot flush", &self.path))?;
        }
        fs::rename(&self.path, stored).map_err(failed("cannot rename to", stored))?;
        if sync {
            sync_directory(stored).map_err(failed("cannot flush the directory of", stored))?;
        }
        Ok(())
    }

    fn discard_because(self, error: LinkError) -> LinkError {
        discard(&self.path);
        error
    }
}

/// Whether `path` still names the open file that has this metadata.
#[cfg(unix)]
fn is_at(opened: &fs::Metadata, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (opened.dev(), opened.ino()))
}

/// Elsewhere an open file cannot be renamed, so the name stays with it.
#[cfg(not(unix))]
fn is_at(_: &fs::Metadata, path: &Path) -> bool {
    path.exists()
}

fn discard(path: &Path) {
    // If it stays, the next transfer takes it in, and refuses it by its digest again: nothing wrong gets through.
    let _ = fs::remove_file(path);
}

/// A file that is read chunk by chunk.
#[derive(Debug)]
pub(super) struct FileReader {
    file: File,
    path: PathBuf,
}

impl FileReader {
    /// Opens a file; also tells its length.
    pub(super) fn open(path: &Path) -> Result<(Self, u64), LinkError> {
        let file = File::open(path).map_err(failed("cannot open", path))?;
        let length = file.metadata().map_err(failed("cannot read", path))?.len();
        Ok((Self { file, path: path.to_owned() }, length))
    }

    /// Goes to a byte.
    pub(super) fn seek(mut self, offset: u64) -> Result<Self, LinkError> {
        self.file.seek(SeekFrom::Start(offset)).map_err(failed("cannot read", &self.path))?;
        Ok(self)
    }

    /// The next `count` bytes.
    pub(super) fn next(mut self, count: usize) -> Result<(Self, bytes::Bytes), LinkError> {
        let mut chunk = vec![0; count];
        self.file.read_exact(&mut chunk).map_err(failed("cannot read", &self.path))?;
        Ok((self, chunk.into()))
    }
}
