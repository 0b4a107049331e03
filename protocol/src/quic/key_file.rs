//! Secrets on disk: 32 bytes as hexadecimal text in a file that only its owner can read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::ids::{HexError, parse_hex};

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// There is a file already; it is never overwritten.
    #[error("{} exists already and is left as it is", .0.display())]
    Exists(PathBuf),
    /// Others on this machine can read the secret.
    #[error("others can read {path} (mode {mode:o}): run `chmod 600 {path}`, and make a new key if the machine is shared", path = .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file does not hold 64 hexadecimal characters.
    #[error("{} holds no key: {source}", .path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong with the text.
        source: HexError,
    },
    /// The system refused.
    #[error("{what} {}: {source}", .path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The system gave no randomness.
    #[error("the system gives no random numbers, so no key can be made")]
    NoRandomness,
}

/// A secret of the operating system's randomness, written to a file that did not exist.
pub fn create(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let mut secret = Zeroizing::new([0; 32]);
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(secret.as_mut())
        .map_err(|_| KeyFileError::NoRandomness)?;
    write(path, &secret)?;
    Ok(secret)
}

/// Writes a secret with mode 0600, whole or not at all, and never over a file that exists.
pub fn write(path: &Path, secret: &[u8; 32]) -> Result<(), KeyFileError> {
    let failed = |what, source| KeyFileError::Io { what, path: path.to_owned(), source };
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}.new", std::process::id()));
    let unfinished = PathBuf::from(unfinished);
    let mut text = Zeroizing::new(String::with_capacity(65));
    for byte in secret {
        use core::fmt::Write as _;
        write!(text, "{byte:02x}").expect("a String takes everything");
    }
    text.push('\n');

    let written = (|| {
        let mut file = private(OpenOptions::new().write(true).create_new(true)).open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // A hard link, not a rename: it fails if the name is taken, in one step.
        fs::hard_link(&unfinished, path)
    })();
    // If this fails the secret only has a second, equally private name.
    let _ = fs::remove_file(&unfinished);
    match written {
        Ok(()) => sync_directory(path).map_err(|source| failed("cannot flush the directory of", source)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(KeyFileError::Exists(path.to_owned()))
        }
        Err(source) => Err(failed("cannot write", source)),
    }
}

/// Reads a secret; refuses a file that others may read.
pub fn read(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let failed = |source| KeyFileError::Io { what: "cannot read", path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    check_private(&file, path)?;
    // 64 characters, a prefix and white space; more is no key file.
    let mut text = Zeroizing::new(String::with_capacity(128));
    file.take(128).read_to_string(&mut text).map_err(failed)?;
    let secret =
        parse_hex(text.trim()).map_err(|source| KeyFileError::Text { path: path.to_owned(), source })?;
    Ok(Zeroizing::new(secret))
}

/// The secret in the file, which is made if it is not there.
pub fn load_or_create(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    match read(path) {
        Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            match create(path) {
                // Another process was faster: its key is the key.
                Err(KeyFileError::Exists(_)) => read(path),
                made => made,
            }
        }
        other => other,
    }
}

/// Makes a rename or link in the directory of `path` survive a power cut.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if cfg!(unix) { File::open(parent.unwrap_or(Path::new(".")))?.sync_all() } else { Ok(()) }
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600)
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(unix)]
fn check_private(file: &File, path: &Path) -> Result<(), KeyFileError> {
    use std::os::unix::fs::PermissionsExt as _;
    let failed = |source| KeyFileError::Io { what: "cannot read", path: path.to_owned(), source };
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(KeyFileError::Exposed { path: path.to_owned(), mode }) }
}

#[cfg(not(unix))]
fn check_private(_: &File, _: &Path) -> Result<(), KeyFileError> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker.key");
        let made = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap(), made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(create(&path), Err(KeyFileError::Exists(_))));
        assert_eq!(read(&path).unwrap(), made);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no unfinished file stays");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker.key");
        create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.to_string().contains(&format!("chmod 600 {}", path.display())), "{error}");
    }

    #[test]
    fn a_file_without_a_key_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker.key");
        write(&path, &[7; 32]).unwrap();
        fs::write(&path, "not a key").unwrap();
        assert!(matches!(load_or_create(&path), Err(KeyFileError::Text { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "not a key");
    }
}
