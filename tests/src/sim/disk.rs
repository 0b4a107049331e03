//! Facts that survive a crash, those that do not, and the barrier between a fact and what rests on it.

use std::collections::VecDeque;

use protocol::rng::Rng;

/// A process's log of facts and the effects that wait for it.
#[derive(Debug)]
pub struct Disk<F, E> {
    /// What a restart reads.
    durable: Vec<F>,
    /// Written, not flushed: a crash keeps some of it, from the front.
    written: Vec<F>,
    /// How many of `written` the flush under way covers.
    flushing: Option<usize>,
    /// Effects, each with the length of the log that it rests on.
    held: VecDeque<(usize, E)>,
}

impl<F, E> Default for Disk<F, E> {
    fn default() -> Self {
        Self { durable: Vec::new(), written: Vec::new(), flushing: None, held: VecDeque::new() }
    }
}

impl<F, E> Disk<F, E> {
    /// What a restart reads.
    pub fn durable(&self) -> &[F] {
        &self.durable
    }

    /// Everything that the live state rests on.
    pub fn all(&self) -> impl Iterator<Item = &F> {
        self.durable.iter().chain(&self.written)
    }

    /// Whether something waits for a flush.
    pub fn is_dirty(&self) -> bool {
        !self.written.is_empty()
    }

    /// Whether nothing waits at all.
    pub fn is_idle(&self) -> bool {
        self.written.is_empty() && self.held.is_empty()
    }

    /// Appends a fact.
    pub fn write(&mut self, fact: F) {
        self.written.push(fact);
    }

    /// Keeps an effect until everything written before it is durable.
    pub fn hold(&mut self, effect: E) {
        self.held.push_back((self.durable.len() + self.written.len(), effect));
    }

    /// Keeps an effect that waits for nothing: a planted bug.
    pub fn hold_carelessly(&mut self, effect: E) {
        self.held.push_back((0, effect));
    }

    /// The next effect whose facts are durable.
    pub fn release(&mut self) -> Option<E> {
        let ready = self.held.front().is_some_and(|(rests_on, _)| *rests_on <= self.durable.len());
        if ready { self.held.pop_front().map(|(_, effect)| effect) } else { None }
    }

    /// Begins a flush of what is written so far, unless one is under way or there is nothing to flush.
    pub fn begin_flush(&mut self) -> bool {
        let begins = self.flushing.is_none() && self.is_dirty();
        if begins {
            self.flushing = Some(self.written.len());
        }
        begins
    }

    /// The flush under way is done; how many facts it made durable.
    pub fn end_flush(&mut self) -> usize {
        let flushed = self.flushing.take().unwrap_or(0);
        self.durable.extend(self.written.drain(..flushed));
        flushed
    }

    /// The process is gone. Some of what was not flushed may have reached the disk all the same, in order; returns how
    /// much of it.
    pub fn crash(&mut self, rng: &mut Rng) -> usize {
        let kept = rng.below(self.written.len() as u64 + 1) as usize;
        self.durable.extend(self.written.drain(..kept));
        self.written.clear();
        self.held.clear();
        self.flushing = None;
        kept
    }

    /// Loses what was durable: a planted bug.
    pub fn lose(&mut self, which: impl Fn(&F) -> bool) {
        if let Some(at) = self.durable.iter().rposition(which) {
            self.durable.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_leaves_once_its_facts_are_durable_and_not_before() {
        let mut disk = Disk::default();
        disk.hold("first");
        disk.write(1);
        disk.hold("second");
        assert_eq!(disk.release(), Some("first"));
        assert_eq!(disk.release(), None);
        assert!(disk.begin_flush() && !disk.begin_flush());
        disk.write(2);
        disk.hold("third");
        assert_eq!(disk.end_flush(), 1);
        assert_eq!((disk.release(), disk.release()), (Some("second"), None));
        let kept = disk.crash(&mut Rng::new(1));
        assert_eq!(disk.durable().len(), 1 + kept);
        assert!(disk.is_idle());
    }
}
