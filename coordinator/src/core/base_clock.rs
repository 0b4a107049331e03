//! What time it is on the base layer, and what gas costs there. Batches are dated by its clock and the ledger's rules
//! go by it; it may be hours away from the shell's, and it is known only from what the shell heard last.

use protocol::time::Millis;

use super::limits::BASE_LAYER_SILENCE_MS_MAX;
use super::posting::Prices;

/// The base layer's clock, as far as it was heard.
#[derive(Clone, Copy, Debug, Default)]
pub struct BaseClock {
    heard: Option<(u64, Millis)>,
    prices: Option<Prices>,
}

impl BaseClock {
    /// The base layer showed `secs` (Unix) when the shell's clock showed `at`, and asked for this.
    pub const fn hear(&mut self, secs: u64, prices: Option<Prices>, at: Millis) {
        (self.heard, self.prices) = (Some((secs, at)), prices);
    }

    /// What it asked for when it was heard last; `None` if the shell did not look.
    pub const fn prices(&self) -> Option<Prices> {
        self.prices
    }

    /// A date that the next block does not lie before; `None` if nothing was heard of late: nobody could post then.
    pub fn date(&self, now: Millis) -> Option<u64> {
        self.heard.filter(|(_, at)| now.since(*at) <= BASE_LAYER_SILENCE_MS_MAX).map(|(secs, _)| secs)
    }

    /// Unix seconds by now, guessed from what was heard last; by the shell's clock if nothing was.
    pub fn now(&self, now: Millis) -> u64 {
        self.heard.map_or(now.secs(), |(secs, at)| secs.saturating_add(Millis(now.since(at)).secs()))
    }

    /// When the shell's clock will show that the base layer's shows `secs`.
    pub fn when(&self, secs: u64, now: Millis) -> Millis {
        now.plus(secs.saturating_sub(self.now(now)).saturating_mul(1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_dates_batches_until_it_is_stale() {
        let mut clock = BaseClock::default();
        let now = Millis(1_000_000);
        assert_eq!((clock.date(now), clock.now(now)), (None, 1_000));
        clock.hear(90_000, None, now);
        let later = now.plus(5_500);
        assert_eq!((clock.date(later), clock.now(later)), (Some(90_000), 90_005));
        assert_eq!(clock.when(90_015, later), later.plus(10_000));
        assert_eq!(clock.when(7, later), later);
        assert_eq!(clock.date(now.plus(BASE_LAYER_SILENCE_MS_MAX + 1)), None);
    }
}
