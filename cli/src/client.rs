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
use crate::clock::{self, Stopwatch};
use crate::error::CliError;
use crate::files::Draft;

/// Seconds until a connection that is not made counts as failed.
const CONNECT_S_MAX: u64 = 5;
/// Seconds that an answer may stay silent.
const SILENCE_S_MAX: u64 = 60;
/// Seconds that a request and its answer may take beside what their bytes take.
const ANSWER_S_MAX: u64 = 60;
/// Bytes a second that both must reach on the whole: who lets an answer drip holds nobody up for long.
const BYTES_S_MIN: u64 = 64 << 10;
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
    /// [`ANSWER_S_MAX`], but in tests.
    patience: Duration,
}

/// A request under way, and how long it may be.
#[derive(Clone, Copy, Debug)]
struct Pace {
    begun: Stopwatch,
    patience: Duration,
}

impl Pace {
    /// What is left of its time once so many bytes have passed.
    fn left(self, bytes: u64) -> Duration {
        let whole = self.patience + Duration::from_millis(bytes.saturating_mul(1000) / BYTES_S_MIN);
        whole.saturating_sub(self.begun.elapsed())
    }
}

/// An answer that has begun.
#[derive(Debug)]
struct Answer {
    response: Response,
    pace: Pace,
    /// Bytes of the request, and those of the answer that have come.
    passed: u64,
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
        let patience = Duration::from_secs(ANSWER_S_MAX);
        Ok(Self { http, base: url.trim_end_matches('/').to_owned(), patience })
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
        let mut answer = self.request(Method::GET, &path, None, None).await?;
        let whole = answer.response.content_length();
        let (mut draft, mut hasher, mut length) = (Draft::new(file)?, blake3::Hasher::new(), 0);
        while let Some(chunk) = self.chunk(&mut answer).await? {
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

    async fn parse<T: DeserializeOwned>(&self, answer: Answer, path: &str) -> Result<T, CliError> {
        let bytes = self.body(answer, path, JSON_BYTES_MAX).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| CliError::Answer { path: path.to_owned(), why: error.to_string() })
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        signer: Option<&Signer<'_>>,
    ) -> Result<Answer, CliError> {
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
        let pace = Pace { begun: Stopwatch::start(), patience: self.patience };
        let passed = body.as_ref().map_or(0, Vec::len) as u64;
        if let Some(body) = body {
            request = request.header("content-type", "application/octet-stream").body(body);
        }
        let sent = tokio::time::timeout(pace.left(passed), request.send()).await;
        let response = sent.map_err(|_| self.too_slow())?.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let answer = Answer { response, pace, passed };
        if status.is_success() {
            return Ok(answer);
        }
        Err(self.refusal(answer, path, status).await)
    }

    async fn refusal(&self, answer: Answer, path: &str, status: StatusCode) -> CliError {
        let body = match self.body(answer, path, JSON_BYTES_MAX).await {
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

    async fn body(&self, mut answer: Answer, path: &str, limit: u64) -> Result<Vec<u8>, CliError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk(&mut answer).await? {
            if (bytes.len() + chunk.len()) as u64 > limit {
                let why = format!("it is longer than {limit} bytes");
                return Err(CliError::Answer { path: path.to_owned(), why });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// The next bytes of an answer.
    async fn chunk(&self, answer: &mut Answer) -> Result<Option<Vec<u8>>, CliError> {
        let Answer { response, pace, passed } = answer;
        let came = tokio::time::timeout(pace.left(*passed), response.chunk()).await;
        let chunk = came.map_err(|_| self.too_slow())?.map_err(|error| self.unreachable(&error))?;
        *passed += chunk.as_ref().map_or(0, |bytes| bytes.len() as u64);
        Ok(chunk.map(Into::into))
    }

    fn too_slow(&self) -> CliError {
        let why = format!(
            "it took over {} s and came slower than {BYTES_S_MIN} bytes a second",
            self.patience.as_secs()
        );
        CliError::Unreachable { url: self.base.clone(), why }
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
mod tests;
