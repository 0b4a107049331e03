//! The only file that asks what time it is.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds since the Unix epoch; 0 on a machine whose clock stands before it.
pub fn unix_seconds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "this file is the clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Measures how long something takes.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts.
    pub fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this file is the clock")]
        let now = Instant::now();
        Self(now)
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
