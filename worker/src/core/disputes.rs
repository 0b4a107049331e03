//! A receipt's result is disputed: the worker shows how it came to it, move by move.

use protocol::dispute::moves::{Body, Move};
use protocol::hash::Digest;
use protocol::ids::{Nonce, TaskId};
use protocol::wire::message::ToCoordinator;

use super::Worker;
use super::effect::{Effect, Question};
use super::fact::Stage;
use super::input::LinkId;
use super::note::Note;

impl Worker {
    pub(super) fn on_asked(&mut self, link: LinkId, task: TaskId, nonce: Nonce, question: Question) {
        let finished =
            |open: &&super::OpenTask| open.task.id == task && matches!(open.stage, Stage::Finished { .. });
        let Some(open) = self.records.open.get(&nonce).filter(finished) else {
            return self.odd("a question about a receipt that was not sent", &task, &nonce);
        };
        if question.round == 0 {
            self.effects.push(Effect::Log(Note::Questioned { task }));
        }
        self.effects.push(Effect::Answer { link, task: open.task.clone(), question: Box::new(question) });
    }

    /// A move is a function of the task, so there is nothing to make durable before it leaves.
    pub(super) fn on_answered(&mut self, link: LinkId, dispute: Digest, round: u32, said: Move) {
        let Some(rollup) = self.records.pin().map(|pin| pin.domain) else { return };
        let body = self.keys.identity.sign(Body { rollup, dispute, round, said }).into_wire();
        self.send(link, ToCoordinator::Moved(Box::new(body)));
    }
}
