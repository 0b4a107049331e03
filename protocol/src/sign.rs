//! Keys and signatures.
//!
//! ed25519 signs what peers and auditors check (receipts); secp256k1 over EIP-712 signs what the base layer checks
//! (acceptances, approvals, claims) and what a requester asks over HTTP.

use core::fmt;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use k256::ecdsa;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::hash::{Keccak, keccak};
use crate::ids::{Address, HexError, WorkerId, parse_hex};

/// Why a key or a signature was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The public key is not a point that may sign.
    #[error("{0} is not a valid ed25519 public key")]
    BadKey(WorkerId),
    /// The signature does not belong to this body and signer.
    #[error("the signature of {0} does not match what it signs")]
    BadSignature(WorkerId),
    /// A secret that is not 32 bytes of hexadecimal text.
    #[error("a secret key is 64 hexadecimal characters: {0}")]
    SecretText(#[from] HexError),
    /// A number that cannot be a secp256k1 secret key.
    #[error("that number is not a secp256k1 secret key")]
    SecretRange,
}

/// Something an ed25519 key may sign, under a domain of its own.
pub trait Signable: Serialize {
    /// Distinguishes this kind of statement from every other.
    const DOMAIN: &'static str;
}

/// An ed25519 signature: 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ed25519Signature([[u8; 32]; 2]);

impl Ed25519Signature {
    /// From the 64 bytes of RFC 8032.
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let mut halves = [[0; 32]; 2];
        halves[0].copy_from_slice(&bytes[..32]);
        halves[1].copy_from_slice(&bytes[32..]);
        Self(halves)
    }

    /// The 64 bytes of RFC 8032.
    pub fn to_bytes(self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&self.0[0]);
        bytes[32..].copy_from_slice(&self.0[1]);
        bytes
    }
}

impl fmt::Debug for Ed25519Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ed25519Signature({:02x}{:02x}…)", self.0[0][0], self.0[0][1])
    }
}

/// A statement as it comes off the wire: somebody claims that `signer` made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unverified<T> {
    /// What is said.
    pub body: T,
    /// Who is said to have said it.
    pub signer: WorkerId,
    /// The proof offered.
    pub signature: Ed25519Signature,
}

/// A statement whose signature has been checked: the only way to get one is [`Unverified::verify`] or [`NodeKey::sign`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signed<T>(Unverified<T>);

impl<T> Signed<T> {
    /// What is said.
    pub fn body(&self) -> &T {
        &self.0.body
    }

    /// Who said it.
    pub fn signer(&self) -> WorkerId {
        self.0.signer
    }

    /// The form that travels.
    pub const fn as_wire(&self) -> &Unverified<T> {
        &self.0
    }

    /// Back to the form that travels.
    pub fn into_wire(self) -> Unverified<T> {
        self.0
    }
}

fn signing_bytes<T: Signable>(body: &T) -> Vec<u8> {
    let mut bytes = Vec::from(T::DOMAIN.as_bytes());
    bytes.push(0);
    postcard::to_extend(body, bytes).expect("bodies are plain data: postcard fails only on unsized sequences")
}

impl<T: Signable> Unverified<T> {
    /// Checks the signature by the strict rule (RFC 8032 with small-order keys refused): the one rule that every
    /// program uses, so that a dispute cannot turn on another library's laxer one.
    pub fn verify(self) -> Result<Signed<T>, SignError> {
        let key = VerifyingKey::from_bytes(&self.signer.0).map_err(|_| SignError::BadKey(self.signer))?;
        let signature = ed25519_dalek::Signature::from_bytes(&self.signature.to_bytes());
        key.verify_strict(&signing_bytes(&self.body), &signature)
            .map_err(|_| SignError::BadSignature(self.signer))?;
        Ok(Signed(self))
    }
}

/// A node's ed25519 secret key. It has no `Display`, and `Debug` shows the public half only.
pub struct NodeKey(SigningKey);

impl NodeKey {
    /// The key with this 32-byte seed (RFC 8032).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half, which is the node's name.
    pub fn id(&self) -> WorkerId {
        WorkerId(self.0.verifying_key().to_bytes())
    }

    /// Signs a statement.
    pub fn sign<T: Signable>(&self, body: T) -> Signed<T> {
        let signature = Ed25519Signature::from_bytes(&self.0.sign(&signing_bytes(&body)).to_bytes());
        Signed(Unverified { body, signer: self.id(), signature })
    }

