//! Connections: delay, loss of the link, order within a stream and none between streams, partitions that go unnoticed
//! for a while. A connection that comes back repeats what was not answered: nothing else repeats, as on QUIC.

use std::collections::BTreeMap;

use coordinator::core::Event as CoordinatorEvent;
use coordinator::core::ExpectedResult;
use protocol::hash::Digest;
use protocol::ids::{Nonce, TaskId, WorkerId};
use protocol::job::Reason;
use protocol::time::Millis;
use protocol::wire::message::{ToCoordinator, ToWorker};
use worker::core::{Event as WorkerEvent, LinkId, TransferFailure};

use super::actors::honest::PeerDue;
use super::actors::liar::LiarDue;
use super::{Blob, Due, Peer, Sim};
use crate::invariants::{Checked, Violation};

/// One connection. Numbers ascend.
pub(super) type ConnId = u64;

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The worker's.
    Peer,
    /// The coordinator's.
    Coordinator,
}

/// Every connection of which some end still knows.
#[derive(Debug, Default)]
pub(super) struct Network {
    conns: BTreeMap<ConnId, Conn>,
    made: ConnId,
}

#[derive(Debug)]
struct Conn {
    peer: usize,
    /// The worker's name for it.
    link: LinkId,
    open: [bool; 2],
    /// Nothing gets through, and neither end knows yet.
    cut: bool,
    /// When the newest message of each direction arrives: a later one does not overtake it.
    newest: [Millis; 2],
}

/// A worker wants to send a result.
#[derive(Clone, Debug)]
pub(super) struct UploadAsked {
    pub(super) task: TaskId,
    pub(super) nonce: Nonce,
    pub(super) digest: Digest,
}

/// How a transfer ended.
#[derive(Clone, Debug)]
pub(super) enum TransferDone {
    Fetched(Digest),
    NotFetched(Digest, TransferFailure),
    Uploaded(Nonce),
    NotUploaded(Nonce, TransferFailure),
}

impl Network {
    fn get(&self, conn: ConnId) -> Option<&Conn> {
        self.conns.get(&conn)
    }

    /// The connection that a worker calls `link`.
    pub(super) fn by_link(&self, peer: usize, link: LinkId) -> Option<ConnId> {
        let mut open = self.conns.iter().rev().filter(|(_, conn)| conn.open[End::Peer as usize]);
        open.find(|(_, conn)| conn.peer == peer && conn.link == link).map(|(id, _)| *id)
    }

    /// Connections that a worker still holds.
    pub(super) fn of(&self, peer: usize) -> Vec<ConnId> {
        self.open_at(End::Peer, Some(peer))
    }

    /// Connections with this end open, of this worker or of all.
    fn open_at(&self, end: End, peer: Option<usize>) -> Vec<ConnId> {
        let mine = |conn: &Conn| conn.open[end as usize] && peer.is_none_or(|peer| conn.peer == peer);
        self.conns.iter().filter(|(_, conn)| mine(conn)).map(|(id, _)| *id).collect()
    }
}

impl Sim {
    pub(super) fn dial(&mut self, peer: usize, link: LinkId) {
        self.network.made += 1;
        let id = self.network.made;
        let newest = [self.now; 2];
        self.network.conns.insert(id, Conn { peer, link, open: [true, false], cut: false, newest });
        let wait = self.latency();
        self.after(wait, Due::Dialled(id));
    }

    pub(super) fn on_dialled(&mut self, id: ConnId) -> Checked {
        let refused = !self.coordinator.is_up();
        let wait = self.latency();
        let Some(conn) = self.network.conns.get_mut(&id) else { return Ok(()) };
        if refused || conn.cut {
            self.after(wait, Due::Gone(id, End::Peer));
        } else {
            conn.open[End::Coordinator as usize] = true;
            self.after(wait, Due::Answered(id));
        }
        Ok(())
    }

