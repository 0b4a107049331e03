//! What travels: blobs in, results out, receipts until they are answered.

use protocol::hash::Digest;
use protocol::ids::Nonce;
use protocol::job::{Reason, Receipt, TaskResult};
use protocol::sign::eip712::Domain;
use protocol::time::Millis;
use protocol::wire::message::ToCoordinator;

use super::Worker;
use super::effect::Effect;
use super::fact::{Fact, OpenTask, Stage};
use super::input::{LinkId, TransferFailure};
use super::limits::*;
use super::tasks::{Phase, Run};

/// One blob on its way.
#[derive(Clone, Debug, Default)]
pub(super) struct Transfer {
    /// The link it was asked for on.
    pub(super) asked: Option<LinkId>,
    /// Failures over this link.
    failures: u32,
    /// Not to be asked for before.
    pub(super) retry_at: Millis,
}

impl Transfer {
    pub(super) fn due(&self, now: Millis) -> bool {
        self.asked.is_none() && self.retry_at <= now
    }

    /// Notes a failure over a link that holds; says whether another try makes sense.
    fn failed(&mut self, now: Millis) -> bool {
        let wait_ms = TRANSFER_RETRY_MS_MIN << self.failures.min(10);
        *self = Self { asked: None, failures: self.failures + 1, retry_at: now.plus(wait_ms) };
        self.failures < TRANSFER_TRIES_MAX
    }
}

impl Worker {
    pub(super) fn on_blob_ready(&mut self, digest: Digest) {
        self.tasks.fetches.remove(&digest);
        for run in self.tasks.runs.values_mut() {
            if let Phase::Fetching(missing) = &mut run.phase {
                missing.remove(&digest);
                if missing.is_empty() {
                    run.phase = Phase::Ready;
                }
            }
        }
    }

    pub(super) fn on_blob_failed(&mut self, link: LinkId, digest: Digest, failure: TransferFailure) {
        let now = self.now;
        let Some(fetch) = self.tasks.fetches.get_mut(&digest).filter(|fetch| fetch.asked == Some(link))
        else {
            return;
        };
        let reason = match failure {
            TransferFailure::Lost(reason) if !fetch.failed(now) => reason,
            TransferFailure::Lost(_) => return,
            TransferFailure::Refused(reason) | TransferFailure::Local(reason) => reason,
            TransferFailure::ResultMissing => return,
        };
        let reason = Reason::from(format!("blob {digest} could not be fetched: {reason}"));
        let waits = |run: &Run| matches!(&run.phase, Phase::Fetching(missing) if missing.contains(&digest));
        let nonces = self.tasks.runs.iter().filter(|(_, run)| waits(run)).map(|(nonce, _)| *nonce);
        for nonce in nonces.collect::<Vec<_>>() {
            self.give_up(nonce, reason.clone());
        }
    }

    /// A file that a task rests on is gone: nothing has been signed, so it can be made again, but not for ever.
    pub(super) fn begin_again(&mut self, nonce: Nonce, why: &str) {
        let again = self.tasks.runs.get(&nonce).map_or(0, |run| run.again) + 1;
        if again >= TRANSFER_TRIES_MAX {
            return self.give_up(nonce, why.into());
        }
        if let Some(open) = self.records.open.get(&nonce) {
            self.tasks.fetch(nonce, &open.task, again);
        }
    }

    pub(super) fn on_uploaded(&mut self, nonce: Nonce) {
        let Some(OpenTask { task, pin, stage: Stage::Computed(output), .. }) = self.records.open.get(&nonce)
        else {
            return;
        };
        let (id, output) = (task.id, output.clone());
        let chain_id = self.records.pins[*pin as usize].domain.chain_id;
        // The fact that notes this is durable before the receipt leaves; `may_take` has looked that it is the first.
        let stated = TaskResult { job: id.job, settlement: id.settlement, nonce, result: output.result };
        let stake = task.stake.map(|contract| stated.sign(&Domain { chain_id, contract }, &self.keys.signer));
        let signed = self.keys.identity.sign(Receipt {
            task: id,
            nonce,
            work: task.work_digest(),
            result: output.result,
            result_bytes: output.result_bytes,
            examples: output.examples,
            loss: output.loss,
            evaluated: output.evaluated,
            trace: output.trace,
            checks: task.checks,
            stake,
        });
        let digest = signed.digest();
        self.record(Fact::Finished { receipt: Box::new(signed.into_wire()), digest });
        self.tasks.set(nonce, Phase::Unanswered(None), 0);
        self.send_receipt(nonce);
        self.discard_unless_used(output.result);
    }

