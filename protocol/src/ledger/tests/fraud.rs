//! Fraud proofs, judged by a verifier that knows no more than the contract: roots, bytes and what the proof brings.

use proptest::prelude::*;

use super::bytes::{any_op, small_state};
use super::judging::one_batch;
use super::{COORDINATOR, deployment, posted};
use crate::amount::Amount;
use crate::hash::{Keccak, Tag, keccak, node, tagged};
use crate::ids::{AccountIndex, Address, JobId, WorkerId};
use crate::ledger::apply::{JobOrder, judge};
use crate::ledger::fraud::{
    ChunkFraud, ChunkOpening, ResultFraud, Stand, Witness, challenge_hash, replay, wrong_chunk, wrong_result,
};
use crate::ledger::results::ResultLeaf;
use crate::ledger::*;
use crate::limits::STATE_TREE_DEPTH;

/// The contract's half of a fraud proof: applies a chunk over a witness.
struct Verifier<'a> {
    at: StateParts,
    first_item: u64,
    jobs: std::slice::Iter<'a, (JobId, Job)>,
    accounts: std::slice::Iter<'a, (AccountIndex, Account)>,
    paths: std::slice::Iter<'a, StateProof>,
    items: &'a [QueueItem],
}

/// The witness does not belong to the state.
#[derive(Debug, PartialEq)]
struct BadWitness;

fn climb(path: &StateProof, index: u32, leaf: Keccak) -> Keccak {
    let (mut given, mut hash, mut empty) = (path.siblings.iter(), leaf, Keccak::ZERO);
    for height in 0..STATE_TREE_DEPTH {
        let sibling = if path.bitmap >> height & 1 == 1 { *given.next().unwrap() } else { empty };
        hash = if index >> height & 1 == 0 { node(&hash, &sibling) } else { node(&sibling, &hash) };
        empty = node(&empty, &empty);
    }
    hash
}

fn plus(a: Amount, b: u64) -> Amount {
    Amount::units(a.as_units().saturating_add(b.into()))
}

impl Verifier<'_> {
    fn replace(&mut self, root: Keccak, index: u32, old: Keccak, new: Keccak) -> Result<Keccak, BadWitness> {
        let path = self.paths.next().ok_or(BadWitness)?;
        if climb(path, index, old) == root { Ok(climb(path, index, new)) } else { Err(BadWitness) }
    }

    fn next_job(&mut self) -> Result<Job, BadWitness> {
        self.jobs.next().map(|(_, job)| *job).ok_or(BadWitness)
    }

    fn op(&mut self, op: &Op, order: &mut JobOrder, context: &Context<'_>) -> Result<(), BadWitness> {
        match op {
            Op::Register { worker, payout } => {
                if *payout != Address::ZERO {
                    let account = Account { worker: *worker, payout: *payout, earned: Amount::ZERO };
                    let (root, next) = (self.at.accounts_root, self.at.next_account);
                    self.at.accounts_root = self.replace(root, next, Keccak::ZERO, account.leaf())?;
                    self.at.next_account += 1;
                }
                Ok(())
            }
            Op::Credits(credits) if order.advance(credits.job).is_ok() => self.credits(credits, context),
            Op::Queue { job } if order.advance(*job).is_ok() => self.consume(*job, context),
            Op::Credits(_) | Op::Queue { .. } => Ok(()),
        }
    }

    fn credits(&mut self, op: &Credits, context: &Context<'_>) -> Result<(), BadWitness> {
        if op.job.0 >= self.at.next_job {
            return Ok(());
        }
        let job = self.next_job()?;
        let judged = judge(&job, op, self.at.next_account, context);
        let after = judged.as_ref().map_or(job, |(after, _)| *after);
        self.at.jobs_root = self.replace(self.at.jobs_root, op.job.0, job.leaf(), after.leaf())?;
        if judged.is_ok() {
            for credit in &op.credits {
                let (_, before) = *self.accounts.next().ok_or(BadWitness)?;
                let after = Account { earned: plus(before.earned, credit.amount), ..before };
                let root = self.at.accounts_root;
                self.at.accounts_root = self.replace(root, credit.account.0, before.leaf(), after.leaf())?;
            }
        }
        Ok(())
    }

    fn consume(&mut self, id: JobId, context: &Context<'_>) -> Result<(), BadWitness> {
        let position = self.at.queue_position;
        if position >= context.queue_end {
            return Ok(());
        }
        let item = self.items.get((position - self.first_item) as usize).ok_or(BadWitness)?;
        if item.job != id {
            return Ok(());
        }
        let root = self.at.jobs_root;
        if let QueueAction::Fund { amount, coordinator, spec, terms } = item.action {
            if id.0 != self.at.next_job {
                return Ok(());
            }
            let (requester, opened_at) = (item.sender, item.time);
            let opened =
                Job { requester, coordinator, spec, opened_at, funded: amount, terms, ..Job::UNUSED };
            self.at.jobs_root = self.replace(root, id.0, Keccak::ZERO, opened.leaf())?;
            self.at.next_job += 1;
        } else {
            if id.0 >= self.at.next_job {
                return Ok(());
            }
            let job = self.next_job()?;
            let mut after = job;
            match item.action {
                QueueAction::TopUp { amount } if job.is_over_at(context.time) => {
                    after.refundable = plus(job.refundable, amount.as_units() as u64);
                }
                QueueAction::TopUp { amount } => after.funded = plus(job.funded, amount.as_units() as u64),
                _ if job.closing == 0 => after.closing = item.time.max(context.time).saturating_add(20),
                _ => {}
            }
            self.at.jobs_root = self.replace(root, id.0, job.leaf(), after.leaf())?;
        }
        self.at.queue_position += 1;
        Ok(())
    }
}

