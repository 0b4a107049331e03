//! TLS identities: a node's ed25519 key is its TLS key, both ways, as a raw public key (RFC 7250).
//!
//! No certificate authority, no names, no dates: the worker pins the coordinator's key, the coordinator learns the
//! worker's key and decides on it after the handshake. TLS 1.3 only, the ring provider, no resumption (a resumed
//! session would prove a key of the past).

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, PeerIncompatible, SignatureAlgorithm,
};
use rustls::{Error, SignatureScheme};

use super::error::LinkError;
use crate::ids::{CoordinatorId, WorkerId};
use crate::limits::WIRE_VERSION;
use crate::sign::NodeKey;

/// What precedes the 32 bytes of an ed25519 key in a SubjectPublicKeyInfo (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The ALPN name of a wire version: `fedroll/2`. Peers of different versions share none and never get to a message.
pub fn alpn(version: u16) -> Vec<u8> {
    format!("fedroll/{version}").into_bytes()
}

fn spki(key: &[u8; 32]) -> Vec<u8> {
    [SPKI_PREFIX.as_slice(), key].concat()
}

/// The ed25519 key in a SubjectPublicKeyInfo, if it is one that can only sign for its holder.
fn key_of(spki: &[u8]) -> Option<[u8; 32]> {
    let bytes: [u8; 32] = spki.strip_prefix(&SPKI_PREFIX)?.try_into().ok()?;
    let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).ok()?;
    // Anyone can make signatures that a key of small order accepts.
    (!key.is_weak()).then_some(bytes)
}

/// The TLS configuration of a coordinator.
pub(super) fn server_config(key: &Arc<NodeKey>) -> Result<rustls::ServerConfig, LinkError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(AnyWorker { provider: provider.clone() });
    let resolver = Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified(key)));
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| LinkError::Config(error.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![alpn(WIRE_VERSION)];
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The TLS configuration of a worker for one connection; `presented` learns the key the other side shows.
pub(super) fn client_config(
    key: &Arc<NodeKey>,
    pinned: CoordinatorId,
    presented: Arc<OnceLock<CoordinatorId>>,
    version: u16,
) -> Result<rustls::ClientConfig, LinkError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(PinnedCoordinator { provider: provider.clone(), pinned, presented });
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| LinkError::Config(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(key))));
    config.alpn_protocols = vec![alpn(version)];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

/// The worker at the other end of a connection whose handshake is done.
pub(super) fn worker_of(connection: &quinn::Connection) -> Option<WorkerId> {
    let identity = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    key_of(identity.first()?).map(WorkerId)
}

fn certified(key: &Arc<NodeKey>) -> Arc<CertifiedKey> {
    let public = CertificateDer::from(spki(&key.id().0));
    Arc::new(CertifiedKey::new(vec![public], Arc::new(TlsKey(key.clone()))))
}

/// A node's key as TLS sees it: the secret stays in [`NodeKey`].
#[derive(Debug, Clone)]
struct TlsKey(Arc<NodeKey>);

impl SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SignatureScheme::ED25519).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(spki(&self.0.id().0)))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign_tls(message).to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

fn verify_signature(
    provider: &CryptoProvider,
    message: &[u8],
    key: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let spki = SubjectPublicKeyInfoDer::from(key.as_ref());
    verify_tls13_signature_with_raw_key(
        message,
        &spki,
        signature,
        &provider.signature_verification_algorithms,
    )
}

fn tls13_only() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic))
}

/// Accepts the one coordinator that was named.
#[derive(Debug)]
struct PinnedCoordinator {
    provider: Arc<CryptoProvider>,
    pinned: CoordinatorId,
    presented: Arc<OnceLock<CoordinatorId>>,
}

impl ServerCertVerifier for PinnedCoordinator {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = key_of(key).map(CoordinatorId).ok_or(CertificateError::BadEncoding)?;
        // Shown, not yet proved: good for an error message only.
        let _ = self.presented.set(shown);
        if shown == self.pinned {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls13_only()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(&self.provider, message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Accepts any ed25519 key whose holder is there: whether that worker may join is the application's decision.
#[derive(Debug)]
struct AnyWorker {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyWorker {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        key_of(key).map(|_| ClientCertVerified::assertion()).ok_or(CertificateError::BadEncoding.into())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls13_only()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(&self.provider, message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_its_envelope_is_44_bytes_and_comes_back() {
        let id = NodeKey::from_seed(&[7; 32]).id();
        let envelope = spki(&id.0);
        assert_eq!(envelope.len(), 44);
        assert_eq!(key_of(&envelope), Some(id.0));
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        let good = spki(&NodeKey::from_seed(&[7; 32]).id().0);
        assert_eq!(key_of(&good[..43]), None);
        assert_eq!(key_of(&[good.as_slice(), &[0]].concat()), None);
        // The identity element: a point, of order 1, that verifies signatures nobody made.
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(key_of(&spki(&identity)), None);
    }
}
