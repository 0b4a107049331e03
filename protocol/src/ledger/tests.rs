//! Properties of the whole: sealed batches derive to the same state, money is conserved, bytes of any kind are harmless.

mod bytes;
mod fraud;
mod judging;

use super::*;
use crate::amount::Amount;
use crate::hash::Digest;
use crate::ids::{AccountIndex, Address, BatchId, JobId, SpecHash, WorkerId};
use crate::limits::BATCH_BYTES_MAX;
use crate::rng::Rng;
use crate::sign::EthKey;
use crate::sign::eip712::Domain;

const COORDINATOR: Address = Address([0xc0; 20]);

pub(super) fn deployment() -> Deployment {
    Deployment { domain: Domain { chain_id: 31337, contract: Address([0xee; 20]) }, close_grace: 20 }
}

pub(super) fn terms() -> Terms {
    Terms {
        price_cap: 100,
        task_cap: 100_000,
        settlements: 1_000,
        rate: 1_000,
        burst: 1_000_000_000,
        fee_bps: 250,
        approve: false,
        kind: 0,
    }
}

fn key() -> EthKey {
    EthKey::from_secret(&[7; 32]).unwrap()
}

fn fund(amount: u128, terms: Terms) -> QueueAction {
    QueueAction::Fund {
        amount: Amount::units(amount),
        coordinator: COORDINATOR,
        spec: SpecHash([5; 32]),
        terms,
    }
}

pub(super) fn item(job: u32, time: u64, action: QueueAction) -> QueueItem {
    QueueItem { job: JobId(job), time, sender: key().address(), action }
}

fn start(number: u64, time: u64, queue: &Queue) -> BatchStart {
    BatchStart { number: BatchId(number), time, proposer: COORDINATOR, queue_end: queue.len() }
}

pub(super) fn posted(batch: &Batch) -> PostedBatch {
    PostedBatch {
        header: batch.header,
        proposer: batch.proposer,
        payload: batch.payload(),
        blobs: None,
        commitment: batch.commitment(),
    }
}

fn entry(account: u32, tasks: u16, amount: u64) -> SettlementCredit {
    let digest = |salt: u8| Digest::of(&[&account.to_be_bytes()[..], &[salt]].concat());
    let credit = Credit { account: AccountIndex(account), tasks, amount };
    SettlementCredit { credit, receipts: digest(1), results: digest(2) }
}

