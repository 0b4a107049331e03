//! The HTTP API: jobs, blobs, workers, batches, `/metrics`, `/health`. Shapes are in `protocol::api`.
//!
//! Reading needs no key. Whatever changes something carries the requester's EIP-712 signature ([`auth`]).

mod approvals;
mod auth;
mod blobs;
mod jobs;
mod views;
mod work;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use contracts::bonds::ServiceBonds as _;
use contracts::rpc::RpcChain;
use protocol::amount::Amount;
use protocol::api::{ApiError, Info, SCHEMA};
use protocol::job::{Acceptance, JobSpec, SignedAcceptance};
use protocol::limits::SPEC_BYTES_MAX;
use protocol::sign::EthKey;
use protocol::sign::eip712::Domain;

use super::blobs::Blobs;
use super::checks::Checks;
use super::clock::Clock;
use super::event_loop::{Core, Stopped};
use super::metrics::Metrics;
use super::posted::PostedBlobs;
pub(super) use views::hex;

/// What every handler needs.
#[derive(Debug)]
pub struct Api {
    /// The decisions.
    pub core: Core,
    /// The blobs.
    pub blobs: Arc<Blobs>,
    /// The blobs of posted batches.
    pub posted: Arc<PostedBlobs>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Arc<Clock>,
    /// Disputes over results.
    pub checks: Arc<Checks>,
    /// What signatures are bound to.
    pub domain: Domain,
    /// The operator's key, which signs acceptances.
    pub key: Arc<EthKey>,
    /// Where the operator's bond is.
    pub base_layer: RpcChain,
    /// Who this coordinator is.
    pub info: Info,
    /// Blobs arriving at once.
    pub uploads: tokio::sync::Semaphore,
}

impl Api {
    /// Why the operator's bond does not cover a job that is still to be funded; `None` if it does. The contract decides
    /// when the job is funded: nobody answering is no reason to refuse it here, nor to let the requester wait.
    pub async fn uncovered(&self, spec: &JobSpec) -> Option<String> {
        let bond = tokio::time::timeout(BOND_WAIT, self.base_layer.bond_of(self.info.operator)).await;
        let free = match bond {
            Ok(Ok(bond)) => bond.free(),
            Ok(Err(error)) => {
                tracing::warn!(%error, "could not ask for the operator's bond");
                return None;
            }
            Err(_) => {
                tracing::warn!("the base layer does not answer who asks for the operator's bond");
                return None;
            }
        };
        let needed = Amount::units(spec.bond());
        (free < needed).then(|| {
            format!(
                "the job locks {needed} tokens of the coordinator's service bond (two settlements' pay), of which \
                 {free} are free"
            )
        })
    }

    /// An acceptance as it was, or would have been, sent: the signature is deterministic.
    pub fn sign(&self, acceptance: Acceptance) -> SignedAcceptance {
        acceptance.sign(&self.domain, &self.key)
    }
}

/// How long a requester waits for the base layer to say what bond there is.
const BOND_WAIT: Duration = Duration::from_secs(2);

/// Blobs that requesters may send at once.
pub const BLOB_UPLOADS_MAX: usize = 4;

/// All routes.
pub fn router(api: Arc<Api>) -> Router {
    let blobs = get(blobs::get_blob).put(blobs::put_blob).layer(DefaultBodyLimit::disable());
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/v1/info", get(info))
        .route("/v1/plan", post(jobs::plan))
        .route("/v1/jobs", get(jobs::list).post(jobs::submit))
        .route("/v1/jobs/{id}", get(jobs::show))
        .route("/v1/jobs/{id}/approvals", post(approvals::approve))
        .route("/v1/jobs/{id}/log", get(jobs::log))
        .route("/v1/jobs/{id}/settlements/{number}/work", get(work::settlement))
        .route("/v1/jobs/{id}/rounds/{number}", get(work::round))
        .route("/v1/jobs/{id}/disputes", get(jobs::disputes))
        .route("/v1/specs/{hash}", get(jobs::spec))
        .route("/v1/workers", get(jobs::workers))
        .route("/v1/workers/{id}", get(jobs::worker))
        .route("/v1/batches", get(jobs::batches))
        .route("/v1/batches/{number}/evidence", get(jobs::evidence))
        .route("/v1/blobs/{digest}", blobs)
        .route("/blobs/{hash}", get(blobs::get_posted))
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(SPEC_BYTES_MAX))
        .with_state(api)
}

/// A refusal.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    fix: &'static str,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>, fix: &'static str) -> Self {
        Self { status, code, message: message.into(), fix }
    }

    fn bad(code: &'static str, message: impl Into<String>, fix: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message, fix)
    }

    fn unknown(code: &'static str, message: impl Into<String>, fix: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message, fix)
    }

    fn internal(message: impl Into<String>) -> Self {
        let fix = "look at the coordinator's log; what was acknowledged is not lost";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message, fix)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error =
            ApiError { schema: SCHEMA, code: self.code.into(), message: self.message, fix: self.fix.into() };
        (self.status, Json(error)).into_response()
    }
}

impl From<Stopped> for Refusal {
    fn from(stopped: Stopped) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            stopped.to_string(),
            "try again when it is back",
        )
    }
}

async fn health(State(api): State<Arc<Api>>) -> Result<Response, Refusal> {
    // A core that answers has a store that works.
    api.core.read(|_| ()).await?;
    Ok(Json(serde_json::json!({ "schema": SCHEMA, "status": "ok", "version": api.info.version }))
        .into_response())
}

async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], api.metrics.text()).into_response()
}

async fn info(State(api): State<Arc<Api>>) -> Json<Info> {
    Json(api.info.clone())
}

async fn unknown() -> Refusal {
    Refusal::unknown("unknown-path", "there is nothing under this path", "the README lists the API's paths")
}
