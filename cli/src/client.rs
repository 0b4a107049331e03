//! Calls to the coordinator's HTTP API: every one with a timeout, every answer with a limit, every error with
//! its fix.

use std::path::Path;
use std::time::Duration;

use protocol::api::{
    ApiError, Approve, BatchList, HEADER_EXPIRES, HEADER_SIGNATURE, Info, JobStatus, LogPage, Plan,
    Submitted, WorkerHistory, WorkerList,
};
use protocol::hash::Digest;
use protocol::ids::{JobId, SpecHash, WorkerId};
use protocol::job::JobSpec;
use protocol::job::request::HttpRequest;
use protocol::limits::{BLOB_BYTES_MAX, SPEC_BYTES_MAX};
use protocol::sign::EthKey;
use protocol::sign::eip712::Domain;
use reqwest::{Method, Response, StatusCode};
use serde::de::DeserializeOwned;

use crate::args::job::JobRef;
use crate::clock;
use crate::error::CliError;
use crate::files::Draft;

/// Seconds until a connection that is not made counts as failed.
const CONNECT_S_MAX: u64 = 5;
/// Seconds that an answer may stay silent.
const SILENCE_S_MAX: u64 = 60;
/// Bytes of a JSON answer.
const JSON_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a blob that is kept in memory.
const MEMORY_BLOB_BYTES_MAX: u64 = 1 << 30;
/// Seconds a signed request lives: enough for a slow upload to begin, too short to be worth capturing.
const REQUEST_LIFETIME_S: u64 = 120;
/// Milliseconds that a long poll of a job's log waits.
const LONG_POLL_MS: u64 = 20_000;

/// A coordinator's HTTP API.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
}

/// Who signs requests, and for which rollup.
#[derive(Debug)]
pub struct Signer<'a> {
    /// The requester's key.
    pub key: &'a EthKey,
    /// Chain and contract, as the coordinator's info names them.
    pub domain: Domain,
}

/// `GET /v1/jobs`.
#[derive(Debug, serde::Deserialize)]
struct JobList {
    jobs: Vec<JobStatus>,
}

impl Client {
    /// A client for the API at `url`.
    pub fn new(url: &str) -> Result<Self, CliError> {
        let wrong = |why| CliError::Url { url: url.to_owned(), why };
        let parsed = reqwest::Url::parse(url).map_err(|_| wrong("it is not well formed"))?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
            return Err(wrong("it does not start with http://host or https://host"));
        }
        // TLS by rustls and ring, as everywhere in fedroll. A second call finds it installed: that is what we
        // want.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(CONNECT_S_MAX))
            .read_timeout(Duration::from_secs(SILENCE_S_MAX))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("fedroll/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| wrong("no HTTP client could be made for it"))?;
        Ok(Self { http, base: url.trim_end_matches('/').to_owned() })
    }

    /// Where the API is.
    #[cfg(test)]
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Who this coordinator is and where it settles.
    pub async fn info(&self) -> Result<Info, CliError> {
        self.json("/v1/info").await
    }

    /// What a job would cost and who could do it.
    pub async fn plan(&self, spec: &JobSpec) -> Result<Plan, CliError> {
        self.send_json(Method::POST, "/v1/plan", spec.canonical_bytes(), None).await
    }

    /// Hands in a spec.
    pub async fn submit(&self, spec: &JobSpec, signer: &Signer<'_>) -> Result<Submitted, CliError> {
        self.send_json(Method::POST, "/v1/jobs", spec.canonical_bytes(), Some(signer)).await
    }

    /// Lets a settlement be paid.
    pub async fn approve(&self, job: JobId, approval: &Approve) -> Result<JobStatus, CliError> {
        let body = serde_json::to_vec(approval).map_err(|error| CliError::Input(error.to_string()))?;
        self.send_json(Method::POST, &format!("/v1/jobs/{job}/approvals"), body, None).await
    }

    /// Uploads a blob.
    pub async fn put_blob(&self, bytes: Vec<u8>, signer: &Signer<'_>) -> Result<(), CliError> {
        let path = format!("/v1/blobs/{}", Digest::of(&bytes));
        self.request(Method::PUT, &path, Some(bytes), Some(signer)).await.map(drop)
    }

