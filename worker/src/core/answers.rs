//! The coordinator's answers to receipts: every promise is checked before it counts.

use protocol::ids::{JobId, Nonce, TaskId};
use protocol::job::{Reason, SignedAcceptance};

use super::Worker;
use super::check::check;
use super::effect::Effect;
use super::fact::{Dispute, Fact, JobKey, OpenTask, Outcome, Stage};
use super::note::Note;

impl Worker {
    pub(super) fn on_accepted(&mut self, nonce: Nonce, task: TaskId, acceptance: Box<SignedAcceptance>) {
        let Some((open, finished)) = self.finished(&nonce, &task) else { return };
        let key = JobKey { pin: open.pin, job: task.job };
        let book = self.records.books.get(&(key, task.settlement));
        let pin = self.records.pins[open.pin as usize];
        match check(&acceptance, &open.task, finished.1, &pin, book, self.now) {
            Ok(()) => {
                let owed = acceptance.acceptance.owed;
                self.tasks.runs.remove(&nonce);
                self.record(Fact::Accepted { at: self.now, nonce, acceptance });
                self.effects.push(Effect::Log(Note::Accepted { task, owed }));
            }
            Err(wrong) => {
                let dispute = Dispute { wrong: wrong.clone(), acceptance: *acceptance, receipt: *finished.0 };
                self.tasks.runs.remove(&nonce);
                let outcome = Outcome::Disputed(Box::new(dispute));
                self.record(Fact::Ended { at: self.now, nonce, outcome });
                self.effects.push(Effect::Log(Note::Disputed { task, wrong: wrong.clone() }));
                self.stop_job(task.job, Reason::from(format!("a wrong acceptance for task {task}: {wrong}")));
            }
        }
    }

    pub(super) fn on_rejected(&mut self, nonce: Nonce, task: TaskId, reason: Reason) {
        if self.finished(&nonce, &task).is_some() {
            self.tasks.runs.remove(&nonce);
            self.effects.push(Effect::Log(Note::Rejected { task, reason: reason.clone() }));
            self.record(Fact::Ended { at: self.now, nonce, outcome: Outcome::Rejected(reason) });
        }
    }

    /// The operator is told, once a reason.
    pub(super) fn on_passed_over(&mut self, job: JobId, reason: Reason) {
        if self.records.passed_over.get(&self.records.key(job)) != Some(&reason) {
            self.effects.push(Effect::Log(Note::PassedOver { job, reason: reason.clone() }));
            self.record(Fact::PassedOver { job, reason });
        }
    }

    /// The open task whose receipt is answered. Anything else changes nothing: an answer that comes twice is normal
    /// after a reconnect, one to what was never signed is not.
    fn finished(&mut self, nonce: &Nonce, task: &TaskId) -> Option<(OpenTask, FinishedReceipt)> {
        match self.records.open.get(nonce) {
            Some(open) if open.task.id == *task => {
                if let Stage::Finished { receipt, digest } = &open.stage {
                    return Some((open.clone(), (receipt.clone(), *digest)));
                }
            }
            None if self.records.ended(nonce).is_some() => return None,
            _ => {}
        }
        self.odd("an answer to a receipt that was not sent", task, nonce);
        None
    }

    /// Does nothing more for a job whose coordinator does not keep its word. Receipts that have left still wait.
    fn stop_job(&mut self, job: JobId, reason: Reason) {
        if !self.records.stopped.contains_key(&self.records.key(job)) {
            self.record(Fact::JobStopped { job, reason: reason.clone() });
        }
        let of_job =
            |open: &&OpenTask| open.task.id.job == job && !matches!(open.stage, Stage::Finished { .. });
        let nonces: Vec<Nonce> =
            self.records.open.values().filter(of_job).map(|open| open.task.nonce).collect();
        for nonce in nonces {
            self.give_up(nonce, reason.clone());
        }
    }
}

type FinishedReceipt = (Box<protocol::sign::Unverified<protocol::job::Receipt>>, protocol::hash::Digest);
