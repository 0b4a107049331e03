//! Blobs that batches were posted in. The base layer forgets them after some 18 days and no execution node serves them:
//! they are kept here for good, and served, so that whoever rebuilds the ledger later can.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use contracts::kzg::versioned_hash;
use protocol::ledger::{Blob, VersionedHash};

use crate::error::NodeError;

/// The folder `posted/`: a file for each blob, named by its versioned hash as mirrors name them.
#[derive(Debug)]
pub struct PostedBlobs {
    folder: PathBuf,
}

impl PostedBlobs {
    /// Opens the folder, making it if need be.
    pub fn open(dir: &Path) -> Result<Self, NodeError> {
        let folder = dir.join("posted");
        let failed = |source| NodeError::Disk { what: "making the folder of posted blobs", source };
        fs::create_dir_all(&folder).map_err(failed)?;
        Ok(Self { folder })
    }

    /// Where they lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps blobs, and returns once they would survive a power cut.
    pub fn keep(&self, blobs: &[Blob]) -> io::Result<()> {
        for blob in blobs {
            let path = self.path(&versioned_hash(blob));
            if path.is_file() {
                continue;
            }
            // A file is complete or has another name. One batch is posted at a time: nobody else writes this.
            let half = path.with_extension("half");
            let mut file = File::create(&half)?;
            file.write_all(blob.bytes())?;
            file.sync_all()?;
            fs::rename(&half, &path)?;
        }
        File::open(&self.folder)?.sync_all()
    }

    /// A blob's bytes; `None` if it is not here.
    pub fn read(&self, hash: &VersionedHash) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(hash)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    fn path(&self, hash: &VersionedHash) -> PathBuf {
        self.folder.join(hash.to_string())
    }
}

#[cfg(test)]
mod tests {
    use protocol::hash::Keccak;
    use protocol::ledger::{Chunk, blob};

    use super::*;

    #[test]
    fn what_was_posted_is_kept_under_the_name_that_the_base_layer_has_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let posted = PostedBlobs::open(dir.path()).unwrap();
        let blobs = blob::encode(&[Chunk { bytes: vec![1, 2], declared: 0, post_root: Keccak([3; 32]) }]);
        let hash = versioned_hash(&blobs[0]);
        assert_eq!(posted.read(&hash).unwrap(), None);
        posted.keep(&blobs).unwrap();
        posted.keep(&blobs).unwrap();
        assert_eq!(posted.read(&hash).unwrap().unwrap(), blobs[0].bytes());
        assert_eq!(fs::read_dir(posted.folder()).unwrap().count(), 1);
    }
}
