//! One file with all that it takes to check a training: the task, what is claimed to have come of it, and the blobs.
//!
//! | bytes | what |
//! | --- | --- |
//! | 19 | `fedroll evidence 2` and a newline |
//! | 4 | length of the statement, little-endian |
//! | … | the statement: canonical postcard of [`Statement`] |
//! | … | the weights that the task starts from, then its shard: the blobs, as the task names them by digest |
//! | … | the states that the statement lists, each as a file of [`super::checkpoints`] |
//! | 32 | blake3 of all that |
//!
//! Who made the file is no matter: blobs are those of the task's digests, states those of the claim's commitments, a
//! receipt is signed, and for this task. That a job asked for it, and that this was the claim, only the ledger can say.

use protocol::dispute::shape::{Shape, Trace};
use protocol::hash::{Digest, Keccak};
use protocol::ids::SpecHash;
use protocol::job::{Real, Receipt, ShardBlob};
use protocol::merkle::StaticTree;
use protocol::sign::{SignError, Signed, Unverified};
use protocol::wire::codec;
use protocol::wire::error::WireError;
use serde::{Deserialize, Serialize};

use super::checkpoints;
use super::leaf::Leaf;
use super::{TrainingTask, state_leaf};
use crate::data::{Dataset, shard};
use crate::error::ModelError;
use crate::train::{self, State};
use crate::weights::Weights;
use crate::zoo;

/// What a file begins with.
pub const MAGIC: &[u8; 19] = b"fedroll evidence 2\n";
/// Bytes that checking a file may take in a browser, the file included.
pub const MEMORY_BYTES_MAX: u64 = 1 << 30;
/// States in one file at most.
pub const STATES_MAX: usize = 1_024;

const CHECKSUM: usize = 32;

/// The task, and what is said to have come of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The task.
    pub task: TrainingTask,
    /// What is claimed.
    pub claim: Claim,
    /// The receipt that claims it, if there is one, and its job's spec; its signature, work and claim are checked.
    pub receipt: Option<(SpecHash, Unverified<Receipt>)>,
    /// Bytes of the blob with the weights.
    pub weights_bytes: u64,
    /// Bytes of the shard.
    pub shard_bytes: u64,
    /// The steps after which the states in the file were, ascending.
    pub states: Vec<u64>,
}

/// What is said to have come of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The update, a blob.
    pub update: Digest,
    /// Mean loss over the last epoch.
    pub loss: Real,
    /// The leaves of the task's trace; none if the training was not committed to.
    pub leaves: Vec<Keccak>,
    /// Intervals of it that are opened, ascending.
    pub intervals: Vec<Interval>,
}

/// What is claimed of the states within an interval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// Which, from 1.
    pub number: u32,
    /// The leaves of its trace.
    pub states: Vec<Keccak>,
}

