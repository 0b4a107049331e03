//! A worker that trains, gives a wrong result, and defends it: real QUIC, a real training, a forged trace.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use models::ModelError;
use models::data::shard;
use models::replay::TrainingTask;
use models::replay::checkpoints::InMemory;
use models::replay::party::Party;
use models::train::Control;
use models::weights::Weights;
use protocol::dispute::moves::{Asked, Body};
use protocol::dispute::shape::Trace;
use protocol::dispute::trace::{Computation, Player};
use protocol::hash::{Digest, Keccak, keccak};
use protocol::job::{Receipt, Task, TaskData, TaskWork};
use protocol::limits::BLOB_BYTES_MAX;
use protocol::merkle::StaticTree;
use protocol::quic::Blob;
use protocol::sign::eip712::Domain;
use protocol::wire::codec;
use protocol::wire::message::{ToCoordinator, ToWorker};

use super::client::Client;

/// What it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cheat {
    /// From this step on its states are not those of the training.
    FromStep(u64),
    /// The same, and it says nothing when it is asked.
    Silent(u64),
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Why it is not paid; `None` if it is.
    pub refused: Option<String>,
    /// Moves that it made.
    pub moves: usize,
    /// Bytes of them and of the questions.
    pub bytes: usize,
    /// Between its receipt and the answer to it.
    pub millis: u128,
}

/// An honest party whose states are bent from a step on.
struct Forger {
    party: Party<InMemory>,
    task: TrainingTask,
    from: u64,
    returned: Keccak,
}

impl Forger {
    fn bent(&self, step: u64, leaf: Keccak) -> Keccak {
        if step >= self.from { keccak(&[b"bent", &leaf.0]) } else { leaf }
    }
}

impl Computation for Forger {
    type Error = ModelError;

    fn leaves(&mut self, trace: Trace) -> Result<Vec<Keccak>, ModelError> {
        let (steps, every) = (self.task.steps(), u64::from(self.task.checkpoint_steps));
        let mut leaves = self.party.leaves(trace)?;
        let before = |interval: u32| (u64::from(interval - 1) * every).min(steps);
        let states = |leaves: &mut [Keccak], step: &dyn Fn(u64) -> u64| {
            for (at, leaf) in (0..).zip(leaves) {
                *leaf = self.bent(step(at), *leaf);
            }
        };
        match trace {
            Trace::Task => {
                let inner = leaves.len() - 1;
                states(&mut leaves[..inner], &|at| (at * every).min(steps));
                leaves[inner] = self.returned;
            }
            Trace::Interval(interval) | Trace::Step { interval, .. } if before(interval) == steps => {
                states(&mut leaves[..1], &|_| steps);
                leaves[1] = self.returned;
            }
            Trace::Interval(interval) => states(&mut leaves, &|at| before(interval) + at),
            Trace::Step { interval, step } => {
                let (number, last) = (before(interval) + u64::from(step), leaves.len() as u64 - 1);
                states(&mut leaves, &|at| if at == last { number } else { number - 1 });
            }
        }
        Ok(leaves)
    }
}

impl Client {
    /// Takes a task on a job's shard and cheats; until its receipt is answered.
    pub async fn cheat(&mut self, cheat: Cheat) -> Result<Ended> {
        let (mut ended, mut defence, mut began) = (Ended::default(), None, None);
        let rollup = Domain { chain_id: self.welcome.chain_id, contract: self.welcome.rollup };
        let (key, link, sender, receiver) = self.parts();
        loop {
            match receiver.recv().await?.context("the coordinator hung up")? {
                ToWorker::Assign { task, .. } => {
                    let (weights, data) = blobs_of(&task)?;
                    let weights = link.fetch(weights, BLOB_BYTES_MAX).await?;
                    let data = link.fetch(data, BLOB_BYTES_MAX).await?;
                    let own = task.clone();
                    let forged = move || forge(&own, &weights, &data, cheat);
                    let (update, receipt, player) = tokio::task::spawn_blocking(forged).await??;
                    let digest = Digest::of(&update);
                    link.upload(task.id, task.nonce, digest, Blob::Memory(update)).await?;
                    sender.send(&ToCoordinator::Receipt(key.sign(receipt).into_wire())).await?;
                    defence = Some(player);
                    began = Some(tokio::time::Instant::now());
                }
                ToWorker::Asked { dispute, round, asked, .. } => {
                    ended.bytes += codec::encode(&asked).len();
                    let player = defence.as_mut().context("it has sent a receipt")?;
                    if let Some(said) = answer(player, &asked, cheat)? {
                        let said = key.sign(Body { rollup, dispute, round, said }).into_wire();
                        ended.bytes += codec::encode(&said).len();
                        ended.moves += 1;
                        sender.send(&ToCoordinator::Moved(Box::new(said))).await?;
                    }
                }
                ToWorker::Accepted { .. } => break,
                ToWorker::Rejected { reason, .. } => {
                    ended.refused = Some(reason.to_string());
                    break;
                }
                ToWorker::Welcome(_) | ToWorker::PassedOver { .. } => {}
                other => bail!("it did not expect {other:?}"),
            }
        }
        ended.millis = began.map_or(0, |began| began.elapsed().as_millis());
        Ok(ended)
    }
}

fn answer(
    player: &mut Player<Forger>,
    asked: &Asked,
    cheat: Cheat,
) -> Result<Option<protocol::dispute::moves::Move>> {
    match cheat {
        Cheat::Silent(_) => Ok(None),
        Cheat::FromStep(_) => Ok(player.answer(asked)?),
    }
}

fn blobs_of(task: &Task) -> Result<(Digest, Digest)> {
    match &task.work {
        TaskWork::Train(train) => match &train.data {
            TaskData::Shard(shard) => Ok((train.weights, shard.digest)),
            TaskData::Local(_) => bail!("the job brings no data"),
        },
        TaskWork::Infer(_) => bail!("not a training"),
    }
}

fn forge(task: &Task, weights: &[u8], data: &[u8], cheat: Cheat) -> Result<(Bytes, Receipt, Player<Forger>)> {
    let TaskWork::Train(train) = &task.work else { bail!("not a training") };
    let TaskData::Shard(stated) = &train.data else { bail!("the job brings no data") };
    let training = TrainingTask::of(train).context("the job brings the data")?;
    let weights = Arc::new(Weights::parse(&train.model, weights)?);
    let data = Arc::new(shard::parse(&train.model, stated, data)?);
    let mut party = Party::new(training.clone(), weights, data, 1, InMemory::default())?;
    let mut committed = party.train(&mut |_| Control::Continue)?;
    committed.update[models::update::HEADER_BYTES] ^= 1;
    let mut receipt = Receipt {
        task: task.id,
        nonce: task.nonce,
        work: task.work_digest(),
        result: Digest::of(&committed.update),
        result_bytes: committed.update.len() as u64,
        examples: training.examples,
        loss: committed.loss.try_into().ok(),
        evaluated: None,
        trace: None,
        checks: task.checks,
        stake: None,
    };
    let (Cheat::FromStep(from) | Cheat::Silent(from)) = cheat;
    let returned = training.returned(&receipt);
    let shape = party.shape().clone();
    let mut forger = Forger { party, task: training, from, returned };
    receipt.trace = Some(StaticTree::new(&forger.leaves(Trace::Task)?)?.root());
    Ok((committed.update.into(), receipt, Player::new(forger, shape)))
}
