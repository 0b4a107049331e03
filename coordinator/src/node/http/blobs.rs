//! Blobs over HTTP: requesters bring held-out sets and inputs, anyone fetches models and answers, and the blobs that
//! batches were posted in.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use bytes::Bytes;
use protocol::api::SCHEMA;
use protocol::hash::Digest;
use protocol::ledger::VersionedHash;
use protocol::limits::BLOB_BYTES_MAX;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use super::{Api, Refusal, auth};
use crate::core::Event;

/// Bytes read from disk at a time.
const CHUNK_BYTES: usize = 256 * 1024;

fn parse(digest: &str) -> Result<Digest, Refusal> {
    digest.parse().map_err(|error| {
        Refusal::bad(
            "bad-digest",
            format!("'{digest}': {error}"),
            "a blob is named by its 32-byte blake3 digest in hex",
        )
    })
}

/// `GET /v1/blobs/{digest}`, whole or from a byte on (`Range: bytes=N-`).
pub async fn get_blob(
    State(api): State<Arc<Api>>,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let digest = parse(&digest)?;
    let missing = || {
        Refusal::unknown("unknown-blob", "that blob is not here", "it may have been discarded; see the job")
    };
    let mut file = tokio::fs::File::open(api.blobs.path(&digest)).await.map_err(|_| missing())?;
    let length = file.metadata().await.map_err(|error| Refusal::internal(error.to_string()))?.len();
    let from = headers.get(header::RANGE).and_then(|value| {
        value.to_str().ok()?.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<u64>().ok()
    });
    if from.is_some_and(|from| from >= length) {
        let message = format!("the blob has {length} bytes");
        return Err(Refusal::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "bad-range",
            message,
            "ask for a byte it has",
        ));
    }
    let first = from.unwrap_or(0);
    file.seek(std::io::SeekFrom::Start(first)).await.map_err(|error| Refusal::internal(error.to_string()))?;
    let stream = Body::from_stream(chunks(file));
    let kind = [(header::CONTENT_TYPE, "application/octet-stream".to_owned())];
    let size = [(header::CONTENT_LENGTH, (length - first).to_string())];
    Ok(match from {
        None => (kind, size, stream).into_response(),
        Some(first) => {
            let range = [(header::CONTENT_RANGE, format!("bytes {first}-{}/{length}", length - 1))];
            (StatusCode::PARTIAL_CONTENT, kind, size, range, stream).into_response()
        }
    })
}

/// `GET /blobs/{hash}`, where a mirror has it too: a blob that a batch was posted in.
pub async fn get_posted(State(api): State<Arc<Api>>, Path(hash): Path<String>) -> Result<Response, Refusal> {
    let hash: VersionedHash = hash.parse().map_err(|error| {
        let fix = "a batch's blob is named by its 32-byte versioned hash in hex";
        Refusal::bad("bad-hash", format!("'{hash}': {error}"), fix)
    })?;
    let posted = api.posted.clone();
    let read = tokio::task::spawn_blocking(move || posted.read(&hash)).await;
    let read = read.map_err(std::io::Error::from).flatten();
    let missing = || {
        let fix = "only batches of this coordinator that stand in blobs are kept here";
        Refusal::unknown("unknown-blob", "no batch was posted in that blob", fix)
    };
    let bytes = read.map_err(|error| Refusal::internal(error.to_string()))?.ok_or_else(missing)?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

fn chunks(file: tokio::fs::File) -> impl futures_core::Stream<Item = std::io::Result<Bytes>> + Send {
    FileChunks { file: Box::pin(file) }
}

struct FileChunks {
    file: std::pin::Pin<Box<tokio::fs::File>>,
}

impl futures_core::Stream for FileChunks {
    type Item = std::io::Result<Bytes>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        use std::task::Poll;
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut read = tokio::io::ReadBuf::new(&mut buffer);
        match tokio::io::AsyncRead::poll_read(self.file.as_mut(), context, &mut read) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
            Poll::Ready(Ok(())) => {
                let filled = read.filled().len();
                buffer.truncate(filled);
                Poll::Ready((filled > 0).then(|| Ok(Bytes::from(buffer))))
            }
        }
    }
}

/// `PUT /v1/blobs/{digest}`: a blob that a submitted spec names. Signed over the digest in the path.
pub async fn put_blob(
    State(api): State<Arc<Api>>,
    Path(text): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let digest = parse(&text)?;
    auth::signer(&api, &method, uri.path(), &headers, digest)?;
    if !api.core.read(move |core| core.wants_blob(&digest)).await? {
        let fix = "submit the spec first: only blobs that a submitted spec names are taken";
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "unwanted-blob",
            "no submitted spec names this blob",
            fix,
        ));
    }
    if !api.blobs.has(&digest) {
        let _turn = api.uploads.acquire().await.map_err(|error| Refusal::internal(error.to_string()))?;
        receive(&api, digest, body).await?;
    }
    api.core.tell(Event::BlobStored { digest }).await?;
    Ok(Json(serde_json::json!({ "schema": SCHEMA, "stored": digest.to_string() })).into_response())
}

/// Spools a body, hashes it while it arrives, and gives it its name if it is what it should be.
async fn receive(api: &Api, digest: Digest, body: Body) -> Result<(), Refusal> {
    let path = api.blobs.temporary();
    let outcome = spool(&path, digest, body).await;
    if let Err(refusal) = outcome {
        // Fails only if the file was never made; the next start removes what is left.
        let _ = tokio::fs::remove_file(&path).await;
        return Err(refusal);
    }
    let blobs = api.blobs.clone();
    let named = tokio::task::spawn_blocking(move || blobs.adopt(&path, &digest)).await;
    named
        .map_err(|error| error.to_string())
        .and_then(|done| done.map_err(|error| error.to_string()))
        .map_err(Refusal::internal)
}

async fn spool(path: &std::path::Path, digest: Digest, body: Body) -> Result<(), Refusal> {
    let disk = |error: std::io::Error| Refusal::internal(format!("the coordinator's disk: {error}"));
    let mut file = tokio::fs::File::create(path).await.map_err(disk)?;
    let mut hasher = blake3::Hasher::new();
    let mut length = 0u64;
    let mut stream = body.into_data_stream();
    loop {
        let next = std::future::poll_fn(|context| {
            futures_core::Stream::poll_next(std::pin::Pin::new(&mut stream), context)
        });
        let Some(chunk) = next.await else { break };
        let chunk =
            chunk.map_err(|error| Refusal::bad("cut-off", error.to_string(), "send the blob again"))?;
        length += chunk.len() as u64;
        if length > BLOB_BYTES_MAX {
            let message = format!("the blob is over the limit of {BLOB_BYTES_MAX} bytes");
            return Err(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                message,
                "send a smaller one",
            ));
        }
        hasher.update(&chunk);
        file.write_all(&chunk).await.map_err(disk)?;
    }
    file.sync_all().await.map_err(disk)?;
    let found = Digest(*hasher.finalize().as_bytes());
    if found != digest {
        let message = format!("the bytes hash to {found}");
        return Err(Refusal::bad("wrong-digest", message, "name the blob by the blake3 digest of its bytes"));
    }
    Ok(())
}
