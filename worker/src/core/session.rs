//! The link to the coordinator: dialling, hello and welcome, back-off, leaving, resting.

use protocol::ids::{Nonce, TaskId};
use protocol::job::Reason;
use protocol::rng::Rng;
use protocol::sign::eip712::Domain;
use protocol::time::Millis;
use protocol::wire::message::{Hello, ToCoordinator, Welcome};

use super::effect::Effect;
use super::fact::{Fact, Pin, Stage};
use super::input::LinkId;
use super::limits::*;
use super::note::Note;
use super::{Outcome, Worker};

/// The state of the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// None; the next try, if there is to be one.
    Down { retry_at: Option<Millis> },
    /// Dialled, or connected and waiting for the answer to the hello.
    Greeting { link: LinkId, until: Millis },
    /// Welcomed.
    Up { link: LinkId, since: Millis },
}

/// Everything about the link that a crash may forget.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) link: Link,
    /// Links dialled.
    dialled: u64,
    /// Failures in a row.
    failures: u32,
    /// Refusals in a row.
    refusals: u32,
    /// Whether `Leaving` was said on this link.
    said_leaving: bool,
    /// When to hang up, once the operator wants the worker gone.
    pub(super) leave_by: Option<Millis>,
    pub(super) stopped: bool,
    /// Assignments that the coordinator expects and that are not known here, each with its time to be declined.
    unknown: Vec<(TaskId, Nonce, Millis)>,
}

impl Session {
    pub(super) fn new() -> Self {
        Self {
            link: Link::Down { retry_at: None },
            dialled: 0,
            failures: 0,
            refusals: 0,
            said_leaving: false,
            leave_by: None,
            stopped: false,
            unknown: Vec::new(),
        }
    }

    /// The link, if the coordinator has welcomed the worker on it.
    pub(super) fn up(&self) -> Option<LinkId> {
        match self.link {
            Link::Up { link, .. } => Some(link),
            _ => None,
        }
    }

    /// The link, in whatever state.
    pub(super) fn current(&self) -> Option<LinkId> {
        match self.link {
            Link::Up { link, .. } | Link::Greeting { link, .. } => Some(link),
            Link::Down { .. } => None,
        }
    }

    pub(super) fn forget_unknown(&mut self, nonce: &Nonce) {
        self.unknown.retain(|(_, other, _)| other != nonce);
    }

    pub(super) fn next_wake(&self) -> Option<Millis> {
        let link = match self.link {
            Link::Down { retry_at } => retry_at,
            Link::Greeting { until, .. } => Some(until),
            Link::Up { .. } => None,
        };
        let unknown = self.unknown.iter().map(|(_, _, until)| *until);
        unknown.chain(link).chain(self.leave_by).min()
    }
}

impl Worker {
    pub(super) fn on_started(&mut self) {
        self.session.link = Link::Down { retry_at: Some(self.now) };
    }

    pub(super) fn on_link_up(&mut self, link: LinkId) {
        if !matches!(self.session.link, Link::Greeting { link: current, .. } if current == link) {
            return self.effects.push(Effect::Disconnect(link));
        }
        let hello = Hello {
            software: self.config.software.clone(),
            payout: self.config.payout,
            invitation: self.config.invitation.clone(),
            abilities: self.config.abilities.clone(),
        };
        self.send(link, ToCoordinator::Hello(hello));
    }

    pub(super) fn on_link_down(&mut self, link: LinkId, reason: Reason, hopeless: bool) {
        if self.session.current() != Some(link) {
            return;
        }
        if hopeless {
            return self.refuse_to_work(reason);
        }
        self.link_lost(reason);
    }

    /// Goes back to dialling, after a while that grows with every failure in a row.
    fn link_lost(&mut self, reason: Reason) {
        if let Link::Up { since, .. } = self.session.link
            && self.now.since(since) >= LINK_STEADY_MS
        {
            self.session.failures = 0;
        }
        let retry_ms = self.back_off(self.session.failures, REDIAL_MS_MIN, REDIAL_MS_MAX);
        self.session.failures = self.session.failures.saturating_add(1);
        self.effects.push(Effect::Log(Note::LinkLost { reason, retry_ms: Some(retry_ms) }));
        self.go_down(Some(self.now.plus(retry_ms)));
    }

    /// Doubles from `least` to `most`; the upper half is jitter, so that workers cut off together do not come back
    /// together.
    fn back_off(&self, failures: u32, least: u64, most: u64) -> u64 {
        let full = least.saturating_mul(1 << failures.min(20)).min(most);
        let jitter = Rng::derive(&[self.seed, self.session.dialled, u64::from(failures)]).below(full / 2 + 1);
        full - jitter
    }

