//! What cheating would come to under a job's checks: for whoever plans the job, before it costs anything.

use std::fmt;

use protocol::amount::Amount;
use protocol::api::text;
use protocol::job::JobSpec;
use serde::Serialize;

/// What a worker can expect that makes its results up.
#[derive(Debug, Serialize)]
pub struct Cheating {
    /// Of 10,000 results, how many are run again before they are accepted.
    rate_bps: u16,
    /// Whether anybody but their worker could run them again.
    checkable: bool,
    /// Tokens that a made-up result brings, on average: the price, unless it is drawn.
    #[serde(with = "text")]
    gain: Amount,
    /// Tokens at stake that it costs, on average: a verdict takes none, it ends the worker's work here.
    #[serde(with = "text")]
    loss: Amount,
    /// Tasks until the first is drawn, on average.
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks_until_found: Option<f64>,
    /// Tokens that it has been paid by then, on average.
    #[serde(with = "text::option", skip_serializing_if = "Option::is_none")]
    paid_until_found: Option<Amount>,
}

impl Cheating {
    /// Under this job's rate and price.
    pub fn under(spec: &JobSpec) -> Self {
        let (rate, price) = (u128::from(spec.checks.rate_bps), u128::from(spec.price_cap()));
        let of_price = |part: u128, whole: u128| Amount::units(price * part / whole);
        Self {
            rate_bps: spec.checks.rate_bps,
            checkable: spec.work.can_be_run_again(),
            gain: of_price(10_000 - rate, 10_000),
            loss: Amount::ZERO,
            tasks_until_found: (rate > 0).then(|| 10_000.0 / rate as f64),
            // The tasks before the first that is drawn: of a geometric distribution.
            paid_until_found: (rate > 0).then(|| of_price(10_000 - rate, rate)),
        }
    }
}

impl fmt::Display for Cheating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(tasks), Some(paid)) = (self.tasks_until_found, self.paid_until_found) else {
            let why = if self.checkable { "rate_bps is 0" } else { "the examples stay on the workers" };
            return write!(f, "no result is run again ({why}): a made-up one is paid like an honest one");
        };
        let percent = f64::from(self.rate_bps) / 100.0;
        write!(
            f,
            "{percent} % of results are run again; who makes them up is found after {tasks:.0} tasks on "
        )?;
        write!(f, "average, paid {paid} by then")
    }
}
