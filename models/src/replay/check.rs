//! A claim about a training, checked: the training again, some steps at a time, and every commitment as it is passed.

use protocol::hash::{Digest, Keccak};
use serde::Serialize;

use super::evidence::{Blobs, Evidence, Interval};
use super::leaf::Leaf;
use super::operator_of;
use crate::engine::Program;
use crate::error::ModelError;
use crate::kernels::Machine;
use crate::train::{State, Training};

/// What a check comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// Every commitment that was passed, the update and the loss are those of the claim.
    SameBits,
    /// The state that the claim begins with is not that of the task's weights.
    Start,
    /// The states after step `after` are equal, those after step `until` are not; what lies between is not opened.
    Interval {
        /// The last step with equal states.
        after: u64,
        /// The first committed one without.
        until: u64,
    },
    /// The states before this step are equal, those after it are not.
    Step {
        /// The step, from 1.
        step: u64,
    },
    /// All states are equal; what is made of the last one is not.
    Returned {
        /// The update is another.
        update: bool,
        /// The loss is another.
        loss: bool,
    },
    /// Something else comes out; the training was not committed to, so there is no saying where it begins.
    Result {
        /// The update is another.
        update: bool,
        /// The loss is another.
        loss: bool,
    },
}

/// Where the numbers ran away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wild {
    /// The step, from 1.
    pub step: u64,
    /// The operator of the model's list.
    pub operator: String,
}

/// How far a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Steps taken.
    pub step: u64,
    /// Steps that there are, unless a difference is found.
    pub steps: u64,
    /// Commitments that were equal, the one that it started from included.
    pub equal: u64,
    /// Whether a difference is being narrowed down to its step.
    pub narrowing: bool,
}

/// A training under way, or where it ended.
enum At<'a> {
    Running(Box<Training<'a>>),
    Wild(Leaf),
}

/// What is still to be done.
enum Phase<'a> {
    /// To the next commitment, and the next.
    Forward,
    /// Step by step through an interval of which the claim opens the states; this many are equal.
    Within(&'a Interval, usize),
    Done(Verdict),
}

/// A check under way.
pub struct Check<'a> {
    evidence: &'a Evidence<'a>,
    blobs: &'a Blobs,
    id: Digest,
    program: Program,
    at: At<'a>,
    step: u64,
    from: u64,
    /// The state at the last commitment, if the interval that it begins is opened.
    kept: Option<(&'a Interval, State)>,
    equal: u64,
    phase: Phase<'a>,
    wild: Option<Wild>,
    made: Option<Made>,
}

/// What came out of the training here.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Made {
    /// The update.
    #[serde(serialize_with = "protocol::api::text::serialize")]
    pub update: Digest,
    /// The mean loss over the last epoch.
    pub loss: f32,
}

impl std::fmt::Debug for Check<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Check(step {} of {})", self.step, self.evidence.task().steps())
    }
}

impl<'a> Check<'a> {
    /// A check from the first step, or from a state of the file: what comes before is then taken as it is.
    ///
    /// Refuses parameters out of range, and a step after which the file has no state.
    pub fn new(evidence: &'a Evidence<'a>, blobs: &'a Blobs, from: u64) -> Result<Self, ModelError> {
        let task = evidence.task();
        let (machine, params, steps) = (Machine::new(1), task.params(), task.steps());
        let training = if from == 0 {
            Training::new(machine, &blobs.weights, &blobs.data, &params)?
        } else {
            let none = ModelError::Range { what: "step to start after", got: from, least: 0, most: steps };
            let state = evidence.state(from).ok_or(none)?;
            Training::resume(machine, &task.model, &state, &blobs.data, &params)?
        };
        let (id, program) = (task.digest(), task.program()?);
        let (at, phase) = (At::Running(Box::new(training)), Phase::Forward);
        let mut check = Self {
            evidence,
            blobs,
            id,
            program,
            at,
            step: from,
            from,
            kept: None,
            equal: 0,
            phase,
            wild: None,
            made: None,
        };
        check.compare()?;
        Ok(check)
    }

