//! What a watcher tells Prometheus; a field's help text is what `/metrics` shows.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

/// All counters.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// The newest block that was read.
    pub block: Gauge,
    /// The newest batch that was audited.
    pub batch: Gauge,
    /// Batches audited, rolled back ones included.
    pub batches: Counter,
    /// Batches that do not hold.
    pub wrong: Counter,
    /// 1 while a wrong batch stands on the base layer.
    pub alarm: Gauge,
    /// Batches that hold, and whose evidence nobody shows.
    pub without_evidence: Gauge,
    /// Blobs of the first batch that cannot be read: until they are had, nothing from there on is judged.
    pub missing_blobs: Gauge,
    /// Batches proven wrong by this watcher.
    pub proven: Counter,
    /// Workers that stated two results for one task.
    pub contradictions: Counter,
    /// Looks at the base layer, and answers of sources, that failed.
    pub failed: Counter,
    /// 1 while the last look at the base layer failed: what comes is not seen.
    pub blind: Gauge,
    /// 1 while something is wrong that could not be proven so.
    pub challenge_fails: Gauge,
    /// Things that the mirror did not take.
    pub not_kept: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("fedroll_audit");
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let batches = counter("batches", "Batches audited, rolled back ones included");
        let wrong = counter("batches_wrong", "Batches that do not hold");
        let proven = counter("batches_proven", "Batches proven wrong by this watcher");
        let contradictions = counter("contradictions", "Workers that stated two results for one task");
        let failed = counter("looks_failed", "Looks at the base layer, and answers of sources, that failed");
        let not_kept = counter("not_kept", "Things that the mirror did not take");
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let block = gauge("block", "The newest block that was read");
        let batch = gauge("batch", "The newest batch that was audited");
        let alarm = gauge("alarm", "1 while a wrong batch stands on the base layer");
        let without_evidence =
            gauge("batches_without_evidence", "Batches that hold, and whose evidence nobody shows");
        let missing_blobs =
            gauge("blobs_missing", "Blobs not to be had; from their batch on nothing is judged");
        let blind = gauge("blind", "1 while the last look failed: what comes is not seen");
        let challenge_fails = gauge("challenge_fails", "1 while the base layer refuses a challenge");
        Self {
            registry,
            block,
            batch,
            batches,
            wrong,
            alarm,
            without_evidence,
            missing_blobs,
            proven,
            contradictions,
            failed,
            blind,
            challenge_fails,
            not_kept,
        }
    }
}

impl Metrics {
    fn text(&self) -> Result<String, core::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Answers `/metrics` until the process ends; returns the address that it listens on.
    pub async fn serve(self: &Arc<Self>, address: SocketAddr) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let local = listener.local_addr()?;
        let router = Router::new().route("/metrics", get(show)).with_state(Arc::clone(self));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(local)
    }
}

async fn show(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.text() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