    fn go_down(&mut self, retry_at: Option<Millis>) {
        self.session.link = Link::Down { retry_at };
        self.session.said_leaving = false;
        self.session.unknown.clear();
        self.suspend_transfers();
    }

    /// Hangs up: nothing is owed on this link.
    fn hang_up(&mut self, retry_at: Option<Millis>) {
        self.effects.extend(self.session.current().map(Effect::Disconnect));
        self.go_down(retry_at);
    }

    /// The coordinator said no. A person may change its mind (an allow-list, an invitation), so the worker asks again,
    /// seldom.
    pub(super) fn on_refused(&mut self, reason: Reason) {
        self.record_refusal(reason);
        let retry_ms = self.back_off(self.session.refusals, REFUSED_REDIAL_MS_MIN, REFUSED_REDIAL_MS_MAX);
        self.session.refusals = self.session.refusals.saturating_add(1);
        self.hang_up(Some(self.now.plus(retry_ms)));
    }

    fn record_refusal(&mut self, reason: Reason) {
        // The same words every minute would only push the other ones out.
        if self.records.refusals.back().is_none_or(|(_, last)| *last != reason) {
            self.record(Fact::Refused { at: self.now, reason: reason.clone() });
        }
        self.effects.push(Effect::Log(Note::Refused(reason)));
    }

    /// A person has to change something: says so and ends.
    fn refuse_to_work(&mut self, reason: Reason) {
        self.record_refusal(reason.clone());
        self.hang_up(None);
        self.stop(Some(reason));
    }

    pub(super) fn stop(&mut self, reason: Option<Reason>) {
        if !self.session.stopped {
            self.session.stopped = true;
            self.effects.push(Effect::Stop(reason));
        }
    }

    pub(super) fn on_welcome(&mut self, welcome: Welcome) {
        let Link::Greeting { link, .. } = self.session.link else {
            return self.link_misused("a second welcome");
        };
        let pin = Pin {
            node: self.config.node,
            coordinator: welcome.coordinator,
            domain: Domain { chain_id: welcome.chain_id, contract: welcome.rollup },
            account: welcome.account,
            payout: welcome.payout,
        };
        if let Err(reason) = self.check_pin(&pin) {
            return self.refuse_to_work(reason);
        }
        if self.records.pin() != Some(&pin) {
            self.record(Fact::Pinned(pin));
        }
        self.session.link = Link::Up { link, since: self.now };
        self.session.refusals = 0;
        let unanswered = self.records.unanswered();
        self.effects.push(Effect::Log(Note::Welcomed {
            account: pin.account,
            payout: pin.payout,
            unanswered,
        }));
        self.reconcile(&welcome.expected);
        self.resend_receipts();
    }

    fn check_pin(&self, pin: &Pin) -> Result<(), Reason> {
        if pin.payout != self.config.payout {
            return Err(Reason::from(format!(
                "the coordinator pays this worker's earnings to {}, as registered, and not to {}: set `payout` to \
                 that address if it is yours, or use a new identity",
                pin.payout, self.config.payout
            )));
        }
        match self.records.pin() {
            Some(known) if known != pin && !self.config.accept_changed_coordinator => {
                Err(Reason::from(format!("{}: {}", changes(known, pin), ACCEPT_HINT)))
            }
            _ => Ok(()),
        }
    }

    /// Drops what the coordinator no longer waits for, and notes what it waits for in vain.
    fn reconcile(&mut self, expected: &[(TaskId, Nonce)]) {
        let dropped: Vec<Nonce> = self
            .records
            .open
            .iter()
            .filter(|(nonce, open)| {
                let waits = expected.iter().any(|(_, other)| other == *nonce);
                !waits && !matches!(open.stage, Stage::Finished { .. })
            })
            .map(|(nonce, _)| *nonce)
            .collect();
        for nonce in dropped {
            let reason = Reason::from("the coordinator did not expect it any more after a reconnect");
            self.end_task(nonce, Outcome::Cancelled(reason));
        }
        // An assignment may have been on its way when the link broke and be sent again in a moment. If it is not, the
        // coordinator must not wait for it until its deadline.
        let until = self.now.plus(UNKNOWN_ASSIGNMENT_MS);
        let unknown = expected.iter().filter(|(_, nonce)| !self.records.open.contains_key(nonce));
        self.session.unknown = unknown.map(|(task, nonce)| (*task, *nonce, until)).collect();
    }

