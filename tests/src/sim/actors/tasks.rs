//! What an honest worker's machine does with a task: compute it, keep the result, send it. Files may vanish on the way.

use protocol::hash::{Digest, Keccak};
use protocol::ids::Nonce;
use protocol::job::{InferTask, Task, TaskData, TaskWork, TrainTask};
use worker::core::{Event, LinkId, Output, TaskFailure, TransferFailure};

use super::super::network::UploadAsked;
use super::super::{Blob, Due, Sim};
use super::honest::{PeerDue, Transfer};
use crate::invariants::Checked;

impl Sim {
    pub(super) fn honest_upload(
        &mut self,
        who: usize,
        link: LinkId,
        task: protocol::ids::TaskId,
        nonce: Nonce,
        digest: Digest,
    ) {
        if self.fault(self.params.vanished_files) {
            self.honest_mut(who).results.remove(&digest);
        }
        if !self.honest(who).results.contains(&digest) {
            let failure = TransferFailure::ResultMissing;
            let life = self.honest(who).life;
            let due = PeerDue::Input(Box::new(Event::UploadFailed { link, nonce, failure }));
            self.after(1, Due::Honest { who, life, due });
        } else if let Some(conn) = self.network.by_link(who, link) {
            self.honest_mut(who).transfers.insert(Transfer::Upload(nonce), link);
            self.ask_transfer(conn, Due::Upload(conn, Box::new(UploadAsked { task, nonce, digest })));
        }
    }

    pub(super) fn on_computed(&mut self, who: usize, task: Task) -> Checked {
        let nonce = task.nonce;
        if !self.honest_mut(who).running.remove(&nonce) {
            return Ok(());
        }
        let result = self.compute(who, &task);
        self.honest_input(who, Event::TaskEnded { nonce, result })?;
        if self.fault(self.params.leaves) {
            return self.honest_input(who, Event::Leave);
        }
        Ok(())
    }

    /// What a task comes to: the same for the same weights, task and examples, on every try.
    fn compute(&mut self, who: usize, task: &Task) -> Result<Output, TaskFailure> {
        if self.fault(self.params.vanished_files) {
            self.honest_mut(who).cached.clear();
            return Err(TaskFailure::BlobMissing);
        }
        if self.fault(self.params.task_failures) {
            return Err(TaskFailure::Failed("a corrupt data file".into()));
        }
        let stale = self.fault(self.params.stale_results);
        let honest = self.honest_mut(who);
        let (mut result, blob, examples) = match &task.work {
            TaskWork::Train(train) => {
                let (shard, examples) = match &train.data {
                    TaskData::Local(tag) => {
                        let held = honest.config.abilities.data.examples(tag).unwrap_or(1);
                        (format!("worker {}", honest.who), held)
                    }
                    // Whoever does it: the same.
                    TaskData::Shard(shard) => (shard.digest.to_string(), shard.examples.into()),
                };
                let made = update_of(train, &shard);
                (made, Blob::Update { scale_bits: train.scale_bits }, examples)
            }
            TaskWork::Infer(infer) => {
                let blob = Blob::Answers { first_item: infer.first_item, items: infer.items };
                (answers_of(infer), blob, infer.items.into())
            }
        };
        if let (true, TaskWork::Train(train @ TrainTask { data: TaskData::Local(_), .. })) =
            (stale, &task.work)
        {
            // A model that has converged: the update is the same, round after round.
            result = format!("nothing learnt at scale {}", train.scale_bits);
        }
        let result = Digest::of(result.as_bytes());
        honest.results.insert(result);
        self.contents.insert(result, blob);
        let trace = committed(&task.work, result);
        Ok(Output { result, result_bytes: 64, examples, loss: None, evaluated: None, trace })
    }
}

/// What stands for an update.
fn update_of(train: &TrainTask, shard: &str) -> String {
    format!("update {} {} of shard {shard}", train.weights, train.seed)
}

/// What stands for the answers to an input.
fn answers_of(infer: &InferTask) -> String {
    format!("answers {} {} from {}", infer.weights, infer.input, infer.first_item)
}

/// What whoever does a task comes to, if its examples do not stay on a worker.
pub fn result_of(work: &TaskWork) -> Option<Digest> {
    let made = match work {
        TaskWork::Train(train) => match &train.data {
            TaskData::Shard(shard) => update_of(train, &shard.digest.to_string()),
            TaskData::Local(_) => return None,
        },
        TaskWork::Infer(infer) => answers_of(infer),
    };
    Some(Digest::of(made.as_bytes()))
}

/// What stands for the commitment to a training's trace where one is asked for: it follows from the result.
pub(super) fn committed(work: &TaskWork, result: Digest) -> Option<Keccak> {
    let TaskWork::Train(TrainTask { data: TaskData::Shard(_), .. }) = work else { return None };
    crate::sim::disputes::root(result)
}