    /// Downloads a blob into memory.
    pub async fn blob(&self, digest: Digest) -> Result<Vec<u8>, CliError> {
        let path = format!("/v1/blobs/{digest}");
        let response = self.request(Method::GET, &path, None, None).await?;
        let bytes = self.body(response, &path, MEMORY_BLOB_BYTES_MAX).await?;
        match Digest::of(&bytes) {
            got if got == digest => Ok(bytes),
            got => Err(CliError::Digest { want: digest, got }),
        }
    }

    /// Downloads a blob into a file, which is there only once it is whole and its digest holds; `progress`
    /// learns the bytes so far and in all. Returns its length.
    pub async fn save_blob(
        &self,
        digest: Digest,
        file: &Path,
        mut progress: impl FnMut(u64, Option<u64>),
    ) -> Result<u64, CliError> {
        let path = format!("/v1/blobs/{digest}");
        let mut response = self.request(Method::GET, &path, None, None).await?;
        let whole = response.content_length();
        let (mut draft, mut hasher, mut length) = (Draft::new(file)?, blake3::Hasher::new(), 0);
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            length += chunk.len() as u64;
            if length > BLOB_BYTES_MAX {
                return Err(CliError::Answer { path, why: format!("a blob of over {BLOB_BYTES_MAX} bytes") });
            }
            hasher.update(&chunk);
            draft.write(&chunk)?;
            progress(length, whole);
        }
        let got = Digest(*hasher.finalize().as_bytes());
        if got != digest {
            return Err(CliError::Digest { want: digest, got });
        }
        draft.publish()?;
        Ok(length)
    }

    /// A job's spec by its hash; the hash is checked.
    pub async fn spec(&self, hash: SpecHash) -> Result<JobSpec, CliError> {
        let path = format!("/v1/specs/{hash}");
        let response = self.request(Method::GET, &path, None, None).await?;
        let bytes = self.body(response, &path, SPEC_BYTES_MAX as u64).await?;
        let spec: JobSpec = protocol::wire::codec::decode(&bytes)
            .map_err(|error| CliError::Answer { path: path.clone(), why: error.to_string() })?;
        if spec.hash() == hash {
            Ok(spec)
        } else {
            Err(CliError::Answer { path, why: format!("it is the spec {}", spec.hash()) })
        }
    }

    /// All jobs, without their rounds.
    pub async fn jobs(&self) -> Result<Vec<JobStatus>, CliError> {
        self.json::<JobList>("/v1/jobs").await.map(|list| list.jobs)
    }

    /// One job with its rounds.
    pub async fn job(&self, job: JobRef) -> Result<JobStatus, CliError> {
        self.json(&format!("/v1/jobs/{job}")).await
    }

    /// What happened to a job after entry `after`; with `wait`, the answer comes when there is something to
    /// say, or after 20 seconds.
    pub async fn log(&self, job: JobRef, after: u64, wait: bool) -> Result<LogPage, CliError> {
        let wait_ms = if wait { LONG_POLL_MS } else { 0 };
        self.json(&format!("/v1/jobs/{job}/log?after={after}&wait_ms={wait_ms}")).await
    }

    /// All workers.
    pub async fn workers(&self) -> Result<WorkerList, CliError> {
        self.json("/v1/workers").await
    }

    /// What became of a worker's tasks.
    pub async fn worker(&self, worker: WorkerId) -> Result<WorkerHistory, CliError> {
        self.json(&format!("/v1/workers/{worker}")).await
    }

    /// All batches.
    pub async fn batches(&self) -> Result<BatchList, CliError> {
        self.json("/v1/batches").await
    }

    /// One document of the API.
    pub async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let response = self.request(Method::GET, path, None, None).await?;
        self.parse(response, path).await
    }

    async fn send_json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        signer: Option<&Signer<'_>>,
    ) -> Result<T, CliError> {
        let response = self.request(method, path, Some(body), signer).await?;
        self.parse(response, path).await
    }

    async fn parse<T: DeserializeOwned>(&self, response: Response, path: &str) -> Result<T, CliError> {
        let bytes = self.body(response, path, JSON_BYTES_MAX).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| CliError::Answer { path: path.to_owned(), why: error.to_string() })
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        signer: Option<&Signer<'_>>,
    ) -> Result<Response, CliError> {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
        if let Some(signer) = signer {
            let expires = clock::unix_seconds() + REQUEST_LIFETIME_S;
            let signed = HttpRequest {
                method: method.to_string(),
                path: path.to_owned(),
                body: Digest::of(body.as_deref().unwrap_or_default()),
                expires,
            };
            let signature = signed.sign(&signer.domain, signer.key).to_bytes();
            let hex = signature.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"));
            request = request.header(HEADER_EXPIRES, expires).header(HEADER_SIGNATURE, hex);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/octet-stream").body(body);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(self.refusal(response, path, status).await)
    }

    async fn refusal(&self, response: Response, path: &str, status: StatusCode) -> CliError {
        let body = match self.body(response, path, JSON_BYTES_MAX).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        match serde_json::from_slice::<ApiError>(&body) {
            Ok(error) => CliError::Refused { status: status.as_u16(), error: Box::new(error) },
            Err(_) => {
                let start: String = String::from_utf8_lossy(&body).trim().chars().take(200).collect();
                let why = if start.is_empty() { status.to_string() } else { format!("{status}: {start}") };
                CliError::Answer { path: path.to_owned(), why }
            }
        }
    }

    async fn body(&self, mut response: Response, path: &str, limit: u64) -> Result<Vec<u8>, CliError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if (bytes.len() + chunk.len()) as u64 > limit {
                let why = format!("it is longer than {limit} bytes");
                return Err(CliError::Answer { path: path.to_owned(), why });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn unreachable(&self, error: &reqwest::Error) -> CliError {
        // The innermost cause is the one that says something: "connection refused".
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        let why = if error.is_timeout() { "it took too long".to_owned() } else { cause.to_string() };
        CliError::Unreachable { url: self.base.clone(), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_urls_are_taken() {
        assert_eq!(Client::new("http://127.0.0.1:7070/").unwrap().url(), "http://127.0.0.1:7070");
        assert!(Client::new("https://example.org").is_ok());
        for bad in ["ftp://x", "127.0.0.1:7070", "http://", ""] {
            assert!(matches!(Client::new(bad), Err(CliError::Url { .. })), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_coordinator_that_is_not_there_is_named_with_what_to_do() {
        // A port that was free a moment ago and belongs to nobody.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = Client::new(&format!("http://127.0.0.1:{port}")).unwrap().info().await.unwrap_err();
        assert!(matches!(&error, CliError::Unreachable { why, .. } if why.contains("refused")), "{error}");
        assert!(error.fix().unwrap().contains("--coordinator"));
    }

    #[tokio::test]
    async fn a_refusal_keeps_its_code_and_fix() {
        let url = answer_once(
            "404 Not Found",
            r#"{"schema":1,"code":"unknown-job","message":"there is no job 7","fix":"fedroll job ls"}"#,
        );
        let error = Client::new(&url).unwrap().job("7".parse().unwrap()).await.unwrap_err();
        assert_eq!((error.code(), error.fix().as_deref()), ("unknown-job", Some("fedroll job ls")));
        assert!(error.to_string().contains("there is no job 7"));
    }

    #[tokio::test]
    async fn bytes_that_are_not_what_was_asked_for_are_refused_and_leave_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("model");
        let client = Client::new(&answer_once("200 OK", "other bytes")).unwrap();
        let error = client.save_blob(Digest::of(b"model"), &file, |_, _| ()).await.unwrap_err();
        assert!(matches!(error, CliError::Digest { .. }), "{error}");
        let client = Client::new(&answer_once("200 OK", "model")).unwrap();
        assert!(!file.exists());
        assert_eq!(client.save_blob(Digest::of(b"model"), &file, |_, _| ()).await.unwrap(), 5);
        assert_eq!(std::fs::read(&file).unwrap(), b"model");
    }

    #[tokio::test]
    async fn an_answer_in_another_shape_is_an_error_in_words() {
        let error = Client::new(&answer_once("200 OK", "{}")).unwrap().info().await.unwrap_err();
        assert!(matches!(&error, CliError::Answer { why, .. } if why.contains("missing field")), "{error}");
        let error = Client::new(&answer_once("500 Oops", "<html>")).unwrap().info().await.unwrap_err();
        assert!(error.to_string().contains("500"), "{error}");
    }

    /// A server that answers one request with one text.
    fn answer_once(status: &'static str, body: &'static str) -> String {
        use std::io::{Read as _, Write as _};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).unwrap();
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
            .unwrap();
        });
        url
    }
}