    pub(super) fn on_answered(&mut self, id: ConnId) -> Checked {
        let Some(conn) = self.network.get(id).filter(|conn| conn.open[End::Peer as usize] && !conn.cut)
        else {
            return Ok(());
        };
        let (who, link) = (conn.peer, conn.link);
        match &self.peers[who] {
            Peer::Honest(_) => self.honest_input(who, WorkerEvent::LinkUp(link)),
            Peer::Liar(_) => {
                self.on_liar_due(who, LiarDue::Connected(id));
                Ok(())
            }
        }
    }

    /// Says something from one end: it arrives after everything said before in that direction, or never.
    fn say(&mut self, id: ConnId, from: End, due: Due) {
        if self.fault(self.params.cut_per_message) {
            self.cut(id);
        }
        let wait = self.latency();
        let now = self.now;
        let Some(conn) = self.network.conns.get_mut(&id).filter(|conn| conn.open[from as usize]) else {
            return;
        };
        let newest = &mut conn.newest[from as usize];
        *newest = now.plus(wait).max(*newest);
        let at = *newest;
        self.at(at, due);
    }

    pub(super) fn say_up(&mut self, id: ConnId, message: ToCoordinator) {
        self.say(id, End::Peer, Due::Up(id, Box::new(message)));
    }

    pub(super) fn say_down(&mut self, id: ConnId, message: ToWorker) {
        self.say(id, End::Coordinator, Due::Down(id, Box::new(message)));
    }

    /// Nothing gets through any more; each end finds out in its own time.
    pub(super) fn cut(&mut self, id: ConnId) {
        let waits = [self.up_to(self.params.notice_ms_max), self.up_to(self.params.notice_ms_max)];
        let Some(conn) = self.network.conns.get_mut(&id).filter(|conn| !conn.cut) else { return };
        conn.cut = true;
        self.after(waits[0], Due::Gone(id, End::Peer));
        self.after(waits[1], Due::Gone(id, End::Coordinator));
    }

    /// One end hangs up; the other learns of it after what was said before.
    pub(super) fn hang_up(&mut self, id: ConnId, end: End) {
        let wait = self.latency();
        let now = self.now;
        let Some(conn) = self.network.conns.get_mut(&id) else { return };
        conn.open[end as usize] = false;
        let at = now.plus(wait).max(conn.newest[end as usize]);
        let other = if end == End::Peer { End::Coordinator } else { End::Peer };
        if !conn.cut {
            self.at(at, Due::Gone(id, other));
        }
        self.forget(id);
    }

    /// A process died: its ends are gone, and the others find out.
    pub(super) fn lose_ends(&mut self, end: End, peer: Option<usize>) {
        for id in self.network.open_at(end, peer) {
            let wait = self.up_to(self.params.notice_ms_max);
            let Some(conn) = self.network.conns.get_mut(&id) else { continue };
            conn.open[end as usize] = false;
            if !conn.cut {
                let other = if end == End::Peer { End::Coordinator } else { End::Peer };
                self.after(wait, Due::Gone(id, other));
            }
            self.forget(id);
        }
    }

    fn forget(&mut self, id: ConnId) {
        if self.network.get(id).is_some_and(|conn| conn.open == [false; 2]) {
            self.network.conns.remove(&id);
        }
    }

    pub(super) fn on_gone(&mut self, id: ConnId, end: End) -> Checked {
        let Some(conn) = self.network.conns.get_mut(&id).filter(|conn| conn.open[end as usize]) else {
            return Ok(());
        };
        conn.open[end as usize] = false;
        let (who, link) = (conn.peer, conn.link);
        self.forget(id);
        match (end, &self.peers[who]) {
            (End::Coordinator, _) => self.coordinator_lost(who, id),
            (End::Peer, Peer::Honest(_)) => self.honest_link_down(who, link),
            (End::Peer, Peer::Liar(_)) => {
                self.on_liar_due(who, LiarDue::Gone);
                Ok(())
            }
        }
    }

