//! Where a batch's blobs are to be had: a mirror's folder, a mirror's or the coordinator's HTTP, a beacon node, or the
//! node itself where it serves them, as development chains do. Whatever comes is compared with the versioned hash that
//! the posting transaction names.

use std::path::PathBuf;

use alloy::primitives::{B256, Bytes};
use protocol::ids::BatchId;
use protocol::ledger::blob::BLOB_BYTES;
use protocol::ledger::{Blob, VersionedHash};
use reqwest::Url;
use serde::Deserialize;

use super::{Node, REQUEST_TIMEOUT, RpcChain, http_client};
use crate::base_layer::{BatchOnChain, Block};
use crate::error::ChainError;
use crate::kzg;

/// Seconds of a slot.
const SLOT_S: u64 = 12;
/// Bytes of a beacon node's answer: the blobs of a block in hex, with room.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Who is asked for blobs before the node is.
#[derive(Clone, Debug, Default)]
pub enum BlobSource {
    /// Nobody.
    #[default]
    Node,
    /// A folder of files named by versioned hash (`0x…`, without an ending), each a blob's bytes.
    Mirror(PathBuf),
    /// The address of a beacon node, or of whoever serves blobs under `blobs/0x…`, each as its bytes.
    Http(Url),
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
struct Sidecar {
    blob: Bytes,
}

#[derive(Deserialize)]
struct Genesis {
    genesis_time: String,
}

impl BlobSource {
    /// Reads `--blobs`: an http or https address is a server's, anything else a folder.
    ///
    /// # Errors If the address cannot be read, or there is no such folder.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("http://") || text.starts_with("https://") {
            return text.parse().map(Self::Http).map_err(|error| format!("{text}: {error}"));
        }
        let folder = PathBuf::from(text);
        if folder.is_dir() { Ok(Self::Mirror(folder)) } else { Err(format!("{text}: no such folder")) }
    }

    /// The blobs of a batch, each compared with its hash. With `gaps`, those before the first that is not to be had.
    pub(super) async fn fetch(
        &self,
        node: &Node,
        batch: u64,
        hashes: &[VersionedHash],
        block: &Block,
        gaps: bool,
    ) -> Result<Vec<Blob>, ChainError> {
        let mut blobs = Vec::with_capacity(hashes.len());
        for hash in hashes {
            match self.one(node, hash, block).await {
                Ok(blob) => blobs.push(blob),
                Err(_) if gaps => break,
                Err(detail) => {
                    return Err(ChainError::NoBlob { batch: BatchId(batch), hash: *hash, detail });
                }
            }
        }
        Ok(blobs)
    }

    /// A blob, or who was asked for it and what they said.
    async fn one(&self, node: &Node, hash: &VersionedHash, block: &Block) -> Result<Blob, String> {
        let said = match self.first(hash, block).await {
            Ok(blob) => return Ok(blob),
            Err(said) => said,
        };
        let asked = from_node(node, hash).await;
        asked.map_err(|why| said.into_iter().chain([why]).collect::<Vec<_>>().join("; "))
    }

    async fn first(&self, hash: &VersionedHash, block: &Block) -> Result<Blob, Option<String>> {
        match self {
            Self::Node => Err(None),
            Self::Mirror(folder) => {
                let path = folder.join(hash.to_string());
                let read = tokio::fs::read(&path).await;
                let bytes = read.map_err(|error| format!("{}: {error}", path.display()))?;
                checked(&bytes, hash).map_err(|why| Some(format!("{}: {why}", path.display())))
            }
            Self::Http(url) => match mirrored(url, hash).await {
                Ok(blob) => Ok(blob),
                Err(said) => beacon(url, hash, block)
                    .await
                    .map_err(|why| Some(format!("as a mirror it says: {said}; as a beacon node: {why}"))),
            },
        }
    }
}

impl RpcChain {
    /// The blobs of a batch that are not to be had, each with who was asked and what they said.
    pub async fn missing_blobs(&self, batch: &BatchOnChain) -> Vec<(VersionedHash, String)> {
        let mut missing = Vec::new();
        for hash in batch.posted.blobs.iter().flat_map(|blobs| &blobs.hashes) {
            if let Err(said) = self.blobs.one(&self.node, hash, &batch.place.block).await {
                missing.push((*hash, said));
            }
        }
        missing
    }
}

/// A blob, if these are the bytes that the hash names.
fn checked(bytes: &[u8], hash: &VersionedHash) -> Result<Blob, String> {
    let blob = Blob::new(bytes).map_err(|error| error.to_string())?;
    let got = kzg::versioned_hash(&blob);
    if got == *hash { Ok(blob) } else { Err(format!("its blob is {got}")) }
}

