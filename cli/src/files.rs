//! Files that are either whole or not there.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{CliError, file};

/// The directory a file lies in: `.` for a bare name.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes a directory and those above it.
pub fn make_dir(path: &Path) -> Result<(), CliError> {
    std::fs::create_dir_all(path).map_err(file("create", path))
}

/// A file on its way: written beside its destination under another name, renamed at the end.
#[derive(Debug)]
pub struct Draft {
    file: NamedTempFile,
    destination: PathBuf,
}

impl Draft {
    /// Starts a file that will be at `destination`.
    pub fn new(destination: &Path) -> Result<Self, CliError> {
        let file = tempfile::Builder::new()
            .prefix(".fedroll-")
            .suffix(".part")
            .tempfile_in(parent(destination))
            .map_err(file("create", destination))?;
        Ok(Self { file, destination: destination.to_owned() })
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.file.write_all(bytes).map_err(file("write", &self.destination))
    }

    /// Puts the file, safe on disk and readable as any other, in its place, over an older one.
    pub fn publish(self) -> Result<(), CliError> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::Permissions::from_mode(0o644);
            self.file.as_file().set_permissions(mode).map_err(file("write", &self.destination))?;
        }
        self.file.as_file().sync_all().map_err(file("write", &self.destination))?;
        let persisted = self.file.persist(&self.destination);
        persisted.map_err(|error| error.error).map_err(file("write", &self.destination))?;
        Ok(())
    }

    /// The same for a secret: mode 0600, never over an existing file.
    pub fn publish_secret(self) -> Result<(), CliError> {
        // NamedTempFile is made with mode 0600.
        self.file.as_file().sync_all().map_err(file("write", &self.destination))?;
        match self.file.persist_noclobber(&self.destination) {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(CliError::Exists { path: self.destination })
            }
            Err(error) => Err(file("write", self.destination)(error.error)),
        }
    }
}

/// Writes a whole file in one step.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let mut draft = Draft::new(path)?;
    draft.write(bytes)?;
    draft.publish()
}

/// Reads a whole file of at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    let length = std::fs::metadata(path).map_err(file("read", path))?.len();
    if length > limit {
        let text = format!("{} holds {length} bytes, over the limit of {limit}", path.display());
        return Err(CliError::Input(text));
    }
    std::fs::read(path).map_err(file("read", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_that_is_dropped_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let mut draft = Draft::new(&path).unwrap();
        draft.write(b"half").unwrap();
        drop(draft);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(read(&path, 3).unwrap(), b"two");
        assert!(matches!(read(&path, 2), Err(CliError::Input(_))));
    }
}
