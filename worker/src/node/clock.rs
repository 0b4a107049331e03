//! The only file that asks what time it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use protocol::time::Millis;

/// A clock that never runs back, not even when somebody sets the machine's, and counts the time a laptop sleeps.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<Reading>>);

#[derive(Debug)]
struct Reading {
    at: Millis,
    since: Instant,
}

impl Clock {
    /// Starts at the machine's time.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Reading { at: system_time(), since: monotonic() })))
    }

    /// The time.
    pub fn now(&self) -> Millis {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = monotonic();
        let passed_ms = now.duration_since(reading.since).as_millis() as u64;
        // Only whole milliseconds are moved over: the rest counts next time.
        if passed_ms > 0 {
            reading.at = reading.at.plus(passed_ms);
            reading.since = now;
        }
        reading.at = reading.at.max(system_time());
        reading.at
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is node/clock.rs")]
fn system_time() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(since.as_millis() as u64)
}

#[expect(clippy::disallowed_methods, reason = "this is node/clock.rs")]
fn monotonic() -> Instant {
    Instant::now()
}
