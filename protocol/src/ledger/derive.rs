//! The auditor: from what stands on the base layer back to the state, believing nobody.
//!
//! Feed it the base layer's events in order. It applies every chunk again and compares each root that was posted; the
//! first that differs names the chunk that was applied wrongly. It uses nothing that a coordinator keeps.

use crate::hash::Keccak;
use crate::ids::{Address, BatchId};
use crate::ledger::apply::{AppliedChunk, Context, Deployment, apply_chunk};
use crate::ledger::batch::{
    BatchHeader, BatchMode, ChunksSummary, FramingError, decode_payload, root_of_results, summarise,
};
use crate::ledger::blob::{BLOB_BYTES, InBlobs, StatedChunk};
use crate::ledger::fraud::first_wrong;
use crate::ledger::queue::{Queue, QueueItem};
use crate::ledger::results::ResultLeaf;
use crate::ledger::state::{State, StateParts};

/// A batch as the base layer shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostedBatch {
    /// The posting call's header.
    pub header: BatchHeader,
    /// Who posted it.
    pub proposer: Address,
    /// The posting call's payload; empty where blobs carry the chunks.
    pub payload: Vec<u8>,
    /// The chunks in blobs; `None` where the payload carries them.
    pub blobs: Option<InBlobs>,
    /// The commitment that the contract stored.
    pub commitment: Keccak,
}

impl PostedBatch {
    /// Where its chunks stand.
    pub const fn mode(&self) -> BatchMode {
        if self.blobs.is_some() { BatchMode::Blobs } else { BatchMode::Calldata }
    }

    /// Its chunks, each with the credits that come before it: as it states them in a blob, as they are in a payload.
    pub fn chunks(&self) -> Result<Vec<StatedChunk>, FramingError> {
        if let Some(blobs) = &self.blobs {
            return Ok(blobs.chunks());
        }
        let mut credits = 0;
        let stated = decode_payload(&self.payload)?.into_iter().map(|chunk| {
            let first_credit = credits;
            credits += u32::from(chunk.declared);
            StatedChunk { first_credit, chunk }
        });
        Ok(stated.collect())
    }

    /// What the contract binds of its chunks: of a payload what it computes, of blobs what it is told.
    pub fn summary(&self) -> Result<ChunksSummary, FramingError> {
        Ok(match &self.blobs {
            None => summarise(self.header.pre_root, &decode_payload(&self.payload)?),
            Some(blobs) => ChunksSummary {
                root: blobs.root(),
                credit_count: blobs.credits,
                post_root: self.header.post.root(),
            },
        })
    }

    /// The commitment that the contract stores for what was posted.
    pub fn expected_commitment(&self) -> Result<Keccak, FramingError> {
        Ok(self.header.commitment(self.proposer, &self.summary()?, self.mode()))
    }

    /// Bytes that were posted, rooms' ends and blobs' unused parts included.
    pub fn data_bytes(&self) -> usize {
        self.blobs.as_ref().map_or(self.payload.len(), |blobs| blobs.blobs.len() * BLOB_BYTES)
    }
}

