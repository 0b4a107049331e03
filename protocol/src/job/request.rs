//! What a requester signs when it asks a coordinator for something over HTTP.

use serde::{Deserialize, Serialize};

use crate::hash::{Digest, Keccak, keccak};
use crate::ids::Address;
use crate::sign::eip712::{Domain, word};
use crate::sign::{EthKey, EthSignature};

/// Seconds a signed request may lie in the future of its expiry, so that a captured one soon dies.
pub const REQUEST_LIFETIME_S_MAX: u64 = 300;

/// One HTTP request that changes something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// `POST` or `PUT`.
    pub method: String,
    /// The path, from the first `/`, without a query.
    pub path: String,
    /// blake3 of the body.
    pub body: Digest,
    /// Unix seconds after which it is void.
    pub expires: u64,
}

impl HttpRequest {
    /// The EIP-712 type.
    pub const KIND: &'static str = "HttpRequest(string method,string path,bytes32 body,uint64 expires)";

    /// The digest that is signed.
    pub fn digest(&self, domain: &Domain) -> Keccak {
        let text = |text: &str| keccak(&[text.as_bytes()]).0;
        domain.digest(
            Self::KIND,
            &[text(&self.method), text(&self.path), self.body.0, word(self.expires.into())],
        )
    }

    /// Signs it.
    pub fn sign(&self, domain: &Domain, key: &EthKey) -> EthSignature {
        key.sign(&self.digest(domain))
    }

    /// Who signed it, if it has not expired at `now` (Unix seconds) and does not reach further than it may.
    pub fn signer(&self, domain: &Domain, signature: &EthSignature, now: u64) -> Option<Address> {
        let alive = now <= self.expires && self.expires <= now + REQUEST_LIFETIME_S_MAX;
        signature.recover(&self.digest(domain)).filter(|_| alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_bound_to_its_words_and_dies() {
        let key = EthKey::from_secret(&[9; 32]).unwrap();
        let domain = Domain { chain_id: 1, contract: Address([1; 20]) };
        let request = HttpRequest {
            method: "PUT".into(),
            path: "/v1/blobs/0x00".into(),
            body: Digest([2; 32]),
            expires: 1_000,
        };
        let signature = request.sign(&domain, &key);
        assert_eq!(request.signer(&domain, &signature, 990), Some(key.address()));
        assert_eq!(request.signer(&domain, &signature, 1_001), None);
        assert_eq!(request.signer(&domain, &signature, 600), None);
        let other = HttpRequest { path: "/v1/jobs".into(), ..request };
        assert_ne!(other.signer(&domain, &signature, 990), Some(key.address()));
    }
}
