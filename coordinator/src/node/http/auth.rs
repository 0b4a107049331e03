//! Who signed a request that changes something.

use axum::http::{HeaderMap, Method, StatusCode};
use protocol::api::{HEADER_EXPIRES, HEADER_SIGNATURE};
use protocol::hash::Digest;
use protocol::ids::{Address, parse_hex};
use protocol::job::request::HttpRequest;
use protocol::sign::EthSignature;

use super::{Api, Refusal};

const FIX: &str =
    "sign the request with the requester's key as docs/PROTOCOL.md says (`fedroll` does it with --key-file)";

fn refused(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "not-signed", message, FIX)
}

/// The signature's parts of a request's headers.
pub fn credentials(headers: &HeaderMap) -> Result<(u64, EthSignature), Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let expires = text(HEADER_EXPIRES).and_then(|text| text.parse().ok());
    let expires =
        expires.ok_or_else(|| refused(format!("the header {HEADER_EXPIRES} is missing or no number")))?;
    let signature = text(HEADER_SIGNATURE)
        .ok_or_else(|| refused(format!("the header {HEADER_SIGNATURE} is missing")))
        .and_then(|text| {
            parse_hex::<65>(text).map_err(|error| refused(format!("the header {HEADER_SIGNATURE}: {error}")))
        })?;
    Ok((expires, EthSignature::from_bytes(&signature)))
}

/// Who signed this request for a body with this digest.
pub fn signer(
    api: &Api,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: Digest,
) -> Result<Address, Refusal> {
    let (expires, signature) = credentials(headers)?;
    let request = HttpRequest { method: method.as_str().into(), path: path.into(), body, expires };
    request.signer(&api.domain, &signature, api.clock.now().secs()).ok_or_else(|| {
        refused("the signature does not fit this request, or it has expired or expires too far ahead (300 s at most)")
    })
}