    fn gets_through(&self, id: ConnId, to: End) -> Option<usize> {
        self.network.get(id).filter(|conn| conn.open[to as usize] && !conn.cut).map(|conn| conn.peer)
    }

    pub(super) fn on_up(&mut self, id: ConnId, message: ToCoordinator) -> Checked {
        match self.gets_through(id, End::Coordinator) {
            Some(who) => self.coordinator_hears(who, id, message),
            None => Ok(()),
        }
    }

    pub(super) fn on_down(&mut self, id: ConnId, message: ToWorker) -> Checked {
        let Some(who) = self.gets_through(id, End::Peer) else { return Ok(()) };
        if let ToWorker::Assign { task, .. } = &message {
            self.oracle.reached(self.peer_id(who), task);
        }
        let link = self.network.get(id).map(|conn| conn.link);
        match (&self.peers[who], link) {
            (Peer::Honest(_), Some(link)) => {
                let message = Box::new(message);
                self.honest_input(who, WorkerEvent::Message { link, message })
            }
            _ => {
                self.on_liar_due(who, LiarDue::Hears(Box::new(message)));
                Ok(())
            }
        }
    }

    pub(super) fn peer_id(&self, who: usize) -> WorkerId {
        match &self.peers[who] {
            Peer::Honest(honest) => honest.id,
            Peer::Liar(liar) => liar.id,
        }
    }

    /// A stream of its own: it may overtake what is said on the control stream, or be overtaken.
    pub(super) fn ask_transfer(&mut self, id: ConnId, due: Due) {
        let wait = self.latency();
        self.after(wait, due);
        if self.fault(self.params.cut_per_message) {
            self.cut(id);
        }
    }

    pub(super) fn on_fetch(&mut self, id: ConnId, digest: Digest) -> Checked {
        let Some(who) = self.gets_through(id, End::Coordinator) else { return Ok(()) };
        let Some(core) = self.coordinator.core() else { return Ok(()) };
        let done = if !core.may_fetch(self.peer_id(who), &digest) {
            TransferDone::NotFetched(digest, TransferFailure::Refused("no task needs it".into()))
        } else if !self.coordinator.blobs.contains(&digest) {
            let what = format!("{digest} is needed by a task and is not on the coordinator's disk");
            return Err(Violation::new("needed blobs are kept", what));
        } else if self.fault(self.params.transfer_failures) {
            TransferDone::NotFetched(digest, TransferFailure::Lost("the stream broke".into()))
        } else {
            TransferDone::Fetched(digest)
        };
        self.answer_transfer(id, done);
        Ok(())
    }

    pub(super) fn on_upload(&mut self, id: ConnId, asked: UploadAsked) -> Checked {
        let Some(who) = self.gets_through(id, End::Coordinator) else { return Ok(()) };
        let Some(core) = self.coordinator.core() else { return Ok(()) };
        let UploadAsked { task, nonce, digest } = asked;
        let refused =
            |reason: &str| TransferDone::NotUploaded(nonce, TransferFailure::Refused(reason.into()));
        let done = match core.expected_result(self.peer_id(who), task, nonce) {
            Err(reason) => refused(reason.as_str()),
            Ok(expected) if !self.fits(&digest, &expected) => refused("the result is malformed"),
            Ok(_) if self.fault(self.params.transfer_failures) => {
                TransferDone::NotUploaded(nonce, TransferFailure::Lost("the stream broke".into()))
            }
            Ok(_) => {
                let sender = self.peer_id(who);
                self.coordinator.blobs.insert(digest);
                self.coordinator.sent.insert((digest, sender));
                self.oracle.uploaded.insert((sender, digest));
                TransferDone::Uploaded(nonce)
            }
        };
        self.answer_transfer(id, done);
        Ok(())
    }