fn verify(
    pre: StateParts,
    bytes: &[u8],
    declared: u8,
    context: &Context<'_>,
    witness: &Witness,
) -> Result<StateParts, BadWitness> {
    let mut verifier = Verifier {
        at: pre,
        first_item: pre.queue_position,
        jobs: witness.jobs.iter(),
        accounts: witness.accounts.iter(),
        paths: witness.paths.iter(),
        items: &witness.items,
    };
    let parsed = parse_chunk(bytes);
    if parsed.credit_count == u32::from(declared) {
        let mut order = JobOrder::default();
        for op in &parsed.ops {
            verifier.op(op, &mut order, context)?;
        }
    }
    let rest = verifier.jobs.len() + verifier.accounts.len() + verifier.paths.len();
    assert_eq!(rest, 0, "a witness holds nothing that is not read");
    Ok(verifier.at)
}

fn stands_in(opening: &ChunkOpening, batch: &PostedBatch) -> bool {
    let chunks = batch::decode_payload(&batch.payload).unwrap();
    let summary = batch::summarise(batch.header.pre_root, &chunks);
    let leaf = opening.chunk.leaf(opening.index, opening.pre_root, opening.first_credit);
    let mut top = leaf;
    let Stand::Tree(proof) = &opening.stand else { return false };
    for (height, sibling) in proof.siblings.iter().enumerate() {
        let left = opening.index >> height & 1 == 0;
        top = if left { node(&top, sibling) } else { node(sibling, &top) };
    }
    summary.root == tagged(Tag::Chunks, &[&opening.count.to_be_bytes(), &top.0])
}

proptest! {
    #[test]
    fn a_witness_is_all_that_a_chunk_needs(
        ops in proptest::collection::vec(any_op(), 0..8),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2),
        declared in prop_oneof![4 => Just(None), 1 => any::<u8>().prop_map(Some)],
        time in 0u64..300,
        queue_end in 0u64..4,
    ) {
        let mut bytes = Vec::new();
        ops.iter().for_each(|op| op.encode(&mut bytes));
        if !bytes.is_empty() {
            flips.iter().for_each(|(at, value)| *at.get_mut(&mut bytes) = *value);
        }
        let declared = declared.unwrap_or(parse_chunk(&bytes).credit_count as u8);
        let (state, queue) = small_state();
        let context = Context { deployment: deployment(), time, proposer: COORDINATOR, queue: &queue, queue_end };
        let (mut applied, mut replayed) = (state.clone(), state.clone());
        apply_chunk(&mut applied, &bytes, declared, &context);
        let witness = replay(&mut replayed, &bytes, declared, &context);
        prop_assert_eq!(replayed.parts(), applied.parts());
        prop_assert_eq!(verify(state.parts(), &bytes, declared, &context, &witness), Ok(applied.parts()));
        let mut forged = witness.clone();
        if let Some((_, account)) = forged.accounts.first_mut() {
            account.earned = plus(account.earned, 1);
            prop_assert_eq!(verify(state.parts(), &bytes, declared, &context, &forged), Err(BadWitness));
        }
        let mut forged = witness.clone();
        if let Some((_, job)) = forged.jobs.last_mut() {
            job.funded = plus(job.funded, 1 << 20);
            prop_assert_eq!(verify(state.parts(), &bytes, declared, &context, &forged), Err(BadWitness));
        }
    }
}