    pub(super) fn on_leave(&mut self) {
        if self.session.leave_by.is_some() {
            return self.stop(None);
        }
        self.session.leave_by = Some(self.now.plus(LEAVE_MS_MAX));
        self.effects.push(Effect::Log(Note::Leaving { held: self.records.open.len() }));
        if self.session.up().is_some() {
            self.give_up_uncomputed("the worker is leaving");
        }
    }

    /// What time alone brings about.
    pub(super) fn tend_link(&mut self) {
        if self.session.stopped {
            return;
        }
        if let Link::Greeting { link, until } = self.session.link
            && self.now >= until
        {
            self.effects.push(Effect::Disconnect(link));
            self.link_lost(Reason::from("no answer to the hello"));
        }
        self.decline_unknown();
        if self.session.leave_by.is_some() {
            return self.tend_leaving();
        }
        self.tend_hours();
        self.dial_if_due();
    }

    fn decline_unknown(&mut self) {
        let Some(link) = self.session.up() else { return };
        let now = self.now;
        let due: Vec<_> = self.session.unknown.extract_if(.., |(_, _, until)| *until <= now).collect();
        for (task, nonce, _) in due {
            let reason = Reason::from("the assignment never arrived here");
            self.send(link, ToCoordinator::Decline { task, nonce, reason });
        }
    }

    fn say_leaving(&mut self, link: LinkId) {
        if !self.session.said_leaving {
            self.session.said_leaving = true;
            self.send(link, ToCoordinator::Leaving);
        }
    }

    fn tend_leaving(&mut self) {
        let overdue = self.session.leave_by.is_some_and(|leave_by| self.now >= leave_by);
        let Some(link) = self.session.up() else {
            self.hang_up(None);
            return self.stop(None);
        };
        self.say_leaving(link);
        if overdue {
            self.give_up_unfinished("the worker is leaving and the upload took too long");
        }
        if overdue || self.records.open.is_empty() {
            self.hang_up(None);
            self.stop(None);
        }
    }

    /// Whether the operator's hours are over.
    pub(super) fn resting(&self) -> bool {
        self.config.policy.hours.is_some_and(|hours| !hours.contains(self.now))
    }

    /// Outside its hours a worker finishes what it holds, hangs up, and comes back when they begin.
    fn tend_hours(&mut self) {
        let Some(hours) = self.config.policy.hours else { return };
        match self.session.link {
            Link::Up { link, .. } if self.resting() => {
                if !self.session.said_leaving {
                    self.effects.push(Effect::Log(Note::Resting));
                    self.say_leaving(link);
                }
                if self.records.open.is_empty() {
                    self.hang_up(Some(hours.next_change(self.now)));
                }
            }
            // What was said cannot be taken back on the same link.
            Link::Up { .. } if self.session.said_leaving => self.hang_up(Some(self.now)),
            Link::Down { retry_at: Some(retry_at) } if self.resting() && self.records.open.is_empty() => {
                let begin = hours.next_change(self.now);
                self.session.link = Link::Down { retry_at: Some(retry_at.max(begin)) };
            }
            _ => {}
        }
    }

    fn dial_if_due(&mut self) {
        if let Link::Down { retry_at: Some(retry_at) } = self.session.link
            && self.now >= retry_at
        {
            self.session.dialled += 1;
            let link = LinkId(self.session.dialled);
            self.session.link = Link::Greeting { link, until: self.now.plus(GREETING_MS_MAX) };
            self.effects.push(Effect::Connect(link));
        }
    }

    /// The coordinator broke the protocol: hangs up and comes back later, as after any lost link.
    pub(super) fn link_misused(&mut self, what: &'static str) {
        self.effects.extend(self.session.current().map(Effect::Disconnect));
        self.link_lost(Reason::from(format!("the coordinator sent {what}")));
    }

    pub(super) fn send(&mut self, link: LinkId, message: ToCoordinator) {
        self.effects.push(Effect::Send { link, message: Box::new(message) });
    }
}

const ACCEPT_HINT: &str = "if that is right, start once with --accept-changed-coordinator";

fn changes(known: &Pin, pin: &Pin) -> String {
    let mut parts = Vec::new();
    let mut note = |what: &str, was: String, is: String| {
        if was != is {
            parts.push(format!("{what} was {was} and is {is}"));
        }
    };
    note("the coordinator's identity", known.node.to_string(), pin.node.to_string());
    note("its signing key", known.coordinator.to_string(), pin.coordinator.to_string());
    note("the chain", known.domain.chain_id.to_string(), pin.domain.chain_id.to_string());
    note("the contract", known.domain.contract.to_string(), pin.domain.contract.to_string());
    note("this worker's account", known.account.to_string(), pin.account.to_string());
    note("the payout address", known.payout.to_string(), pin.payout.to_string());
    parts.join("; ")
}