    /// Whether a blob is what the coordinator expects.
    pub(super) fn fits(&self, digest: &Digest, expected: &ExpectedResult) -> bool {
        match (self.contents.get(digest), expected) {
            (Some(Blob::Update { scale_bits: got }), ExpectedResult::Update { scale_bits, .. }) => {
                got == scale_bits
            }
            (
                Some(Blob::Answers { first_item: first, items: count }),
                ExpectedResult::Answers { first_item, items, .. },
            ) => (first, count) == (first_item, items),
            _ => false,
        }
    }

    fn answer_transfer(&mut self, id: ConnId, done: TransferDone) {
        let wait = self.latency();
        self.after(wait, Due::Transferred(id, done));
    }

    pub(super) fn on_transferred(&mut self, id: ConnId, done: TransferDone) -> Checked {
        let Some(who) = self.gets_through(id, End::Peer) else { return Ok(()) };
        let link = self.network.get(id).map_or(LinkId(0), |conn| conn.link);
        match &mut self.peers[who] {
            Peer::Liar(_) => {
                self.on_liar_due(who, LiarDue::Transferred(done));
                Ok(())
            }
            Peer::Honest(honest) => {
                let event = match done {
                    TransferDone::Fetched(digest) => {
                        honest.cached.insert(digest);
                        WorkerEvent::BlobReady(digest)
                    }
                    TransferDone::NotFetched(digest, failure) => {
                        WorkerEvent::BlobFailed { link, digest, failure }
                    }
                    TransferDone::Uploaded(nonce) => WorkerEvent::Uploaded(nonce),
                    TransferDone::NotUploaded(nonce, failure) => {
                        WorkerEvent::UploadFailed { link, nonce, failure }
                    }
                };
                honest.transfer_ended(&event);
                self.honest_input(who, event)
            }
        }
    }

    /// The link of these transfers is gone, and the shell says so of each.
    pub(super) fn fail_transfers(&mut self, who: usize, events: Vec<WorkerEvent>) {
        for event in events {
            let wait = self.up_to(100);
            let life = self.honest(who).life;
            self.after(wait, Due::Honest { who, life, due: PeerDue::Input(Box::new(event)) });
        }
    }

    /// What a worker says, as the coordinator's shell hands it to the core; `None` if the shell hangs up.
    pub(super) fn as_event(&self, worker: WorkerId, message: ToCoordinator) -> Option<CoordinatorEvent> {
        Some(match message {
            ToCoordinator::Hello(hello) => CoordinatorEvent::Hello { worker, hello: Box::new(hello) },
            ToCoordinator::Progress { task, done, of, loss } => {
                CoordinatorEvent::Progress { worker, task, done, of, loss }
            }
            ToCoordinator::Decline { task, nonce, reason } => {
                CoordinatorEvent::Declined { worker, task, nonce, reason }
            }
            ToCoordinator::Moved(said) => CoordinatorEvent::Moved(Box::new(said.verify().ok()?)),
            ToCoordinator::Leaving => CoordinatorEvent::Leaving { worker },
            ToCoordinator::Receipt(receipt) => {
                let receipt = Box::new(receipt.verify().ok()?);
                let result = self.judge_result(worker, receipt.body());
                CoordinatorEvent::Receipt { worker, receipt, result }
            }
        })
    }

    /// Whether the result that a receipt names is on disk and well formed.
    pub(super) fn judge_result(&self, worker: WorkerId, body: &protocol::job::Receipt) -> Result<(), Reason> {
        let Some(core) = self.coordinator.core() else { return Ok(()) };
        match core.expected_result(worker, body.task, body.nonce) {
            Err(_) => Ok(()), // the core says what is wrong before it looks at the result
            Ok(_) if !self.coordinator.sent.contains(&(body.result, worker)) => {
                Err("the result was not uploaded".into())
            }
            Ok(expected) if !self.fits(&body.result, &expected) => Err("the result is malformed".into()),
            Ok(_) => Ok(()),
        }
    }
}
