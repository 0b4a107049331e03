//! Key files: 64 hexadecimal characters and a newline, mode 0600. A key is made here, read here, and never
//! shown.

use std::path::Path;

use protocol::ids::parse_hex;
use protocol::sign::{EthKey, NodeKey, SignError};
use zeroize::Zeroizing;

use crate::error::{CliError, file};
use crate::files::{self, Draft};

/// Bytes that a key file may hold: the key, `0x`, a newline, and some slack.
const KEY_FILE_BYTES_MAX: u64 = 256;

/// Makes a secp256k1 key from the system's randomness and writes it to a file that must not exist yet.
pub fn create_eth(path: &Path) -> Result<EthKey, CliError> {
    loop {
        let secret = random_secret()?;
        // One number in 2^128 is not a key.
        if let Ok(key) = EthKey::from_secret(&secret) {
            write_secret(path, &secret)?;
            return Ok(key);
        }
    }
}

/// Makes an ed25519 node key in the same way.
pub fn create_node(path: &Path) -> Result<NodeKey, CliError> {
    let secret = random_secret()?;
    write_secret(path, &secret)?;
    Ok(NodeKey::from_seed(&secret))
}

/// Reads a secp256k1 key.
pub fn read_eth(path: &Path) -> Result<EthKey, CliError> {
    EthKey::from_text(&read_text(path)?).map_err(|source| CliError::KeyText { path: path.to_owned(), source })
}

/// Reads an ed25519 node key.
pub fn read_node(path: &Path) -> Result<NodeKey, CliError> {
    let text = read_text(path)?;
    let seed = parse_hex(text.trim()).map(Zeroizing::new).map_err(SignError::from);
    let seed = seed.map_err(|source| CliError::KeyText { path: path.to_owned(), source })?;
    Ok(NodeKey::from_seed(&seed))
}

/// Reads a secp256k1 key, or makes it if there is none.
pub fn read_or_create_eth(path: &Path) -> Result<EthKey, CliError> {
    if path.exists() { read_eth(path) } else { create_eth(path) }
}

/// 32 bytes of the system's randomness.
pub fn random_secret() -> Result<Zeroizing<[u8; 32]>, CliError> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(secret.as_mut()).map_err(|error| CliError::Randomness(error.to_string()))?;
    Ok(secret)
}

fn write_secret(path: &Path, secret: &[u8; 32]) -> Result<(), CliError> {
    let mut text = Zeroizing::new(String::with_capacity(65));
    for byte in secret {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(nibble.into(), 16).expect("a nibble is a hexadecimal digit"));
        }
    }
    text.push('\n');
    files::make_dir(files::parent(path))?;
    let mut draft = Draft::new(path)?;
    draft.write(text.as_bytes())?;
    draft.publish_secret()
}

fn read_text(path: &Path) -> Result<Zeroizing<String>, CliError> {
    check_mode(path)?;
    let bytes = Zeroizing::new(files::read(path, KEY_FILE_BYTES_MAX)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not text");
        file("read", path)(source)
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), CliError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).map_err(file("read", path))?.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(CliError::KeyMode { path: path.to_owned(), mode }) }
}

#[cfg(not(unix))]
fn check_mode(_: &Path) -> Result<(), CliError> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_with_mode_0600_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/requester.key");
        let made = create_eth(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!((text.len(), text.trim().len()), (65, 64));
        assert_eq!(read_eth(&path).unwrap().address(), made.address());
        assert_eq!(read_or_create_eth(&path).unwrap().address(), made.address());
        assert!(matches!(create_eth(&path), Err(CliError::Exists { .. })));
        assert!(matches!(create_node(&path), Err(CliError::Exists { .. })));
    }

    #[test]
    fn a_key_that_others_may_read_is_refused_with_the_command_that_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        let made = create_node(&path).unwrap();
        assert_eq!(read_node(&path).unwrap().id(), made.id());
        for mode in [0o640, 0o604, 0o660] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = read_node(&path).unwrap_err();
            assert!(error.to_string().contains(&format!("{mode:04o}")), "{error}");
            assert_eq!(error.fix().unwrap(), format!("chmod 600 {}", path.display()));
        }
    }

    #[test]
    fn other_files_are_no_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        for text in ["", "zz", &"0".repeat(64), &"1".repeat(65)] {
            files::write(&path, text.as_bytes()).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(read_eth(&path), Err(CliError::KeyText { .. })), "{text}");
        }
        std::fs::write(&path, vec![b'1'; 300]).unwrap();
        assert!(matches!(read_eth(&path), Err(CliError::Input(_))));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(read_eth(&path), Err(CliError::File { .. })));
        assert!(matches!(read_eth(&dir.path().join("none")), Err(CliError::File { .. })));
    }
}