/// The first thing that is wrong with a posted batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A batch is missing, or comes twice.
    #[error("batch {want} comes next, not {got}")]
    Number {
        /// The next number.
        want: BatchId,
        /// The number posted.
        got: BatchId,
    },
    /// It builds on another state.
    #[error("it builds on the state {got}, the state is {want}")]
    PreRoot {
        /// The state as derived.
        want: Keccak,
        /// The state it names.
        got: Keccak,
    },
    /// Its time runs back.
    #[error("its time {got} is before the previous batch's {previous}")]
    Time {
        /// The previous batch's time.
        previous: u64,
        /// Its time.
        got: u64,
    },
    /// It sees queue items that are not on the base layer.
    #[error("it sees {end} queue items, the base layer has {known}")]
    QueueEnd {
        /// Items it sees.
        end: u64,
        /// Items there are.
        known: u64,
    },
    /// It names another queue.
    #[error("it names the queue hash {got}, the queue's is {want}")]
    QueueHash {
        /// The hash as derived.
        want: Keccak,
        /// The hash it names.
        got: Keccak,
    },
    /// Its payload cannot be read.
    #[error("its payload cannot be read: {0}")]
    Framing(#[from] FramingError),
    /// A chunk was applied wrongly.
    #[error("chunk {index} leads to the state {want}, it was posted with {got}")]
    Chunk {
        /// The first such chunk.
        index: usize,
        /// The state after it, as derived.
        want: Keccak,
        /// The root it was posted with.
        got: Keccak,
    },
    /// A chunk in a blob does not count on from those before it.
    #[error("chunk {index} says that {got} credits come before it, there are {want}")]
    FirstCredit {
        /// The first such chunk.
        index: usize,
        /// The credits before it.
        want: u32,
        /// How many it says.
        got: u32,
    },
    /// Not all of its blobs were to be had: what the others say cannot be judged.
    #[error("its blobs are not to be had from chunk {0} on")]
    Missing(usize),
    /// Its chunks in blobs declare other credits than were stated when it was posted.
    #[error("its chunks declare {want} credits, it was posted with {got}")]
    Credits {
        /// As its chunks declare.
        want: u32,
        /// As was stated.
        got: u32,
    },
    /// Its header states another state than its chunks lead to.
    #[error("its chunks lead to the state {}, its header states {}", .want.root(), .got.root())]
    Post {
        /// The state as derived.
        want: Box<StateParts>,
        /// The state it states.
        got: Box<StateParts>,
    },
    /// The contract stored another commitment.
    #[error("its commitment is {want}, the base layer has {got}")]
    Commitment {
        /// The commitment of what was posted.
        want: Keccak,
        /// The commitment that was stored.
        got: Keccak,
    },
}

/// What is wrong with the results that were shown for a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResultsFault {
    /// They are not what the batch committed to.
    #[error("their root is not the batch's results root {want}")]
    Root {
        /// The batch's results root.
        want: Keccak,
    },
    /// There are more of them than credits, or fewer.
    #[error("there are {got} of them for {want} credits")]
    Count {
        /// Credits in the batch.
        want: usize,
        /// Results shown.
        got: usize,
    },
    /// One is about something else than its credit.
    #[error("result {index} is not about credit {index}")]
    Leaf {
        /// The first such place.
        index: usize,
    },
}

/// What came out of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The batch.
    pub number: BatchId,
    /// What became of each op, up to and including a wrong chunk.
    pub chunks: Vec<AppliedChunk>,
    /// The first thing that is wrong; `None` if everything holds.
    pub fault: Option<Fault>,
    /// How the results compare, if any were shown.
    pub results: Option<Result<(), ResultsFault>>,
}

impl Verdict {
    /// Whether everything that was checked holds.
    pub fn holds(&self) -> bool {
        self.fault.is_none() && !matches!(self.results, Some(Err(_)))
    }
}

/// Where a deriver stood before a batch: what a rollback takes it back to. Cheap to keep.
#[derive(Clone, Debug)]
pub struct Point {
    state: State,
    last: BatchId,
    time: u64,
}

impl Point {
    /// The state there.
    pub const fn state(&self) -> &State {
        &self.state
    }
}

/// Queue items must come one by one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("queue item {want} comes next, not {got}")]
pub struct QueueGap {
    /// The next index.
    pub want: u64,
    /// The index given.
    pub got: u64,
}

/// The state as the base layer's data gives it. A clone is cheap but for the queue.
#[derive(Clone, Debug)]
pub struct Deriver {
    deployment: Deployment,
    state: State,
    queue: Queue,
    last: BatchId,
    time: u64,
}

impl Deriver {
    /// The state before the first batch.
    pub fn new(deployment: Deployment) -> Self {
        Self { deployment, state: State::default(), queue: Queue::default(), last: BatchId(0), time: 0 }
    }

    /// The state after batch `last`, dated `time`, with what is known of the queue: for whoever derived it before.
    pub const fn after(deployment: Deployment, queue: Queue, state: State, last: BatchId, time: u64) -> Self {
        Self { deployment, state, queue, last, time }
    }

    /// The state after the last batch that held.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The queue so far.
    pub const fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The last batch that held; 0 before the first.
    pub const fn last(&self) -> BatchId {
        self.last
    }

    /// The time of the last batch that held; 0 before the first.
    pub const fn time(&self) -> u64 {
        self.time
    }

    /// Where it stands.
    pub fn point(&self) -> Point {
        Point { state: self.state.clone(), last: self.last, time: self.time }
    }

    /// Goes back to where it stood, after batches were rolled back. The queue stays: a rollback takes no item back.
    pub fn rewind(&mut self, to: Point) {
        (self.state, self.last, self.time) = (to.state, to.last, to.time);
    }