#[test]
fn the_first_wrong_chunk_is_proven_and_an_honest_batch_is_not() {
    let (world, batch) = one_batch();
    let honest = posted(&batch);
    assert!(batch.chunks.len() > 2);
    assert_eq!(wrong_chunk(&world.deriver, &honest), None);
    for wrong in 0..batch.chunks.len() {
        let mut lie = batch.clone();
        for chunk in &mut lie.chunks[wrong..] {
            chunk.post_root.0[31] ^= 1;
        }
        let lie = posted(&lie);
        let ChunkFraud { opening, pre, witness, post, .. } = wrong_chunk(&world.deriver, &lie).unwrap();
        assert_eq!(opening.index as usize, wrong);
        assert!(stands_in(&opening, &lie) && pre.root() == opening.pre_root);
        assert_ne!(post.root(), opening.chunk.post_root);
        assert_eq!(post.root(), batch.chunks[wrong].post_root);
        let context = world.deriver.context(&lie).unwrap();
        let chunk = &opening.chunk;
        assert_eq!(verify(pre, &chunk.bytes, chunk.declared, &context, &witness), Ok(post));
    }
    let elsewhere =
        PostedBatch { header: BatchHeader { pre_root: Keccak([1; 32]), ..honest.header }, ..honest };
    assert_eq!(wrong_chunk(&world.deriver, &elsewhere), None, "it is not for this state to judge");
}

#[test]
fn a_wrong_result_is_proven_and_an_honest_one_is_not() {
    let (_, batch) = one_batch();
    let honest = posted(&batch);
    assert_eq!(wrong_result(&honest, &batch.results), None);
    let lie = |change: &dyn Fn(&mut Vec<ResultLeaf>)| {
        let (mut leaves, mut lie) = (batch.results.clone(), honest.clone());
        change(&mut leaves);
        lie.header.results_root = batch::root_of_results(&leaves).unwrap();
        assert_eq!(wrong_result(&honest, &leaves), None, "those are not what it committed to");
        let fraud = wrong_result(&lie, &leaves).unwrap();
        assert!(stands_in(&fraud.opening, &lie));
        let ResultFraud { result, .. } = &fraud;
        let mut top = result.leaf.hash(result.index);
        for (height, sibling) in result.proof.siblings.iter().enumerate() {
            let left = result.index >> height & 1 == 0;
            top = if left { node(&top, sibling) } else { node(sibling, &top) };
        }
        assert_eq!(tagged(Tag::Results, &[&result.count.to_be_bytes(), &top.0]), lie.header.results_root);
        fraud
    };
    let about = |fraud: &ResultFraud, index: usize| {
        let ChunkOpening { first_credit, chunk, .. } = &fraud.opening;
        let credits = *first_credit as usize..*first_credit as usize + usize::from(chunk.declared);
        fraud.result.index as usize == index && credits.contains(&index)
    };
    assert!(about(&lie(&|leaves| leaves[20].credit.amount += 1), 20));
    assert!(about(&lie(&|leaves| leaves[49].settlement += 1), 49));
    assert!(about(&lie(&|leaves| leaves.swap(0, 1)), 0));
    assert_eq!(lie(&|leaves| leaves.truncate(49)).result.count, 49);
    assert_eq!(lie(&|leaves| leaves.push(leaves[0])).result.count, 51);
}

#[test]
fn a_result_about_a_credit_that_no_op_carries_is_wrong() {
    let leaf = |chunk: &Chunk| {
        let (_, batch) = one_batch();
        let mut lie = posted(&batch);
        lie.payload = batch::encode_payload(core::slice::from_ref(chunk));
        lie.header.results_root = batch::root_of_results(&batch.results[..1]).unwrap();
        wrong_result(&lie, &batch.results[..1]).unwrap().result.index
    };
    let mut bytes = Vec::new();
    Op::Register { worker: WorkerId([1; 32]), payout: Address([1; 20]) }.encode(&mut bytes);
    assert_eq!(leaf(&Chunk { bytes, declared: 1, post_root: Keccak::ZERO }), 0);
}

#[test]
fn a_commitment_is_to_what_only_a_re_execution_shows() {
    let (world, batch) = one_batch();
    let mut lie = batch.clone();
    lie.chunks[1].post_root = Keccak([1; 32]);
    let fraud = wrong_chunk(&world.deriver, &posted(&lie)).unwrap();
    let mut words = posted(&lie).commitment.0.to_vec();
    words.extend([[0; 31].to_vec(), vec![1], batch.chunks[1].post_root.0.to_vec()].concat());
    assert_eq!(fraud.subject(), keccak(&[&words]));
    let (beneficiary, salt) = (Address([7; 20]), [9; 32]);
    let preimage = [&fraud.subject().0[..], &[0; 12], &[7; 20], &salt].concat();
    assert_eq!(challenge_hash(fraud.subject(), beneficiary, &salt), keccak(&[&preimage]));
}