    /// A secret of its own for one purpose, which tells nothing about the key. The purpose must be a constant of the
    /// program, as blake3's key derivation asks.
    pub fn derive(&self, purpose: &'static str) -> [u8; 32] {
        blake3::derive_key(purpose, &self.0.to_bytes())
    }

    /// Signs raw bytes: for TLS only, whose messages carry a context of their own (RFC 8446 section 4.4.3).
    pub fn sign_tls(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({:?})", self.id())
    }
}

/// A recoverable secp256k1 signature as the EVM takes it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EthSignature {
    /// The x coordinate of the nonce point.
    pub r: [u8; 32],
    /// The proof, in the lower half of the group's order (EIP-2).
    pub s: [u8; 32],
    /// 27 or 28: the parity of the nonce point.
    pub v: u8,
}

impl EthSignature {
    /// `r ‖ s ‖ v`.
    pub fn to_bytes(self) -> [u8; 65] {
        let mut bytes = [0; 65];
        bytes[..32].copy_from_slice(&self.r);
        bytes[32..64].copy_from_slice(&self.s);
        bytes[64] = self.v;
        bytes
    }

    /// From `r ‖ s ‖ v`; whether it is any good is for [`EthSignature::recover`] to say.
    pub fn from_bytes(bytes: &[u8; 65]) -> Self {
        let (mut r, mut s) = ([0; 32], [0; 32]);
        r.copy_from_slice(&bytes[..32]);
        s.copy_from_slice(&bytes[32..64]);
        Self { r, s, v: bytes[64] }
    }

    /// Whose key signed `digest`; `None` for a signature that nobody can have made, or one with a high `s` (EIP-2) or
    /// another `v` than 27 and 28, as OpenZeppelin's ECDSA refuses them.
    pub fn recover(&self, digest: &Keccak) -> Option<Address> {
        let parity = self.v.checked_sub(27).filter(|parity| *parity < 2)?;
        let signature = ecdsa::Signature::from_scalars(self.r, self.s).ok()?;
        if signature.normalize_s().is_some() {
            return None;
        }
        let id = ecdsa::RecoveryId::from_byte(parity)?;
        let key = ecdsa::VerifyingKey::recover_from_prehash(&digest.0, &signature, id).ok()?;
        Some(address_of(&key))
    }
}

impl fmt::Display for EthSignature {
    /// `0x` and the 65 bytes in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.to_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl core::str::FromStr for EthSignature {
    type Err = crate::ids::HexError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        crate::ids::parse_hex::<65>(text).map(|bytes| Self::from_bytes(&bytes))
    }
}

impl fmt::Debug for EthSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EthSignature({:02x}{:02x}…)", self.r[0], self.r[1])
    }
}

fn address_of(key: &ecdsa::VerifyingKey) -> Address {
    let point = key.to_encoded_point(false);
    let hash = keccak(&[&point.as_bytes()[1..]]);
    let mut address = [0; 20];
    address.copy_from_slice(&hash.0[12..]);
    Address(address)
}

/// A secp256k1 secret key. It has no `Display`, and `Debug` shows the address only.
pub struct EthKey(ecdsa::SigningKey);

impl EthKey {
    /// The key with this secret scalar.
    pub fn from_secret(secret: &[u8; 32]) -> Result<Self, SignError> {
        ecdsa::SigningKey::from_bytes(secret.into()).map(Self).map_err(|_| SignError::SecretRange)
    }

    /// The key written as hexadecimal text, as key files hold it (surrounding white space is ignored).
    pub fn from_text(text: &str) -> Result<Self, SignError> {
        Self::from_secret(&Zeroizing::new(parse_hex(text.trim())?))
    }

    /// The base-layer address that this key controls.
    pub fn address(&self) -> Address {
        address_of(self.0.verifying_key())
    }

    /// The secret scalar, for a library that signs transactions.
    pub fn secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes().into())
    }

    /// Signs a 32-byte digest deterministically (RFC 6979), with a low `s`.
    pub fn sign(&self, digest: &Keccak) -> EthSignature {
        let (signature, id) =
            self.0.sign_prehash_recoverable(&digest.0).expect("a 32-byte digest can always be signed");
        let (r, s) = signature.split_bytes();
        EthSignature { r: r.into(), s: s.into(), v: 27 + id.to_byte() }
    }
}