    /// Takes the queue item with this index. The hash chain over all of them is compared with what batches name.
    pub fn queue_item(&mut self, index: u64, item: QueueItem) -> Result<(), QueueGap> {
        if index != self.queue.len() {
            return Err(QueueGap { want: self.queue.len(), got: index });
        }
        self.queue.push(item);
        Ok(())
    }

    /// Applies a posted batch, and compares the results shown for it, if any. After a fault the state stays as it was,
    /// so every later batch is at fault too: it builds on what was not derived.
    pub fn batch(&mut self, posted: &PostedBatch, results: Option<&[ResultLeaf]>) -> Verdict {
        let mut applied = Vec::new();
        let outcome = self.derive(posted, &mut applied);
        let results = results.map(|leaves| compare_results(posted, leaves));
        let fault = match outcome {
            Ok(state) => {
                (self.state, self.last, self.time) = (state, posted.header.number, posted.header.time);
                None
            }
            Err(fault) => Some(fault),
        };
        Verdict { number: posted.header.number, chunks: applied, fault, results }
    }

    /// What the ops of this batch are applied in, if its header fits the state.
    pub(super) fn context(&self, posted: &PostedBatch) -> Result<Context<'_>, Fault> {
        let header = &posted.header;
        self.check_header(header)?;
        Ok(Context {
            deployment: self.deployment,
            time: header.time,
            proposer: posted.proposer,
            queue: &self.queue,
            queue_end: header.queue_end,
        })
    }

    fn derive(&self, posted: &PostedBatch, applied: &mut Vec<AppliedChunk>) -> Result<State, Fault> {
        let header = &posted.header;
        let context = self.context(posted)?;
        let chunks = posted.chunks()?;
        let (mut state, mut credits) = (self.state.clone(), 0);
        for (index, StatedChunk { first_credit, chunk }) in chunks.iter().enumerate() {
            if *first_credit != credits {
                return Err(Fault::FirstCredit { index, want: credits, got: *first_credit });
            }
            credits += u32::from(chunk.declared);
            applied.push(apply_chunk(&mut state, &chunk.bytes, chunk.declared, &context));
            let (want, got) = (state.root(), chunk.post_root);
            if want != got {
                return Err(Fault::Chunk { index, want, got });
            }
        }
        if posted.blobs.as_ref().is_some_and(|blobs| chunks.len() < blobs.count as usize) {
            return Err(Fault::Missing(chunks.len()));
        }
        if state.parts() != header.post {
            return Err(Fault::Post { want: state.parts().into(), got: header.post.into() });
        }
        let stated = posted.summary()?.credit_count;
        if stated != credits {
            return Err(Fault::Credits { want: credits, got: stated });
        }
        let want = posted.expected_commitment()?;
        if want != posted.commitment {
            return Err(Fault::Commitment { want, got: posted.commitment });
        }
        Ok(state)
    }

    fn check_header(&self, header: &BatchHeader) -> Result<(), Fault> {
        let next = BatchId(self.last.0 + 1);
        if header.number != next {
            return Err(Fault::Number { want: next, got: header.number });
        }
        let root = self.state.root();
        if header.pre_root != root {
            return Err(Fault::PreRoot { want: root, got: header.pre_root });
        }
        if header.time < self.time {
            return Err(Fault::Time { previous: self.time, got: header.time });
        }
        let (end, known) = (header.queue_end, self.queue.len());
        let want = self.queue.hash_at(end).ok_or(Fault::QueueEnd { end, known })?;
        if header.queue_hash != want {
            return Err(Fault::QueueHash { want, got: header.queue_hash });
        }
        Ok(())
    }
}

/// Result i must be about credit i, where credits are counted as chunks declare them.
fn compare_results(posted: &PostedBatch, leaves: &[ResultLeaf]) -> Result<(), ResultsFault> {
    let want = posted.header.results_root;
    if root_of_results(leaves) != Some(want) {
        return Err(ResultsFault::Root { want });
    }
    let chunks: Vec<_> = posted.chunks().unwrap_or_default().into_iter().map(|stated| stated.chunk).collect();
    let count = chunks.iter().map(|chunk| usize::from(chunk.declared)).sum();
    if leaves.len() != count {
        return Err(ResultsFault::Count { want: count, got: leaves.len() });
    }
    first_wrong(&chunks, leaves).map_or(Ok(()), |(index, _)| Err(ResultsFault::Leaf { index }))
}
