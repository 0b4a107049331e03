//! Stateless resets (RFC 9000 section 10.3) that outlive the process: a coordinator that was killed and started again
//! tells its old peers at once that their connections are gone, where each would otherwise wait for its idle timeout.
//!
//! For that the reset token of a connection id must be the same before and after: its key derives from the
//! coordinator's identity.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::{CryptoError, HmacKey};
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use rustls::crypto::SecureRandom;

use crate::sign::NodeKey;

/// Bytes of a connection id: random, so that no two connections share one.
const ID_BYTES: usize = 8;
/// Bytes of a keyed blake3 hash.
const HASH_BYTES: usize = 32;

/// An endpoint's configuration whose resets the peers of this key's earlier endpoints believe.
pub(super) fn endpoint_config(key: &NodeKey) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(ResetKey(key.derive("fedroll 1 stateless reset"))));
    config.cid_generator(|| Box::new(RandomIds));
    config
}

struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(blake3::keyed_hash(&self.0, data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        HASH_BYTES
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let signature = <[u8; HASH_BYTES]>::try_from(signature).map_err(|_| CryptoError)?;
        // blake3's equality takes the same time wherever the difference lies.
        if blake3::keyed_hash(&self.0, data) == blake3::Hash::from(signature) {
            Ok(())
        } else {
            Err(CryptoError)
        }
    }
}

/// quinn's default generator knows the ids of its own process only, and stays silent on all others.
struct RandomIds;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_BYTES];
        let random: &dyn SecureRandom = rustls::crypto::ring::default_provider().secure_random;
        random
            .fill(&mut id)
            .expect("the operating system gives random numbers: the TLS keys are made of them");
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_same_for_the_same_key_and_no_other() {
        let sign = |seed| {
            let mut token = [0; HASH_BYTES];
            ResetKey(NodeKey::from_seed(&[seed; 32]).derive("fedroll 1 stateless reset"))
                .sign(b"id", &mut token);
            token
        };
        assert_eq!(sign(1), sign(1));
        assert_ne!(sign(1), sign(2));
        let key = ResetKey([3; 32]);
        let mut token = [0; HASH_BYTES];
        key.sign(b"id", &mut token);
        assert!(key.verify(b"id", &token).is_ok() && key.verify(b"other", &token).is_err());
    }
}
