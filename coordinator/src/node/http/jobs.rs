//! Jobs, workers and batches over HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use bytes::Bytes;
use protocol::api::{
    BatchList, DisputeList, Evidence, JobStatus, LogPage, Plan, SCHEMA, Submitted, WorkerHistory, WorkerList,
};
use protocol::hash::Digest;
use protocol::ids::{BatchId, JobId, SpecHash, WorkerId};
use protocol::job::{JobSpec, SpecFields};
use protocol::limits::SPEC_BYTES_MAX;
use protocol::wire::codec;
use serde::Deserialize;

use super::{Api, Refusal, auth, views};
use crate::core::Event;
use crate::core::jobs::Job;
use crate::node::aggregate::check_model;

/// Milliseconds a long poll may wait.
const WAIT_MS_MAX: u64 = 30_000;
/// Milliseconds between two looks of a long poll.
const LOOK_MS: u64 = 100;
/// What to do about a bond that does not cover a job.
const BOND_FIX: &str = "lower [settlement] rounds or the price, or ask the operator to add with `fedroll chain bond \
                        deposit`";

fn parse_spec(bytes: &[u8]) -> Result<JobSpec, Refusal> {
    let fields: SpecFields = codec::decode_within(bytes, SPEC_BYTES_MAX).map_err(|error| {
        let fix = "send the canonical bytes (`fedroll job submit` does)";
        Refusal::bad("bad-spec", format!("the body is not a job spec: {error}"), fix)
    })?;
    let spec = JobSpec::new(fields).map_err(|error| {
        Refusal::bad("bad-spec", error.to_string(), "correct the job file and submit it again")
    })?;
    check_model(spec.model()).map_err(|error| {
        Refusal::bad("bad-model", error, "choose shapes that the model can have (docs/GLOSSARY.md, model)")
    })?;
    Ok(spec)
}

/// `POST /v1/plan`.
pub async fn plan(State(api): State<Arc<Api>>, body: Bytes) -> Result<Json<Plan>, Refusal> {
    let spec = parse_spec(&body)?;
    let uncovered = api.uncovered(&spec).await;
    let mut plan = api.core.read(move |core| views::plan(core, &spec)).await?;
    plan.problems.extend(uncovered.map(|why| format!("{why}; {BOND_FIX}")));
    Ok(Json(plan))
}

