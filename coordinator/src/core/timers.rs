//! One table: timer, deadline.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ids::{JobId, Nonce, TaskId, WorkerId};
use protocol::time::Millis;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A worker that lost its link may come back until then.
    Reconnect(WorkerId),
    /// An assignment is given up then.
    Assignment(TaskId),
    /// A move in the dispute over an assignment's result is due.
    Check(Nonce),
    /// A round may close with a quorum then; a job that waits for time is looked at again.
    Settlement(JobId),
    /// Ops that wait for company are sealed then.
    Seal,
}

/// Timers by deadline.
#[derive(Clone, Debug, Default)]
pub struct Timers {
    by_time: BTreeSet<(Millis, Timer)>,
    deadlines: BTreeMap<Timer, Millis>,
}

impl Timers {
    /// Sets a timer, replacing its earlier deadline.
    pub fn set(&mut self, timer: Timer, at: Millis) {
        self.cancel(&timer);
        self.by_time.insert((at, timer));
        self.deadlines.insert(timer, at);
    }

    /// Sets a timer unless it goes off earlier.
    pub fn set_earlier(&mut self, timer: Timer, at: Millis) {
        if self.deadlines.get(&timer).is_none_or(|known| *known > at) {
            self.set(timer, at);
        }
    }

    /// Takes a timer back.
    pub fn cancel(&mut self, timer: &Timer) {
        if let Some(at) = self.deadlines.remove(timer) {
            self.by_time.remove(&(at, *timer));
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Millis> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// A timer whose deadline has come, taken out.
    pub fn pop_due(&mut self, now: Millis) -> Option<Timer> {
        let (at, timer) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.cancel(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_has_one_deadline_and_goes_off_once() {
        let mut timers = Timers::default();
        timers.set(Timer::Seal, Millis(5));
        timers.set(Timer::Seal, Millis(9));
        timers.set_earlier(Timer::Seal, Millis(10));
        timers.set(Timer::Settlement(JobId(1)), Millis(7));
        assert_eq!(timers.next(), Some(Millis(7)));
        assert_eq!(timers.pop_due(Millis(6)), None);
        assert_eq!(timers.pop_due(Millis(9)), Some(Timer::Settlement(JobId(1))));
        assert_eq!(timers.pop_due(Millis(9)), Some(Timer::Seal));
        assert_eq!((timers.pop_due(Millis(99)), timers.next()), (None, None));
    }
}