/// What a run of random work looks like from outside: the books that the ledger must agree with.
struct World {
    rng: Rng,
    queue: Queue,
    state: State,
    deriver: Deriver,
    time: u64,
    paid_in: u128,
    waiting: Vec<Settlement>,
    asked: Vec<u32>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            queue: Queue::default(),
            state: State::default(),
            deriver: Deriver::new(deployment()),
            time: 1_000,
            paid_in: 0,
            waiting: Vec::new(),
            asked: Vec::new(),
        }
    }

    fn push_item(&mut self, job: u32, action: QueueAction) {
        if let QueueAction::Fund { amount, .. } | QueueAction::TopUp { amount } = action {
            self.paid_in += amount.as_units();
        }
        let item = item(job, self.time, action);
        self.deriver.queue_item(self.queue.len(), item).unwrap();
        self.queue.push(item);
    }

    fn requesters_act(&mut self) {
        for _ in 0..self.rng.below(4) {
            let jobs = self.asked.len() as u64;
            if jobs == 0 || self.rng.chance(1, 3) {
                let amount = u128::from(self.rng.below(1 << 30));
                let approve = self.rng.chance(1, 4);
                self.push_item(jobs as u32, fund(amount, Terms { approve, ..terms() }));
                self.asked.push(0);
            } else {
                let job = self.rng.below(jobs) as u32;
                let top_up = QueueAction::TopUp { amount: Amount::units(self.rng.below(1 << 20).into()) };
                let close = self.rng.chance(1, 5);
                self.push_item(job, if close { QueueAction::Close } else { top_up });
            }
        }
    }

    fn finish_settlements(&mut self) {
        for job in 0..self.asked.len() {
            let accounts = u64::from(self.state.next_account());
            if self.waiting.iter().any(|settlement| settlement.job.0 == job as u32) || self.rng.chance(1, 2) {
                continue;
            }
            let mut credits = Vec::new();
            for account in 0..accounts {
                if self.rng.chance(2, 3) {
                    let tasks = 1 + self.rng.below(3) as u16;
                    credits.push(entry(account as u32, tasks, self.rng.below(u64::from(tasks) * 100 + 1)));
                }
            }
            let number = self.asked[job];
            let sum_max = credits.iter().map(|entry| entry.credit.amount).sum();
            let digest = approval_digest(&deployment().domain, JobId(job as u32), number, sum_max);
            let approval = Some(Approval { sum_max, signature: key().sign(&digest) });
            self.waiting.push(Settlement { job: JobId(job as u32), number, approval, credits });
        }
    }

    fn seal_and_check(&mut self, number: u64) {
        let start = start(number, self.time, &self.queue);
        let mut builder = BatchBuilder::new(self.state.clone(), start, deployment(), &self.queue).unwrap();
        for _ in 0..self.rng.below(40) {
            let id = self.rng.next().to_be_bytes()[0];
            builder.register(WorkerId([id; 32]), Address([id | 1; 20])).unwrap();
        }
        builder.consume_queue().unwrap();
        let asked = &mut self.asked;
        self.waiting.retain(|settlement| match builder.settle(settlement) {
            Ok(Progress::Closed) => {
                asked[settlement.job.0 as usize] += 1;
                false
            }
            Ok(Progress::Continues { .. }) => true,
            // A job that closed or ran dry: the coordinator gives up on it.
            Err(SealError::Refused(_)) => false,
            Err(error) => panic!("{error}"),
        });
        let (batch, state) = builder.seal();
        assert!(batch.payload().len() <= BATCH_BYTES_MAX);
        let verdict = self.deriver.batch(&posted(&batch), Some(&batch.results));
        assert_eq!(verdict.fault, None);
        assert_eq!(verdict.results, Some(Ok(())));
        assert!(
            verdict.chunks.iter().flat_map(|chunk| &chunk.outcomes).all(Result::is_ok),
            "no op is wasted"
        );
        assert_eq!(self.deriver.state().root(), state.root());
        self.state = state;
    }

    fn check_money(&self) {
        let total =
            |part: fn(&Job) -> Amount| self.state.jobs().map(|(_, job)| part(job).as_units()).sum::<u128>();
        let earned: u128 = self.state.accounts().map(|(_, account)| account.earned.as_units()).sum();
        let (spent, fees) = (total(|job| job.spent), total(|job| job.fees));
        assert_eq!(earned + fees, spent, "what was spent was earned, by workers or the coordinator");
        assert_eq!(total(|job| job.funded) + total(|job| job.refundable), self.paid_in, "no money is lost");
        for (id, job) in self.state.jobs() {
            assert!(job.spent <= job.funded, "job {id}");
            let refund = job.refund_at(u64::MAX).as_units();
            if job.closing != 0 || job.is_finished() {
                let kept = job.funded.as_units() + job.refundable.as_units() - refund;
                assert_eq!(kept, job.spent.as_units(), "what is not spent goes back");
            }
        }
    }
}

#[test]
fn sealed_batches_derive_to_the_same_state_and_conserve_money() {
    let (mut settled, mut closed, mut fees) = (0, 0, 0);
    for seed in 0..30 {
        let mut world = World::new(seed);
        for number in 1..=12 {
            world.requesters_act();
            world.finish_settlements();
            world.seal_and_check(number);
            world.check_money();
            world.time += world.rng.below(30);
        }
        for (_, job) in world.state.jobs() {
            settled += job.next_settlement;
            closed += u32::from(job.closing != 0);
            fees += job.fees.as_units();
        }
    }
    assert!(settled > 500 && closed > 50 && fees > 0, "the runs do real work: {settled} {closed} {fees}");
}