/// `POST /v1/jobs`: hands a spec in. Signed.
pub async fn submit(
    State(api): State<Arc<Api>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Submitted>, Refusal> {
    let requester = auth::signer(&api, &method, uri.path(), &headers, Digest::of(&body))?;
    let spec = parse_spec(&body)?;
    if let Some(asked) = spec.stake
        && api.info.registry != Some(asked.registry)
    {
        let what = match api.info.registry {
            Some(registry) => format!("stakes count in {registry} here, not in {}", asked.registry),
            None => "this coordinator looks at no registry of stakes".into(),
        };
        let fix = "name its registry in the job (`GET /v1/info`), or leave [workers] stake out";
        return Err(Refusal::bad("other-registry", what, fix));
    }
    let hash = spec.hash();
    // A spec that is known may be funded already, and its lock taken.
    let known = api.core.read(move |core| core.specs().contains_key(&hash)).await?;
    if !known && let Some(why) = api.uncovered(&spec).await {
        return Err(Refusal::new(StatusCode::CONFLICT, "bond-too-small", why, BOND_FIX));
    }
    let mut here = Job::needed_blobs(&spec);
    here.sort_unstable();
    here.dedup();
    here.retain(|digest| api.blobs.has(digest));
    api.core.tell(Event::SpecSubmitted { spec: Box::new(spec.clone()), requester }).await?;
    for digest in here {
        api.core.tell(Event::BlobStored { digest }).await?;
    }
    let missing = api.core.read(move |core| core.missing_blobs(&spec)).await?;
    Ok(Json(Submitted { schema: SCHEMA, spec: hash, missing }))
}

/// `GET /v1/jobs`.
pub async fn list(State(api): State<Arc<Api>>) -> Result<Response, Refusal> {
    let jobs: Vec<JobStatus> =
        api.core.read(|core| core.jobs().values().map(|job| views::job(core, job, false)).collect()).await?;
    Ok(Json(serde_json::json!({ "schema": SCHEMA, "jobs": jobs })).into_response())
}

/// `GET /v1/jobs/{id}`, by the ledger's index or by the spec's hash.
pub async fn show(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Json<JobStatus>, Refusal> {
    let fix = "`fedroll job ls` lists the jobs";
    let found = if let Ok(id) = id.parse::<JobId>() {
        api.core.read(move |core| core.jobs().get(&id).map(|job| views::job(core, job, true))).await?
    } else if let Ok(hash) = id.parse::<SpecHash>() {
        api.core.read(move |core| views::by_spec(core, hash)).await?
    } else {
        return Err(Refusal::bad(
            "bad-id",
            format!("'{id}' is neither a job's number nor a spec's hash"),
            fix,
        ));
    };
    found.map(Json).ok_or_else(|| Refusal::unknown("unknown-job", format!("there is no job {id} here"), fix))
}

/// The query of a log page.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct LogQuery {
    /// Entries after this one.
    #[serde(default)]
    after: u64,
    /// How long to wait for one.
    #[serde(default)]
    wait_ms: u64,
}

/// `GET /v1/jobs/{id}/log?after=N&wait_ms=M`.
pub async fn log(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    Query(query): Query<LogQuery>,
) -> Result<Json<LogPage>, Refusal> {
    let fix = "`fedroll job ls` lists the jobs";
    let id: JobId =
        id.parse().map_err(|_| Refusal::bad("bad-id", format!("'{id}' is not a job's number"), fix))?;
    let mut left = query.wait_ms.min(WAIT_MS_MAX);
    loop {
        let page =
            api.core.read(move |core| core.jobs().get(&id).map(|job| views::log(job, query.after))).await?;
        let page =
            page.ok_or_else(|| Refusal::unknown("unknown-job", format!("there is no job {id} here"), fix))?;
        if !page.entries.is_empty() || left == 0 {
            return Ok(Json(page));
        }
        let wait = left.min(LOOK_MS);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        left -= wait;
    }
}

/// `GET /v1/jobs/{id}/disputes`: what was said in the disputes over a job's tasks, signed, and how each ended; and the
/// receipts of inference tasks whose answers were refused.
pub async fn disputes(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<DisputeList>, Refusal> {
    let fix = "`fedroll job ls` lists the jobs";
    let job: JobId =
        id.parse().map_err(|_| Refusal::bad("bad-id", format!("'{id}' is not a job's number"), fix))?;
    let spec = api.core.read(move |core| core.jobs().get(&job).map(|job| job.spec_hash)).await?;
    let spec =
        spec.ok_or_else(|| Refusal::unknown("unknown-job", format!("there is no job {job} here"), fix))?;
    let checks = api.checks.clone();
    let read = tokio::task::spawn_blocking(move || (checks.transcripts(job), checks.refused(job))).await;
    let (disputes, refused) = read.map_err(|error| Refusal::internal(error.to_string()))?;
    let refused = refused.iter().map(|receipt| views::hex(receipt)).collect();
    Ok(Json(DisputeList { schema: SCHEMA, job, spec, disputes, refused }))
}

/// `GET /v1/specs/{hash}`: a spec's canonical bytes.
pub async fn spec(State(api): State<Arc<Api>>, Path(hash): Path<String>) -> Result<Response, Refusal> {
    let fix = "a spec is named by its hash, as `fedroll job status` shows it";
    let hash: SpecHash =
        hash.parse().map_err(|error| Refusal::bad("bad-hash", format!("'{hash}': {error}"), fix))?;
    let bytes =
        api.core.read(move |core| core.specs().get(&hash).map(|known| known.spec.canonical_bytes())).await?;
    let bytes = bytes
        .ok_or_else(|| Refusal::unknown("unknown-spec", format!("there is no spec {hash} here"), fix))?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

/// `GET /v1/workers`.
pub async fn workers(State(api): State<Arc<Api>>) -> Result<Json<WorkerList>, Refusal> {
    Ok(Json(api.core.read(views::workers).await?))
}

/// `GET /v1/workers/{id}`.
pub async fn worker(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<WorkerHistory>, Refusal> {
    let fix = "a worker is named by its key: `fedroll-worker key` prints it";
    let id: WorkerId = id.parse().map_err(|error| Refusal::bad("bad-id", format!("'{id}': {error}"), fix))?;
    let found = api.core.read(move |core| views::worker_history(core, id)).await?;
    found
        .map(Json)
        .ok_or_else(|| Refusal::unknown("unknown-worker", format!("worker {id} has never joined here"), fix))
}

/// `GET /v1/batches`.
pub async fn batches(State(api): State<Arc<Api>>) -> Result<Json<BatchList>, Refusal> {
    Ok(Json(api.core.read(views::batches).await?))
}

/// `GET /v1/batches/{number}/evidence`.
pub async fn evidence(
    State(api): State<Arc<Api>>,
    Path(number): Path<String>,
) -> Result<Json<Evidence>, Refusal> {
    let fix = "`GET /v1/batches` lists the batches";
    let number: BatchId =
        number.parse().map_err(|_| Refusal::bad("bad-number", format!("'{number}' is not a number"), fix))?;
    let accept = api.clone();
    let found = api.core.read(move |core| views::evidence(core, number, &accept)).await?;
    found.map(Json).map_err(|gone| match gone {
        views::NoEvidence::UnknownBatch => {
            Refusal::unknown("unknown-batch", format!("there is no batch {number} here"), fix)
        }
        views::NoEvidence::Gone { job, settlement } => Refusal::new(
            StatusCode::GONE,
            "evidence-gone",
            format!("the receipts of job {job}, settlement {settlement}, are kept no longer"),
            "ask a mirror",
        ),
    })
}
