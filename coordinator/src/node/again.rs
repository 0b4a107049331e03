//! Asking the base layer again: how long to wait after a call that failed, and who is woken once it answers.
//!
//! The watcher asks it often, also while nobody answers. Whoever else waits does so for longer and longer, and is woken
//! by the watcher: a while after an outage it is as if there had been none.

use std::time::Duration;

use tokio::sync::watch;

/// Milliseconds before a call that failed for a passing reason is made again: the first time, and at most.
const AGAIN_MS: (u64, u64) = (250, 15_000);
/// Milliseconds at most between two looks at a base layer that does not answer, unless it is looked at less often when
/// it does.
const LOOK_AGAIN_MS_MAX: u64 = 2_000;

/// What the watcher knows and others wait for: how often the base layer has come back.
#[derive(Debug)]
pub struct Outages(watch::Sender<u64>);

impl Default for Outages {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Outages {
    /// It answers again.
    pub fn over(&self) {
        self.0.send_modify(|times| *times += 1);
    }

    /// For one who asks, and is woken.
    pub fn patience(&self) -> Patience {
        Patience { wait_ms: AGAIN_MS.0, most_ms: AGAIN_MS.1, over: Some(self.0.subscribe()) }
    }
}

/// Waits before a call is made again, each time twice as long.
#[derive(Debug)]
pub struct Patience {
    wait_ms: u64,
    most_ms: u64,
    over: Option<watch::Receiver<u64>>,
}

impl Patience {
    /// For the watcher, which looks each `poll` while the base layer answers, and is woken by nobody.
    pub fn of_watcher(poll: Duration) -> Self {
        let poll_ms = u64::try_from(poll.as_millis()).unwrap_or(u64::MAX);
        let most_ms = poll_ms.clamp(LOOK_AGAIN_MS_MAX, AGAIN_MS.1);
        Self { wait_ms: AGAIN_MS.0, most_ms, over: None }
    }

    /// Milliseconds that the next wait takes at most.
    pub const fn wait_ms(&self) -> u64 {
        self.wait_ms
    }

    /// A call was answered; returns whether the one before it was not.
    pub const fn answered(&mut self) -> bool {
        let waited = self.wait_ms > AGAIN_MS.0;
        self.wait_ms = AGAIN_MS.0;
        waited
    }

    /// Waits; not at all if the base layer has come back since the last wait. Dropped before it ends, it has not been.
    pub async fn wait(&mut self) {
        let time = Duration::from_millis(self.wait_ms);
        let woken = match &mut self.over {
            // An error is that the watcher has ended, and then everybody will.
            Some(over) => matches!(tokio::time::timeout(time, over.changed()).await, Ok(Ok(()))),
            None => {
                tokio::time::sleep(time).await;
                false
            }
        };
        self.wait_ms = if woken { AGAIN_MS.0 } else { (self.wait_ms * 2).min(self.most_ms) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_grow_up_to_a_limit_and_begin_again() {
        let mut watcher = Patience::of_watcher(Duration::from_millis(50));
        watcher.wait_ms = 1_500;
        assert!(watcher.answered() && !watcher.answered());
        assert_eq!((watcher.wait_ms(), watcher.most_ms), (AGAIN_MS.0, LOOK_AGAIN_MS_MAX));
        let mut rare = Patience::of_watcher(Duration::from_secs(4));
        rare.wait_ms = 1;
        rare.most_ms = 2;
        for want in [2, 2] {
            rare.wait().await;
            assert_eq!(rare.wait_ms(), want);
        }
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_when_the_base_layer_answers() {
        let outages = Outages::default();
        let mut patience = outages.patience();
        patience.wait_ms = AGAIN_MS.1;
        // Also if that was between the call and the wait.
        outages.over();
        patience.wait().await;
        assert_eq!(patience.wait_ms(), AGAIN_MS.0);
        patience.wait_ms = AGAIN_MS.1;
        tokio::join!(patience.wait(), async { outages.over() });
        assert_eq!(patience.wait_ms(), AGAIN_MS.0);
        // Once only.
        patience.wait_ms = 1;
        patience.wait().await;
        assert_eq!(patience.wait_ms(), 2);
    }
}
