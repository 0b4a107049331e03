//! Honest parties win, whatever the lie; the messages stay few.

use proptest::prelude::*;

use super::moves::{Asked, Body, Move, Refused};
use super::shape::{Operators, Shape, Trace};
use super::trace::{Computation, Player};
use super::*;
use crate::hash::keccak;
use crate::ids::{Address, JobId, Nonce, TaskId};
use crate::merkle::{StaticTree, TreeError};
use crate::sign::NodeKey;
use crate::sign::eip712::Domain;

/// What the operators of this toy compute: a hash of what they read.
pub(super) fn operator(number: u32, inputs: &[Keccak]) -> Keccak {
    let inputs: Vec<_> = inputs.iter().flat_map(|input| input.0).collect();
    keccak(&[&number.to_be_bytes(), &inputs])
}

/// Where a party computes something else than the operator comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    None,
    /// The output of one operator of one step, counted over the task.
    Operator {
        step: u32,
        operator: u32,
        salt: u8,
    },
    /// Steps are left out: each state is that before it.
    Skipped {
        from: u32,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Toy {
    start: Keccak,
    steps: u32,
    every: u32,
    step: Vec<Vec<u32>>,
    finish: Vec<Vec<u32>>,
    lie: Lie,
}

impl Toy {
    fn shape(&self) -> Shape {
        let operators = |inputs: &Vec<Vec<u32>>| Operators::new(inputs.clone()).unwrap();
        Shape::new(self.steps, self.every, operators(&self.step), operators(&self.finish)).unwrap()
    }

    /// The leaves of a step from this state.
    fn run(&self, state: Keccak, number: u32) -> Vec<Keccak> {
        let operators = if number == self.steps { &self.finish } else { &self.step };
        let mut leaves = vec![state];
        for (at, reads) in (1..).zip(operators) {
            let inputs: Vec<_> = reads.iter().map(|input| leaves[*input as usize]).collect();
            let mut made = operator(at, &inputs);
            match self.lie {
                Lie::Operator { step, operator, salt } if (step, operator) == (number, at) => {
                    made = keccak(&[&made.0, &[salt]]);
                }
                Lie::Skipped { from }
                    if number >= from && number < self.steps && at as usize == operators.len() =>
                {
                    made = state;
                }
                _ => {}
            }
            leaves.push(made);
        }
        leaves
    }

    /// The states before each step, after the last, and what the task returns.
    fn states(&self) -> Vec<Keccak> {
        let mut states = vec![self.start];
        for number in 0..=self.steps {
            states.push(*self.run(states[number as usize], number).last().unwrap());
        }
        states
    }

    fn result(&self) -> Keccak {
        *self.states().last().unwrap()
    }

    /// The first step of an interval.
    fn first(&self, interval: u32) -> u32 {
        ((interval - 1) * self.every).min(self.steps)
    }
}

impl Computation for Toy {
    type Error = TreeError;

    fn leaves(&mut self, trace: Trace) -> Result<Vec<Keccak>, TreeError> {
        let (states, shape) = (self.states(), self.shape());
        Ok(match trace {
            Trace::Task => {
                let inner = (0..=self.steps).filter(|at| at % self.every == 0 || *at == self.steps);
                let inner = inner.chain([self.steps + 1]).map(|at| states[at as usize]);
                inner.collect()
            }
            Trace::Interval(interval) => {
                let first = self.first(interval) as usize;
                states[first..first + shape.leaves(trace) as usize].to_vec()
            }
            Trace::Step { interval, step } => {
                let number = self.first(interval) + step - 1;
                self.run(states[number as usize], number)
            }
        })
    }
}

fn keys() -> [NodeKey; 2] {
    [NodeKey::from_seed(&[1; 32]), NodeKey::from_seed(&[2; 32])]
}

const MOVE_MS: u64 = 1_000;
const ROLLUP: Domain = Domain { chain_id: 31_337, contract: Address([9; 20]) };

fn open(toys: &[Toy; 2]) -> Result<Dispute, OpenError> {
    let terms = Terms {
        rollup: ROLLUP,
        task: TaskId { job: JobId(3), settlement: 1, slot: 4 },
        nonce: Nonce([7; 32]),
        parties: keys().map(|key| key.id()),
        start: toys[0].start,
        results: [toys[0].result(), toys[1].result()],
        committed: None,
        shape: toys[0].shape(),
        move_ms: MOVE_MS,
    };
    Dispute::open(Millis(0), terms)
}

fn body(dispute: &Dispute, said: Move) -> Body {
    Body { rollup: ROLLUP, dispute: dispute.terms().id(), round: dispute.round(), said }
}

fn says(dispute: &Dispute, who: usize, said: Move) -> Signed<Body> {
    keys()[who].sign(body(dispute, said))
}

/// Plays to the end; the moves that were made.
fn play(toys: &[Toy; 2]) -> (Verdict, usize) {
    let dispute = played(toys);
    (dispute.verdict().unwrap(), dispute.transcript().len())
}

pub(super) fn played(toys: &[Toy; 2]) -> Dispute {
    let mut dispute = open(toys).unwrap();
    let mut players = toys.clone().map(|toy| Player::new(toy.clone(), toy.shape()));
    loop {
        match dispute.asked() {
            Asked::Nothing => break,
            Asked::Run { trace, operator: number, inputs } => {
                assert_eq!(dispute.terms().shape.inputs(trace, number).len(), inputs.len());
                dispute.ran(Some(operator(number, &inputs)));
            }
            asked => {
                for (who, player) in players.iter_mut().enumerate() {
                    let Some(said) = player.answer(&asked).unwrap() else { continue };
                    let said = says(&dispute, who, said);
                    match dispute.take(Millis(0), said) {
                        // Either party's inputs are enough.
                        Ok(()) | Err(Refused::NothingAsked) => {}
                        Err(refused) => panic!("{who}: {asked:?}: {refused}"),
                    }
                }
            }
        }
    }
    dispute
}

fn graph(operators: u32) -> Vec<Vec<u32>> {
    (1..=operators).map(|at| [0, at / 2, at - 1].into_iter().filter(|input| *input < at).collect()).collect()
}

pub(super) fn toy(steps: u32, every: u32, operators: u32, lie: Lie) -> Toy {
    let start = keccak(&[b"weights, shard, seed"]);
    Toy { start, steps, every, step: graph(operators), finish: graph(2), lie }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whoever_lies_loses_and_few_messages_are_needed(
        steps in 1u32..90, every in 1u32..20, operators in 1u32..40,
        at in any::<u32>(), which in any::<u32>(), liar in 0usize..2,
    ) {
        let step = at % (steps + 1);
        let count = if step == steps { 2 } else { operators };
        let lie = Lie::Operator { step, operator: 1 + which % count, salt: 9 };
        let mut toys = [Lie::None; 2].map(|lie| toy(steps, every, operators, lie));
        toys[liar].lie = lie;
        prop_assume!(toys[0].result() != toys[1].result());
        let (verdict, messages) = play(&toys);
        prop_assert_eq!(verdict, Verdict::Wrong(Party::BOTH[liar]));
        let levels = |leaves: u32| 1 + leaves.next_power_of_two().trailing_zeros() as usize;
        let bound = 2 * (levels(steps.div_ceil(every) + 2) + levels(every + 1) + levels(operators.max(2) + 1)) + 2;
        prop_assert!(messages <= bound, "{} messages, at most {}", messages, bound);
    }

    #[test]
    fn two_different_lies_are_both_wrong_where_the_first_parts_them(
        steps in 2u32..40, every in 1u32..9, step in 0u32..40, operator in 1u32..12,
    ) {
        let step = step % steps;
        let mut toys = [Lie::None; 2].map(|lie| toy(steps, every, 12, lie));
        for (salt, toy) in (1..).zip(&mut toys) {
            toy.lie = Lie::Operator { step, operator, salt };
        }
        prop_assume!(toys[0].result() != toys[1].result());
        prop_assert_eq!(play(&toys).0, Verdict::BothWrong);
    }
}

#[test]
fn who_skips_steps_loses() {
    for liar in 0..2 {
        let mut toys = [Lie::None; 2].map(|lie| toy(50, 8, 5, lie));
        toys[liar].lie = Lie::Skipped { from: 13 };
        assert_eq!(play(&toys).0, Verdict::Wrong(Party::BOTH[liar]));
    }
}

#[test]
fn a_task_of_two_thousand_steps_takes_some_forty_messages() {
    let mut toys = [Lie::None; 2].map(|lie| toy(2_000, 50, 60, lie));
    toys[0].lie = Lie::Operator { step: 1_234, operator: 31, salt: 1 };
    let (verdict, messages) = play(&toys);
    assert_eq!(verdict, Verdict::Wrong(Party::Worker));
    assert!(messages <= 44, "{messages}");
}

#[test]
fn silence_loses_in_every_round_and_both_may_be_silent() {
    let toys = [toy(9, 2, 4, Lie::None), toy(9, 2, 4, Lie::Operator { step: 3, operator: 2, salt: 1 })];
    for silent in 0..2 {
        for rounds in 0..8 {
            let mut dispute = open(&toys).unwrap();
            let mut players = toys.clone().map(|toy| Player::new(toy.clone(), toy.shape()));
            for round in 0.. {
                let asked = dispute.asked();
                if matches!(asked, Asked::Inputs { .. }) {
                    dispute.tick(Millis(MOVE_MS + 1));
                    assert_eq!(dispute.verdict(), Some(Verdict::Withheld));
                    break;
                }
                for (who, player) in players.iter_mut().enumerate() {
                    if who != silent || round < rounds {
                        let said = player.answer(&asked).unwrap().unwrap();
                        dispute.take(Millis(0), says(&dispute, who, said)).unwrap();
                    }
                }
                if round == rounds {
                    dispute.tick(Millis(MOVE_MS));
                    assert_eq!(dispute.verdict(), None, "there is time until then");
                    dispute.tick(Millis(MOVE_MS + 1));
                    assert_eq!(dispute.verdict(), Some(Verdict::Silent(Party::BOTH[silent])));
                    assert!(dispute.verdict().unwrap().is_against(Party::BOTH[silent]));
                    assert!(!dispute.verdict().unwrap().is_against(Party::BOTH[silent].other()));
                    break;
                }
            }
        }
    }
    let mut dispute = open(&toys).unwrap();
    dispute.tick(Millis(MOVE_MS + 1));
    assert_eq!(dispute.verdict(), Some(Verdict::BothSilent));
    let late = says(&dispute, 0, Move::Children { left: Keccak::ZERO, right: Keccak::ZERO });
    assert_eq!(dispute.take(Millis(MOVE_MS + 1), late), Err(Refused::NothingAsked));
}

#[test]
fn a_move_that_does_not_fit_is_refused_and_can_be_made_again() {
    let toys = [toy(9, 2, 4, Lie::None), toy(9, 2, 4, Lie::Operator { step: 3, operator: 2, salt: 1 })];
    let mut dispute = open(&toys).unwrap();
    let mut player = Player::new(toys[0].clone(), toys[0].shape());
    let honest = player.answer(&dispute.asked()).unwrap().unwrap();
    let Move::Commit { root, before, above, first, last } = honest.clone() else { panic!("{honest:?}") };
    let mut refuses = |said: Move, why: &dyn Fn(&Refused) -> bool| {
        let refused = dispute.take(Millis(0), says(&dispute, 0, said)).unwrap_err();
        assert!(why(&refused), "{refused:?}");
    };
    let elsewhere = Keccak([5; 32]);
    let other_start = Move::Commit {
        root,
        before: elsewhere,
        above: above.clone(),
        first: first.clone(),
        last: last.clone(),
    };
    refuses(other_start, &|why| matches!(why, Refused::OtherStart));
    let other_root = Move::Commit {
        root: elsewhere,
        before,
        above: above.clone(),
        first: first.clone(),
        last: last.clone(),
    };
    refuses(other_root, &|why| matches!(why, Refused::Proof(_)));
    refuses(Move::Commit { root, before, above, first: last.clone(), last }, &|why| {
        matches!(why, Refused::Proof(_))
    });
    refuses(Move::Inputs { opened: Vec::new() }, &|why| matches!(why, Refused::NotAsked));
    let stranger = NodeKey::from_seed(&[3; 32]);
    let body = body(&dispute, honest.clone());
    let by_stranger = stranger.sign(body.clone());
    assert_eq!(dispute.take(Millis(0), by_stranger), Err(Refused::NoParty(stranger.id())));
    let other = keys()[0].sign(Body { dispute: Digest([0; 32]), ..body.clone() });
    assert_eq!(dispute.take(Millis(0), other), Err(Refused::OtherDispute));
    let rollup = Domain { chain_id: 1, ..ROLLUP };
    let elsewhere = keys()[0].sign(Body { rollup, ..body.clone() });
    assert_eq!(dispute.take(Millis(0), elsewhere), Err(Refused::OtherRollup(rollup)));
    let early = keys()[0].sign(Body { round: 1, ..body.clone() });
    assert_eq!(dispute.take(Millis(0), early), Err(Refused::Round { want: 0, got: 1 }));
    let good = keys()[0].sign(body);
    assert_eq!(dispute.take(Millis(0), good.clone()), Ok(()));
    assert_eq!(dispute.take(Millis(0), good), Err(Refused::Twice));
    assert_eq!(dispute.transcript().len(), 1);
}

#[test]
fn what_lies_beyond_the_last_leaf_is_held_against_who_put_it_there() {
    // Both traces of a step are the same; one party's tree has something in the padding.
    let toys = [toy(1, 1, 1, Lie::None), toy(1, 1, 1, Lie::Operator { step: 0, operator: 1, salt: 1 })];
    let mut dispute = open(&toys).unwrap();
    let honest = toys[0].clone().leaves(Trace::Task).unwrap();
    assert_eq!(honest.len(), 3);
    let mut padded = honest.clone();
    padded.push(Keccak([9; 32]));
    let forged = node(&node(&padded[0], &padded[1]), &node(&padded[2], &padded[3]));
    dispute.stage = Stage::Seek {
        trace: Trace::Task,
        height: 2,
        index: 0,
        nodes: [node(&node(&honest[0], &honest[1]), &node(&honest[2], &Keccak::ZERO)), forged],
    };
    dispute.searched.push(Searched { roots: [Keccak::ZERO; 2], leaves: 3, differs: 0 });
    for (left, right) in [
        ([node(&honest[0], &honest[1]); 2], [node(&honest[2], &Keccak::ZERO), node(&padded[2], &padded[3])]),
        ([honest[2]; 2], [Keccak::ZERO, padded[3]]),
    ] {
        for who in 0..2 {
            let said = Move::Children { left: left[who], right: right[who] };
            dispute.take(Millis(0), says(&dispute, who, said)).unwrap();
        }
    }
    assert_eq!(dispute.verdict(), Some(Verdict::Wrong(Party::Challenger)));
}

#[test]
fn a_worker_shows_the_trace_that_its_receipt_commits_to() {
    let toys = [toy(9, 2, 4, Lie::None), toy(9, 2, 4, Lie::Skipped { from: 2 })];
    let root = |toy: &Toy| StaticTree::new(&toy.clone().leaves(Trace::Task).unwrap()).unwrap().root();
    for (committed, fits) in [(root(&toys[0]), true), (root(&toys[1]), false)] {
        let terms = Terms { committed: Some(committed), ..open(&toys).unwrap().terms().clone() };
        let mut dispute = Dispute::open(Millis(0), terms).unwrap();
        let mut player = Player::new(toys[0].clone(), toys[0].shape());
        let said = player.answer(&dispute.asked()).unwrap().unwrap();
        let taken = dispute.take(Millis(0), says(&dispute, 0, said));
        assert_eq!(taken, if fits { Ok(()) } else { Err(Refused::OtherRoot) });
    }
}

#[test]
fn a_referee_that_asks_for_what_is_not_there_gets_no_move() {
    let toy = toy(9, 2, 4, Lie::None);
    let mut player = Player::new(toy.clone(), toy.shape());
    for (height, index) in [(0, 0), (1, u32::MAX), (40, 0), (1, 1 << 20)] {
        let asked = Asked::Children { trace: Trace::Task, height, index };
        assert_eq!(player.answer(&asked).unwrap(), None, "{height} {index}");
    }
    assert_eq!(toy.shape().leaves(Trace::Interval(0)), 3);
}

#[test]
fn there_is_no_dispute_without_two_parties_and_two_results() {
    let same = [toy(3, 1, 2, Lie::None), toy(3, 1, 2, Lie::None)];
    assert_eq!(open(&same).unwrap_err(), OpenError::SameResult);
    let two = [toy(3, 1, 2, Lie::None), toy(3, 1, 2, Lie::Skipped { from: 0 })];
    let mut terms = open(&two).unwrap().terms().clone();
    terms.parties[1] = terms.parties[0];
    assert_eq!(Dispute::open(Millis(0), terms).unwrap_err(), OpenError::SameParty);
}
