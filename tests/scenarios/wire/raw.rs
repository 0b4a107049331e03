//! QUIC by hand: the right keys, and whatever a test wants to say with them.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use protocol::sign::NodeKey;
use protocol::wire::address::CoordinatorAddress;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, ServerConfig};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, SignatureScheme};

/// What precedes an ed25519 seed in PKCS #8 (RFC 8410, section 7), and a public key in its info structure (section 4).
const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

fn certified(seed: &[u8; 32]) -> Result<Arc<CertifiedKey>> {
    let secret = PrivatePkcs8KeyDer::from([&PKCS8[..], seed].concat());
    let public = [&SPKI[..], &NodeKey::from_seed(seed).id().0].concat();
    let key = ring::sign::any_eddsa_type(&secret)?;
    Ok(Arc::new(CertifiedKey::new(vec![CertificateDer::from(public)], key)))
}

/// Takes any coordinator for the right one.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("QUIC has no TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Connects to a coordinator with the key of a seed. The endpoint must live as long as the connection is used.
pub async fn connect(address: &str, seed: [u8; 32], alpn: &[u8]) -> Result<(Endpoint, Connection)> {
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(&seed)?)));
    tls.alpn_protocols = vec![alpn.to_vec()];
    let to: CoordinatorAddress = address.parse()?;
    let to: SocketAddr = format!("{}:{}", to.host(), to.port()).parse().context("an address in numbers")?;
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse()?)?;
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)));
    let connection = endpoint.connect(to, "coordinator")?.await?;
    Ok((endpoint, connection))
}

/// A server that speaks another protocol than ours, with its address as a worker dials it.
pub fn foreign_coordinator(alpn: &[u8]) -> Result<(Endpoint, String)> {
    let seed = [0x5e; 32];
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified(&seed)?)));
    tls.alpn_protocols = vec![alpn.to_vec()];
    let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    let endpoint = Endpoint::server(config, "127.0.0.1:0".parse()?)?;
    let address = format!("{}@{}", NodeKey::from_seed(&seed).id(), endpoint.local_addr()?);
    Ok((endpoint, address))
}