async fn from_node(node: &Node, hash: &VersionedHash) -> Result<Blob, String> {
    if !node.info().is_development() {
        return Err("an execution node serves no blobs".to_owned());
    }
    let answer = node.ask::<_, Option<Bytes>>("anvil_getBlobByHash", (B256::new(hash.0),)).await;
    let bytes = answer.map_err(|error| error.to_string())?.ok_or("the node does not have it")?;
    checked(&bytes, hash)
}

/// As mirrors and coordinators serve it: `GET blobs/{hash}`.
async fn mirrored(url: &Url, hash: &VersionedHash) -> Result<Blob, String> {
    checked(&get(url, &format!("/blobs/{hash}"), BLOB_BYTES).await?, hash)
}

/// By the slot of the block: `GET /eth/v1/beacon/blobs/{slot}`; of nodes from before Fusaka, `blob_sidecars/{slot}`.
async fn beacon(url: &Url, hash: &VersionedHash, block: &Block) -> Result<Blob, String> {
    let genesis: Answer<Genesis> = read(url, "/eth/v1/beacon/genesis").await?;
    let genesis: u64 = genesis.data.genesis_time.parse().map_err(|_| "its genesis time is no number")?;
    let slot = block.time.checked_sub(genesis).ok_or("its chain began after the block")? / SLOT_S;
    let path = format!("/eth/v1/beacon/blobs/{slot}?versioned_hashes={hash}");
    let blobs = match read::<Answer<Vec<Bytes>>>(url, &path).await {
        Ok(blobs) => blobs.data,
        Err(why) => {
            let path = format!("/eth/v1/beacon/blob_sidecars/{slot}");
            let sidecars: Answer<Vec<Sidecar>> = read(url, &path).await.map_err(|_| why)?;
            sidecars.data.into_iter().map(|sidecar| sidecar.blob).collect()
        }
    };
    let found = blobs.iter().find_map(|bytes| checked(bytes, hash).ok());
    found.ok_or_else(|| format!("slot {slot} has no such blob, or it is pruned"))
}

async fn read<T: serde::de::DeserializeOwned>(url: &Url, path: &str) -> Result<T, String> {
    let body = get(url, path, ANSWER_BYTES_MAX).await?;
    serde_json::from_slice(&body).map_err(|error| format!("an answer that cannot be read: {error}"))
}

/// What is under a path of the server, whose address may have a path itself.
async fn get(url: &Url, path: &str, bytes_max: usize) -> Result<Vec<u8>, String> {
    let address = format!("{}{path}", url.as_str().trim_end_matches('/'));
    let failed = |error: reqwest::Error| error.without_url().to_string();
    let mut response = http_client(REQUEST_TIMEOUT)?
        .get(address)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .map_err(failed)?;
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(failed)? {
        if body.len() + part.len() > bytes_max {
            return Err(format!("an answer of over {bytes_max} bytes"));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use protocol::ledger::{Chunk, blob};

    use super::*;

    #[tokio::test]
    async fn a_mirror_is_believed_by_the_hash_alone() {
        let dir = tempfile::tempdir().unwrap();
        let chunk = Chunk { bytes: vec![1], declared: 0, post_root: protocol::hash::Keccak::ZERO };
        let blob = blob::encode(&[chunk]).remove(0);
        let hash = kzg::versioned_hash(&blob);
        let block = Block { number: 1, hash: protocol::hash::Keccak::ZERO, time: 0 };
        let mirror = BlobSource::parse(dir.path().to_str().unwrap()).unwrap();
        assert!(mirror.first(&hash, &block).await.unwrap_err().unwrap().contains("No such file"));
        let path = dir.path().join(hash.to_string());
        std::fs::write(&path, blob.bytes()).unwrap();
        assert_eq!(mirror.first(&hash, &block).await.unwrap(), blob);
        let mut other = blob.bytes().to_vec();
        other[31] ^= 1;
        std::fs::write(&path, other).unwrap();
        assert!(mirror.first(&hash, &block).await.unwrap_err().unwrap().contains("its blob is 0x01"));
        std::fs::write(&path, [1]).unwrap();
        assert!(mirror.first(&hash, &block).await.unwrap_err().unwrap().contains("131072 bytes, not 1"));
        assert!(BlobSource::parse("/nowhere/at/all").is_err());
        assert!(matches!(BlobSource::parse("http://127.0.0.1:9"), Ok(BlobSource::Http(_))));
    }
}