/// A state with `accounts` accounts and one rich job, sealed in as many batches as that takes.
fn registered(accounts: u32) -> (World, u64) {
    let mut world = World::new(1);
    world.push_item(0, fund(1 << 90, Terms { rate: u64::MAX, ..terms() }));
    let mut number = 0;
    while world.state.next_account() < accounts {
        number += 1;
        let start = start(number, world.time, &world.queue);
        let mut builder = BatchBuilder::new(world.state.clone(), start, deployment(), &world.queue).unwrap();
        builder.consume_queue().unwrap();
        let mut next = builder.account(AccountIndex(0)).map_or(0, |_| world.state.next_account());
        while next < accounts {
            match builder.register(WorkerId([next as u8; 32]), Address([1; 20])) {
                Ok(index) => next = index.0 + 1,
                Err(SealError::Full) => break,
                Err(error) => panic!("{error}"),
            }
        }
        let (batch, state) = builder.seal();
        assert!(world.deriver.batch(&posted(&batch), None).holds());
        world.state = state;
    }
    (world, number)
}

#[test]
fn a_settlement_larger_than_a_batch_continues_in_the_next() {
    let (mut world, number) = registered(10_000);
    let credits: Vec<_> = (0..10_000).map(|account| entry(account, 1, 100)).collect();
    let settlement = Settlement { job: JobId(0), number: 0, approval: None, credits };
    let mut left = Vec::new();
    for number in number + 1.. {
        let start = start(number, world.time, &world.queue);
        let mut builder = BatchBuilder::new(world.state.clone(), start, deployment(), &world.queue).unwrap();
        let progress = builder.settle(&settlement).unwrap();
        assert_eq!(builder.settle(&settlement), Ok(progress), "asking again changes nothing");
        let (batch, state) = builder.seal();
        assert!(batch.payload().len() <= BATCH_BYTES_MAX);
        assert!(world.deriver.batch(&posted(&batch), Some(&batch.results)).holds());
        world.state = state;
        match progress {
            Progress::Continues { left: credits } => left.push(credits),
            Progress::Closed => break,
        }
    }
    assert_eq!(left, [3628], "a full batch carries 6,372 credits: 335 chunks of 19, and 7");
    let job = world.state.job(JobId(0)).unwrap();
    assert_eq!((job.next_settlement, job.fees), (1, Amount::units(25_000)));
    assert!(world.state.accounts().all(|(_, account)| account.earned == Amount::units(100)));
}

#[test]
fn a_settlement_that_breaks_a_limit_is_refused_whole() {
    let (world, number) = registered(100);
    let mut builder = BatchBuilder::new(
        world.state.clone(),
        start(number + 1, 2_000, &world.queue),
        deployment(),
        &world.queue,
    )
    .unwrap();
    let mut credits: Vec<_> = (0..100).map(|account| entry(account, 1, 100)).collect();
    credits[99].credit.amount = 101;
    let mut settlement = Settlement { job: JobId(0), number: 0, approval: None, credits };
    let account = AccountIndex(99);
    assert_eq!(builder.settle(&settlement), Err(SealError::Refused(NoOp::OverPriceCap { account })));
    assert!(builder.is_empty());
    settlement.number = 1;
    assert_eq!(builder.settle(&settlement), Err(SealError::Refused(NoOp::NotNext { next: 0 })));
    settlement.credits.swap(0, 99);
    settlement.number = 0;
    assert!(matches!(builder.settle(&settlement), Err(SealError::Refused(NoOp::OverPriceCap { .. }))));
    let (batch, state) = builder.seal();
    assert_eq!((batch.chunks.len(), state.root()), (0, world.state.root()));
}

#[test]
fn the_sealer_sees_no_further_than_the_queue() {
    let queue = Queue::default();
    let start = BatchStart { queue_end: 1, ..start(1, 5, &queue) };
    let builder = BatchBuilder::new(State::default(), start, deployment(), &queue);
    assert_eq!(builder.err(), Some(SealError::QueueEnd { end: 1, known: 0 }));
}
