//! The only file that asks what time it is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::time::Millis;

/// The wall clock, held so that it never runs back.
#[derive(Debug, Default)]
pub struct Clock(AtomicU64);

impl Clock {
    /// Milliseconds since the Unix epoch; never less than an earlier answer, nor than `least` given before.
    pub fn now(&self) -> Millis {
        #[expect(clippy::disallowed_methods, reason = "this file is where time comes from")]
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Millis(self.0.fetch_max(wall, Ordering::Relaxed).max(wall))
    }

    /// Makes sure that no answer lies before `least`: the time of the newest fact on disk.
    pub fn at_least(&self, least: Millis) {
        self.0.fetch_max(least.0, Ordering::Relaxed);
    }

    /// How long it is until `at`.
    pub fn until(&self, at: Millis) -> Duration {
        Duration::from_millis(at.since(self.now()))
    }
}
