//! Making models, simulated: a digest of what each is made of, after a while, or a failure.

use coordinator::core::{Event, FinishRound, ReadyModel};
use protocol::hash::Digest;
use protocol::ids::JobId;

use super::coordinator::CoordinatorDue;
use super::{Due, Sim};

impl Sim {
    pub(super) fn make_model(&mut self, job: JobId, round: Option<u32>, model: Digest) {
        let life = self.coordinator.life();
        let wait = self.up_to(self.params.aggregate_ms_max);
        let due = if self.fault(self.params.model_failures) {
            let outcome = Err("the disk is full".into());
            CoordinatorDue::Input(Box::new(Event::ModelReady { job, round, outcome }))
        } else {
            let outcome = Ok(ReadyModel { digest: model, evaluated: None });
            CoordinatorDue::Made(model, Box::new(Event::ModelReady { job, round, outcome }))
        };
        self.after(wait, Due::Coordinator { life, due });
    }
}

/// A model as a digest of what it is made of: the order of the updates does not matter.
pub(super) fn model_of(finish: &FinishRound) -> Digest {
    let mut parts: Vec<_> = finish.updates.iter().map(|update| (update.digest.0, update.weight)).collect();
    parts.sort_unstable();
    let mut bytes = finish.base.0.to_vec();
    for (digest, weight) in parts {
        bytes.extend(digest);
        bytes.extend(weight.to_be_bytes());
    }
    Digest::of(&bytes)
}