/// Why a file is no evidence, or cannot be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// Another kind of file.
    #[error("this is no evidence file: it does not begin with 'fedroll evidence 2'")]
    Magic,
    /// Too large to check here.
    #[error(
        "checking this takes {want} bytes of memory, the limit here is {limit}: use `fedroll verify` instead"
    )]
    Memory {
        /// Bytes that it takes, the file's included.
        want: u64,
        /// Bytes that there are.
        limit: u64,
    },
    /// Fewer or more bytes than the statement says.
    #[error(
        "the file has {got} bytes, by its own words it has {want}: it was cut off, or something was added"
    )]
    Length {
        /// Bytes present.
        got: u64,
        /// Bytes announced.
        want: u64,
    },
    /// Other bytes than those that were written.
    #[error("the file is damaged: the digest at its end is not that of its bytes")]
    Damaged,
    /// A statement that cannot be read.
    #[error("the file's statement cannot be read: {0}")]
    Statement(WireError),
    /// A blob that is another than the task's.
    #[error("the {what} in the file are not those of the task: their digest is {got}, the task names {want}")]
    Blob {
        /// Which.
        what: &'static str,
        /// Digest of what is there.
        got: Digest,
        /// Digest that the task names.
        want: Digest,
    },
    /// Commitments that are not as many as the training has.
    #[error("the claim has {got} commitments, a training like this has {want}")]
    Leaves {
        /// In the file.
        got: u64,
        /// What there should be.
        want: u64,
    },
    /// A last commitment that is not to what is claimed.
    #[error("the claim's last commitment is not to the update and the loss that it names")]
    Returned,
    /// An interval that there is not, or whose ends are not what was committed to.
    #[error("the opened interval {number} does not lead from one commitment of the claim to the next")]
    Interval {
        /// Which.
        number: u32,
    },
    /// A state that is damaged, or not what was committed to.
    #[error("the state after step {step} in the file is not the one that the claim commits to")]
    State {
        /// After which step.
        step: u64,
    },
    /// A receipt that nobody signed.
    #[error("the receipt's signature does not hold: {0}")]
    Signature(#[from] SignError),
    /// A receipt about something else.
    #[error("the receipt is about another result than the claim")]
    Receipt,
    /// A receipt for something else.
    #[error("the receipt is for another task, or for one of another job's spec")]
    Work,
    /// A task, weights or examples that make no training.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// A file that holds what it says.
#[derive(Debug)]
pub struct Evidence<'a> {
    statement: Statement,
    shape: Shape,
    receipt: Option<Signed<Receipt>>,
    weights: &'a [u8],
    shard: &'a [u8],
    states: Vec<(u64, &'a [u8])>,
}

/// The contents of the two blobs.
#[derive(Debug)]
pub struct Blobs {
    /// What the training starts from.
    pub weights: Weights,
    /// What it is on.
    pub data: Dataset,
}

/// A file of evidence. The lengths of the blobs and the steps of the states are filled in.
pub fn encode(mut statement: Statement, weights: &[u8], shard: &[u8], states: &[State]) -> Vec<u8> {
    statement.weights_bytes = weights.len() as u64;
    statement.shard_bytes = shard.len() as u64;
    statement.states = states.iter().map(|state| state.step).collect();
    let said = codec::encode(&statement);
    let length = u32::try_from(said.len()).expect("commitments are at most 2^24 of 32 bytes");
    let mut file = [&MAGIC[..], &length.to_le_bytes(), &said, weights, shard].concat();
    states.iter().for_each(|state| file.extend(checkpoints::encode(state)));
    let checksum = Digest::of(&file);
    file.extend(checksum.0);
    file
}

impl<'a> Evidence<'a> {
    /// Reads a file, and refuses it if checking it would take more than `memory_max` bytes.
    ///
    /// All digests, commitments and signatures in it are compared; what the blobs hold is looked at by
    /// [`Evidence::open`].
    pub fn parse(file: &'a [u8], memory_max: u64) -> Result<Self, EvidenceError> {
        let bytes = file.len() as u64;
        if bytes > memory_max {
            return Err(EvidenceError::Memory { want: bytes, limit: memory_max });
        }
        let rest = file.strip_prefix(MAGIC).ok_or(EvidenceError::Magic)?;
        let cut = |want| EvidenceError::Length { got: bytes, want };
        let least = (MAGIC.len() + 4 + CHECKSUM) as u64;
        let (length, rest) = rest.split_first_chunk().ok_or(cut(least))?;
        let length = u32::from_le_bytes(*length);
        let (said, rest) = rest.split_at_checked(length as usize).ok_or(cut(least + u64::from(length)))?;
        let statement: Statement =
            codec::decode_within(said, said.len()).map_err(EvidenceError::Statement)?;
        let shape = statement.task.shape()?;
        let want = memory_bytes(&statement.task, bytes + u64::from(length))?;
        if want > memory_max {
            return Err(EvidenceError::Memory { want, limit: memory_max });
        }

        let Statement { weights_bytes, shard_bytes, .. } = statement;
        let each = checkpoints::bytes_of(values(&statement.task)?);
        let states = each.saturating_mul(statement.states.len() as u64);
        let blobs = weights_bytes.saturating_add(shard_bytes).saturating_add(states);
        let want = blobs.saturating_add(least + u64::from(length));
        if want != bytes {
            return Err(cut(want));
        }
        let (signed, checksum) = file.split_at(file.len() - CHECKSUM);
        if Digest::of(signed).0 != checksum {
            return Err(EvidenceError::Damaged);
        }
        // The lengths add up to the file's, so each is within it.
        let (weights, rest) = rest.split_at(weights_bytes as usize);
        let (shard, rest) = rest.split_at(shard_bytes as usize);
        let states = statement.states.iter().copied().zip(rest.chunks_exact(each as usize)).collect();
        let receipt = statement.receipt.clone().map(|(_, receipt)| receipt.verify()).transpose()?;
        let evidence = Self { statement, shape, receipt, weights, shard, states };
        evidence.check_blobs()?;
        evidence.check_claim()?;
        evidence.check_states()?;
        Ok(evidence)
    }

    fn check_blobs(&self) -> Result<(), EvidenceError> {
        let task = self.task();
        let blobs = [("weights", self.weights, task.weights), ("examples", self.shard, task.shard)];
        for (what, blob, want) in blobs {
            let got = Digest::of(blob);
            if got != want {
                return Err(EvidenceError::Blob { what, got, want });
            }
        }
        Ok(())
    }

    fn check_claim(&self) -> Result<(), EvidenceError> {
        let (task, claim) = (self.task(), self.claim());
        let returned = Leaf::Returned {
            update: claim.update,
            examples: task.examples,
            loss: claim.loss.get().to_bits(),
        };
        let (got, want) = (claim.leaves.len() as u64, u64::from(self.shape.leaves(Trace::Task)));
        if got != want && got != 0 {
            return Err(EvidenceError::Leaves { got, want });
        }
        if claim.leaves.last().is_some_and(|last| *last != returned.digest(&task.digest())) {
            return Err(EvidenceError::Returned);
        }
        let mut before = 0;
        for Interval { number, states } in &claim.intervals {
            let (number, at) = (*number, *number as usize);
            let ends = claim.leaves.get(at.saturating_sub(1)..).and_then(|leaves| leaves.first_chunk::<2>());
            let whole = number > before
                && states.len() as u64 == u64::from(self.shape.leaves(Trace::Interval(number)))
                && ends.is_some_and(|[first, last]| {
                    states.first() == Some(first) && states.last() == Some(last)
                });
            if !whole {
                return Err(EvidenceError::Interval { number });
            }
            before = number;
        }
        let same = |receipt: &Receipt| {
            receipt.result == claim.update
                && receipt.loss == Some(claim.loss)
                && receipt.examples == task.examples
                && (claim.leaves.is_empty() || receipt.trace.is_none_or(|root| self.root() == Some(root)))
        };
        match self.receipt.as_ref().map(Signed::body).zip(self.spec()) {
            Some((receipt, _)) if !same(receipt) => Err(EvidenceError::Receipt),
            Some((receipt, spec)) if task.work_digest(&spec) != Some(receipt.work) => {
                Err(EvidenceError::Work)
            }
            _ => Ok(()),
        }
    }

    fn check_states(&self) -> Result<(), EvidenceError> {
        if self.states.len() > STATES_MAX {
            let (got, most) = (self.states.len() as u64, STATES_MAX as u64);
            return Err(ModelError::Range { what: "states in the file", got, least: 0, most }.into());
        }
        let (task, program) = (self.task(), self.task().program()?);
        let mut before = 0;
        for &(step, file) in &self.states {
            let wrong = EvidenceError::State { step };
            let leaf = self.leaf_after(step).filter(|_| step > before);
            let state = checkpoints::decode(file, values(task)?).filter(|state| state.step == step);
            match (leaf, state) {
                (Some(leaf), Some(state))
                    if state_leaf(&program, &state).digest(&task.digest()) == self.claim().leaves[leaf] => {}
                _ => return Err(wrong),
            }
            before = step;
        }
        Ok(())
    }

    /// The place in the task's trace of the state after a step; `None` if none is committed to.
    fn leaf_after(&self, step: u64) -> Option<usize> {
        let (steps, every) = (self.task().steps(), u64::from(self.task().checkpoint_steps));
        let committed = (step.is_multiple_of(every) || step == steps) && step <= steps;
        let leaf = usize::try_from(step.div_ceil(every)).ok()?;
        (committed && leaf < self.claim().leaves.len()).then_some(leaf)
    }

    /// The task.
    pub const fn task(&self) -> &TrainingTask {
        &self.statement.task
    }

    /// What is claimed to have come of it.
    pub const fn claim(&self) -> &Claim {
        &self.statement.claim
    }

    /// The spec of the job that the receipt is for, if there is one in the file.
    pub fn spec(&self) -> Option<SpecHash> {
        self.statement.receipt.as_ref().map(|(spec, _)| *spec)
    }

    /// The signed receipt, if there is one in the file.
    pub const fn receipt(&self) -> Option<&Signed<Receipt>> {
        self.receipt.as_ref()
    }

    /// The root over the claim's commitments, if there are any.
    pub fn root(&self) -> Option<Keccak> {
        let leaves = Some(&self.claim().leaves[..]).filter(|leaves| !leaves.is_empty())?;
        StaticTree::new(leaves).ok().map(|tree| tree.root())
    }

    /// The steps after which the file has the training's state.
    pub fn steps(&self) -> impl Iterator<Item = u64> {
        self.states.iter().map(|(step, _)| *step)
    }

    /// The state after a step, if the file has it.
    pub fn state(&self, step: u64) -> Option<State> {
        let (_, file) = self.states.iter().find(|(at, _)| *at == step)?;
        checkpoints::decode(file, values(self.task()).ok()?)
    }

    /// Reads the blobs: about [`memory_bytes`] of them.
    pub fn open(&self) -> Result<Blobs, ModelError> {
        let task = self.task();
        let weights = Weights::parse(&task.model, self.weights)?;
        let range = |_| ModelError::Range {
            what: "number of examples",
            got: task.examples,
            least: 1,
            most: u32::MAX.into(),
        };
        let examples = u32::try_from(task.examples).map_err(range)?;
        let data = shard::parse(&task.model, &ShardBlob { digest: task.shard, examples }, self.shard)?;
        Ok(Blobs { weights, data })
    }
}

/// Weights and moments of the task's model.
fn values(task: &TrainingTask) -> Result<[usize; 2], ModelError> {
    let weights = zoo::parameter_count(&task.model)?;
    Ok([weights, train::optimiser(&task.params()).moments() * weights])
}

/// About the bytes that checking a file of so many bytes takes: it, its blobs as numbers, the training, a state that is
/// kept and one that is compared.
fn memory_bytes(task: &TrainingTask, file: u64) -> Result<u64, ModelError> {
    let [weights, moments] = values(task)?.map(|count| 4 * count as u64);
    let minibatch = task.examples.min(task.minibatch.into());
    let input = 4 * task.model.input_len() as u64;
    // The labels, one for each position of a sequence, and the order of the examples.
    let labels = if task.model.kind.is_sequential() { input } else { 4 };
    let data = task.examples.saturating_mul(input + labels + 4);
    let batch = minibatch.saturating_mul(input);
    let training = task.program()?.memory_bytes(minibatch as usize);
    let states = 3 * (weights + moments);
    Ok([data, batch, training, states, 2 * weights].iter().fold(file, |all, more| all.saturating_add(*more)))
}