impl fmt::Debug for EthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EthKey({:?})", self.address())
    }
}

/// EIP-712: typed data that a wallet can show and a contract can check.
pub mod eip712 {
    use serde::{Deserialize, Serialize};

    use super::{Address, Keccak, keccak};

    /// Which rollup on which chain a signature is for: name "fedroll", version "1".
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Domain {
        /// The base layer's chain id (EIP-155).
        pub chain_id: u64,
        /// The `Rollup` contract.
        pub contract: Address,
    }

    impl Domain {
        /// The domain separator.
        pub fn separator(&self) -> Keccak {
            let kind = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
            keccak(&[
                &keccak(&[kind.as_bytes()]).0,
                &keccak(&[b"fedroll"]).0,
                &keccak(&[b"1"]).0,
                &word(self.chain_id.into()),
                &address_word(self.contract),
            ])
        }

        /// The digest to sign for a struct of type `kind` (its EIP-712 encodeType) with these encoded members.
        pub fn digest(&self, kind: &str, members: &[[u8; 32]]) -> Keccak {
            let mut encoded = keccak(&[kind.as_bytes()]).0.to_vec();
            encoded.extend(members.iter().flatten());
            keccak(&[&[0x19, 0x01], &self.separator().0, &keccak(&[&encoded]).0])
        }
    }

    /// A number as a 32-byte word.
    pub fn word(number: u128) -> [u8; 32] {
        let mut word = [0; 32];
        word[16..].copy_from_slice(&number.to_be_bytes());
        word
    }

    /// An address as a 32-byte word.
    pub fn address_word(address: Address) -> [u8; 32] {
        let mut word = [0; 32];
        word[12..].copy_from_slice(&address.0);
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Note(u32);
    impl Signable for Note {
        const DOMAIN: &'static str = "test note";
    }

    #[test]
    fn a_signature_holds_for_its_body_and_signer_only() {
        let key = NodeKey::from_seed(&[7; 32]);
        let wire = key.sign(Note(1)).into_wire();
        assert_eq!(wire.clone().verify().unwrap().body(), &Note(1));
        let changed = Unverified { body: Note(2), ..wire.clone() };
        assert_eq!(changed.verify(), Err(SignError::BadSignature(key.id())));
        let other = NodeKey::from_seed(&[8; 32]).id();
        assert_eq!(Unverified { signer: other, ..wire }.verify(), Err(SignError::BadSignature(other)));
    }

    #[test]
    fn the_address_is_the_one_every_ethereum_tool_derives() {
        // The first development account of anvil and hardhat: a key known to everyone.
        let key =
            EthKey::from_text("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80").unwrap();
        assert_eq!(key.address().to_string(), "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266");
    }

    #[test]
    fn a_recovered_address_is_the_signer_and_malleable_forms_are_refused() {
        let key = EthKey::from_secret(&[3; 32]).unwrap();
        let digest = keccak(&[b"hello"]);
        let signature = key.sign(&digest);
        assert_eq!(signature.recover(&digest), Some(key.address()));
        assert_ne!(signature.recover(&keccak(&[b"other"])), Some(key.address()));
        assert_eq!(EthSignature { v: 0, ..signature }.recover(&digest), None);
        assert_eq!(EthSignature { v: 29, ..signature }.recover(&digest), None);
        // n − s with the other parity is the same signature to a lax verifier.
        let scalar = ecdsa::Signature::from_scalars(signature.r, signature.s).unwrap();
        let high = (-*scalar.s()).to_bytes();
        assert_eq!(EthSignature { s: high.into(), v: 55 - signature.v, ..signature }.recover(&digest), None);
    }

    #[test]
    fn bad_secrets_are_refused_in_words() {
        assert!(matches!(EthKey::from_text("12"), Err(SignError::SecretText(_))));
        assert_eq!(EthKey::from_secret(&[0; 32]).unwrap_err(), SignError::SecretRange);
        assert_eq!(EthKey::from_secret(&[0xff; 32]).unwrap_err(), SignError::SecretRange);
    }

    #[test]
    fn debug_never_shows_a_secret() {
        let secret = [0x5a; 32];
        for text in [
            format!("{:?}", NodeKey::from_seed(&secret)),
            format!("{:?}", EthKey::from_secret(&secret).unwrap()),
        ] {
            assert!(!text.contains("5a5a"), "{text}");
        }
    }
}
