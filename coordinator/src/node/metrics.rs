//! Counters for Prometheus; a field's help text is what `/metrics` shows.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::core::Fact;

/// All counters.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Workers connected.
    pub connections: Gauge,
    /// Workers that broke the protocol and were cut off.
    pub misbehaved: Counter,
    /// Bytes of results received.
    pub bytes_up: Counter,
    /// Bytes of models and inputs handed out.
    pub bytes_down: Counter,
    /// Facts made durable.
    pub facts: Counter,
    assigned: Counter,
    accepted: Counter,
    ended: Counter,
    settlements: Counter,
    sealed: Counter,
    posted: Counter,
    posted_gas: Counter,
    final_batches: Gauge,
    evidence_dropped: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("fedroll");
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let misbehaved = counter("workers_misbehaved", "Workers that broke the protocol and were cut off");
        let bytes_up = counter("result_bytes", "Bytes of results received from workers");
        let bytes_down = counter("handed_out_bytes", "Bytes of models and inputs handed out to workers");
        let facts = counter("facts", "Facts made durable");
        let assigned = counter("tasks_assigned", "Tasks handed to workers");
        let accepted = counter("receipts_accepted", "Receipts accepted");
        let ended = counter("tasks_ended", "Assignments that ended without a receipt");
        let settlements = counter("settlements_closed", "Rounds and groups that took their last receipt");
        let sealed = counter("batches_sealed", "Batches sealed");
        let posted = counter("batches_posted", "Batches seen on the base layer");
        let posted_gas = counter("posting_gas", "Gas used to post batches");
        let (connections, final_batches, evidence_dropped) = <(Gauge, Gauge, Gauge)>::default();
        let help = "Settlements whose receipts left memory while somebody might still ask for them";
        registry.register("evidence_dropped", help, evidence_dropped.clone());
        registry.register("workers_connected", "Workers connected", connections.clone());
        registry.register("batches_final", "Number of the newest final batch", final_batches.clone());
        Self {
            registry,
            connections,
            misbehaved,
            bytes_up,
            bytes_down,
            facts,
            assigned,
            accepted,
            ended,
            settlements,
            sealed,
            posted,
            posted_gas,
            final_batches,
            evidence_dropped,
        }
    }
}

impl Metrics {
    /// Counts a fact that has become durable.
    pub fn fact(&self, fact: &Fact) {
        self.facts.inc();
        match fact {
            Fact::Assigned { .. } => drop(self.assigned.inc()),
            Fact::Accepted { .. } => drop(self.accepted.inc()),
            Fact::Ended { .. } => drop(self.ended.inc()),
            Fact::Closed { .. } => drop(self.settlements.inc()),
            Fact::Sealed(_) => drop(self.sealed.inc()),
            Fact::Posted { gas, .. } => {
                self.posted.inc();
                self.posted_gas.inc_by(*gas);
            }
            Fact::Final { number } => drop(self.final_batches.set(number.0 as i64)),
            _ => {}
        }
    }

    /// Takes how many settlements' receipts had to go early, and says so when there are more.
    pub fn evidence(&self, dropped_early: u64) {
        let dropped = i64::try_from(dropped_early).unwrap_or(i64::MAX);
        if dropped > self.evidence_dropped.set(dropped) {
            tracing::error!(
                settlements = dropped,
                "receipts that somebody may still ask for had to leave memory: they are on disk only"
            );
        }
    }

    /// The text that Prometheus reads (OpenMetrics).
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }
}