    pub(super) fn on_upload_failed(&mut self, link: LinkId, nonce: Nonce, failure: TransferFailure) {
        let now = self.now;
        let Some(Run { phase: Phase::Uploading(upload), .. }) = self.tasks.runs.get_mut(&nonce) else {
            return;
        };
        if upload.asked != Some(link) {
            return;
        }
        let reason = match failure {
            TransferFailure::Lost(reason) if !upload.failed(now) => reason,
            TransferFailure::Lost(_) => return,
            TransferFailure::ResultMissing => {
                return self.begin_again(nonce, "its result vanishes from the disk");
            }
            TransferFailure::Refused(reason) | TransferFailure::Local(reason) => reason,
        };
        self.give_up(nonce, Reason::from(format!("the result could not be uploaded: {reason}")));
    }

    /// Sends the receipt of a finished task, if there is a link to send it on.
    pub(super) fn send_receipt(&mut self, nonce: Nonce) {
        let Some(link) = self.session.up() else { return };
        let Some(OpenTask { stage: Stage::Finished { receipt, .. }, .. }) = self.records.open.get(&nonce)
        else {
            return;
        };
        let message = ToCoordinator::Receipt((**receipt).clone());
        self.tasks.set(nonce, Phase::Unanswered(Some(self.now)), 0);
        self.send(link, message);
    }

    pub(super) fn resend_receipts(&mut self) {
        let finished = |open: &OpenTask| matches!(open.stage, Stage::Finished { .. });
        let nonces = self.records.open.iter().filter(|(_, open)| finished(open)).map(|(nonce, _)| *nonce);
        for nonce in nonces.collect::<Vec<_>>() {
            self.send_receipt(nonce);
        }
    }

    /// The link is gone: what was asked for on it has to be asked for again.
    pub(super) fn suspend_transfers(&mut self) {
        self.tasks.fetches.values_mut().for_each(|fetch| *fetch = Transfer::default());
        for run in self.tasks.runs.values_mut() {
            match &mut run.phase {
                Phase::Uploading(upload) => *upload = Transfer::default(),
                Phase::Unanswered(sent) => *sent = None,
                Phase::Fetching(_) | Phase::Ready | Phase::Running => {}
            }
        }
    }

    pub(super) fn tend_transfers(&mut self, link: LinkId) {
        let now = self.now;
        for (digest, fetch) in &mut self.tasks.fetches {
            if fetch.due(now) {
                fetch.asked = Some(link);
                self.effects.push(Effect::FetchBlob { link, digest: *digest });
            }
        }
        let mut resend = Vec::new();
        for (nonce, run) in &mut self.tasks.runs {
            match &mut run.phase {
                Phase::Uploading(upload) if upload.due(now) => {
                    upload.asked = Some(link);
                    let open = &self.records.open[nonce];
                    let Stage::Computed(output) = &open.stage else { continue };
                    self.effects.push(Effect::Upload {
                        link,
                        task: open.task.id,
                        nonce: *nonce,
                        digest: output.result,
                        bytes: output.result_bytes,
                    });
                }
                Phase::Unanswered(sent) if sent.is_none_or(|sent| now.since(sent) >= RECEIPT_RESEND_MS) => {
                    resend.push(*nonce);
                }
                _ => {}
            }
        }
        for nonce in resend {
            self.send_receipt(nonce);
        }
    }
}