    /// Takes up to so many steps; the verdict, once there is one.
    pub fn advance(&mut self, steps: u32) -> Result<Option<Verdict>, ModelError> {
        for _ in 0..steps {
            match self.phase {
                Phase::Done(verdict) => return Ok(Some(verdict)),
                Phase::Forward if self.step == self.evidence.task().steps() => {
                    let verdict = self.finish()?;
                    self.phase = Phase::Done(verdict);
                }
                Phase::Forward => {
                    self.take()?;
                    self.compare()?;
                }
                Phase::Within(interval, equal) => {
                    self.take()?;
                    let same = interval.states.get(equal) == Some(&self.leaf());
                    // The interval's last state is the one that differed before.
                    let found = Phase::Done(Verdict::Step { step: self.step });
                    self.phase = if same { Phase::Within(interval, equal + 1) } else { found };
                }
            }
        }
        Ok(match self.phase {
            Phase::Done(verdict) => Some(verdict),
            _ => None,
        })
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let narrowing = matches!(self.phase, Phase::Within(..));
        Progress { step: self.step, steps: self.evidence.task().steps(), equal: self.equal, narrowing }
    }

    /// Where the numbers ran away, if they did.
    pub const fn wild(&self) -> Option<&Wild> {
        self.wild.as_ref()
    }

    /// What came out, if it went to the end.
    pub const fn made(&self) -> Option<&Made> {
        self.made.as_ref()
    }

    fn take(&mut self) -> Result<(), ModelError> {
        self.step += 1;
        if let At::Running(training) = &mut self.at
            && let Err(error) = training.advance(None)
        {
            let leaf = Leaf::wild(&self.program, error)?;
            if let Leaf::Wild { step, operator } = leaf {
                let named = self.program.nodes().iter().zip(0..).find(|(_, at)| operator_of(*at) == operator);
                let operator = named.map_or_else(String::new, |(node, _)| node.name.clone());
                self.wild = Some(Wild { step, operator });
            }
            self.at = At::Wild(leaf);
        }
        Ok(())
    }

    fn leaf(&self) -> Keccak {
        match &self.at {
            At::Running(training) => Leaf::state(training).digest(&self.id),
            At::Wild(leaf) => leaf.digest(&self.id),
        }
    }

    /// Compares the state with the claim's, if the claim commits to one here.
    fn compare(&mut self) -> Result<(), ModelError> {
        let (task, claim) = (self.evidence.task(), self.evidence.claim());
        let every = u64::from(task.checkpoint_steps);
        let committed = self.step.is_multiple_of(every) || self.step == task.steps();
        let number = self.step.div_ceil(every);
        let Some(claimed) = claim.leaves.get(number as usize).filter(|_| committed) else { return Ok(()) };
        if *claimed == self.leaf() {
            self.equal += 1;
            let opened = claim.intervals.iter().find(|own| u64::from(own.number) == number + 1);
            self.kept = match (&self.at, opened) {
                (At::Running(training), Some(interval)) => Some((interval, training.state())),
                _ => None,
            };
            return Ok(());
        }
        self.phase = match self.kept.take() {
            _ if number == 0 => Phase::Done(Verdict::Start),
            Some((interval, state)) => {
                let (machine, data) = (Machine::new(1), &self.blobs.data);
                let training = Training::resume(machine, &task.model, &state, data, &task.params())?;
                (self.at, self.step, self.wild) = (At::Running(Box::new(training)), state.step, None);
                Phase::Within(interval, 1)
            }
            None => {
                Phase::Done(Verdict::Interval { after: (number - 1).saturating_mul(every), until: self.step })
            }
        };
        Ok(())
    }

    /// What comes out, compared with the claim.
    fn finish(&mut self) -> Result<Verdict, ModelError> {
        let claim = self.evidence.claim();
        let (mut update, mut loss) = (true, true);
        if let At::Running(training) = &self.at {
            let task = self.evidence.task();
            let (_, leaf) = Leaf::returned(task, self.blobs.weights.values(), training)?;
            if let Leaf::Returned { update: made, loss: bits, .. } = leaf {
                self.made = Some(Made { update: made, loss: f32::from_bits(bits) });
                (update, loss) = (made != claim.update, bits != claim.loss.get().to_bits());
            }
        }
        let same = !update && !loss;
        // The last commitment is to what is claimed: the file was refused otherwise.
        self.equal += u64::from(same && !claim.leaves.is_empty());
        Ok(match (same, claim.leaves.is_empty()) {
            (true, _) => Verdict::SameBits,
            (false, false) => Verdict::Returned { update, loss },
            (false, true) => Verdict::Result { update, loss },
        })
    }

    /// The step that it started after.
    pub const fn from(&self) -> u64 {
        self.from
    }
}

#[cfg(test)]
mod tests;
