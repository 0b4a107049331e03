//! Exact against wide integers, in any order, in any grouping.

use proptest::prelude::*;
use protocol::rng::Rng;

use super::*;
use crate::update;

fn payload(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn fold_all(parameters: usize, updates: &[(Vec<u8>, u32)], group: usize) -> Accumulator {
    let mut sum = Accumulator::new(parameters);
    for group in updates.chunks(group) {
        let group: Vec<_> =
            group.iter().map(|(payload, weight)| Weighted { payload, weight: *weight }).collect();
        sum.fold(&group).unwrap();
    }
    sum
}

fn mean(sum: i64, weight: i64) -> i64 {
    div_round_half_even(sum, weight, 1.0 / weight as f64)
}

#[test]
fn the_mean_of_extremes_is_exact() {
    let most = i64::from(i32::MAX);
    for weight in [1, 2, 3, (1 << 31) - 1, 1 << 31] {
        for off in -2..=2 {
            for q in [most - 1, -most + 1, most / 2, 1, 0] {
                let sum = q * weight + off;
                let exact = sum as f64 / weight as f64;
                let nearest = (sum.div_euclid(weight)..).take(2);
                let best = nearest.min_by_key(|m| ((2 * (sum - m * weight)).unsigned_abs(), m & 1)).unwrap();
                assert_eq!(mean(sum, weight), best, "{sum} / {weight} = {exact}");
            }
        }
    }
}

#[test]
fn the_mean_rounds_halves_to_the_even_neighbour() {
    assert_eq!(
        [(5, 2), (7, 2), (-5, 2), (-7, 2), (1, 3), (2, 3), (-1, 3), (-2, 3), (6, 4)]
            .map(|(sum, weight)| mean(sum, weight)),
        [2, 4, -2, -4, 0, 1, 0, -1, 2]
    );
}

#[test]
fn extremes_do_not_overflow_within_the_limit() {
    let values = [i32::MAX, -i32::MAX, 1, 0];
    let updates: Vec<_> = (0..16).map(|_| (payload(&values), 1u32 << 27)).collect();
    let sum = fold_all(4, &updates, 8);
    assert_eq!(sum.total_weight(), ROUND_WEIGHT_MAX);
    let most = i64::from(i32::MAX) << 31;
    assert_eq!(sum.sums(), [most, -most, 1 << 31, 0]);
    assert_eq!(sum.finish(vec![0.0; 4], 30).unwrap(), [2.0, -2.0, 0.5f32.powi(30), 0.0]);
    let more = Weighted { payload: &updates[0].0, weight: 1 };
    assert!(matches!(sum.clone().fold(&[more]), Err(AggregateError::Weight { .. })));
    let mut one = Accumulator::new(4);
    one.fold(&[Weighted { payload: &updates[0].0, weight: i32::MAX as u32 }]).unwrap();
    assert_eq!(one.sums()[1], -i64::from(i32::MAX) * i64::from(i32::MAX));
}

#[test]
fn what_does_not_fit_leaves_the_sum_alone() {
    let mut sum = Accumulator::new(3);
    let (good, short) = (payload(&[1, 2, 3]), payload(&[1, 2]));
    let fold = |sum: &mut Accumulator, payload: &[u8], weight| sum.fold(&[Weighted { payload, weight }]);
    assert!(matches!(fold(&mut sum, &short, 1), Err(AggregateError::Range { .. })));
    assert!(matches!(fold(&mut sum, &good, 0), Err(AggregateError::WeightRange { got: 0 })));
    assert!(matches!(fold(&mut sum, &good, 1 << 31), Err(AggregateError::WeightRange { .. })));
    assert_eq!(sum, Accumulator::new(3));
    assert!(matches!(sum.finish(vec![0.0; 3], 8), Err(AggregateError::Empty)));
    assert!(matches!(
        sum.fold_range(2, &[Weighted { payload: &short, weight: 1 }]),
        Err(AggregateError::Range { first: 2, got: 8, parameters: 3 })
    ));
    assert!(sum.fold_range(usize::MAX, &[Weighted { payload: &short, weight: 1 }]).is_err());
}

#[test]
fn a_step_out_of_the_finite_numbers_is_an_error() {
    let mut sum = Accumulator::new(1);
    sum.fold(&[Weighted { payload: &payload(&[i32::MAX]), weight: 1 }]).unwrap();
    assert!(matches!(sum.finish(vec![f32::MAX], 0), Ok(new) if new == [f32::MAX]));
    assert!(matches!(sum.finish(vec![f32::INFINITY], 0), Err(AggregateError::NotFinite { at: 0 })));
}

#[test]
fn streams_fold_to_the_same_sums_and_broken_ones_are_caught() {
    let parameters = CHUNK_BYTES / 4 * 2 + 7;
    let mut rng = Rng::new(4);
    let blobs: Vec<Vec<u8>> = (0..11)
        .map(|_| {
            let new: Vec<f32> = (0..parameters).map(|_| rng.unit() as f32 - 0.5).collect();
            update::encode(&vec![0.0; parameters], &new, 24).unwrap()
        })
        .collect();
    let whole: Vec<_> = blobs.iter().map(|blob| (blob[HEADER_BYTES..].to_vec(), 3)).collect();
    let mut sum = Accumulator::new(parameters);
    let mut streams: Vec<_> = blobs.iter().map(|blob| (&blob[..], 3)).collect();
    sum.fold_readers(&mut streams, 24).unwrap();
    assert_eq!(sum, fold_all(parameters, &whole, 1));
    let long = [&blobs[0][..], &[0]].concat();
    let fold = |blob: &[u8]| Accumulator::new(parameters).fold_readers(&mut [(blob, 1)], 24);
    assert!(matches!(fold(&long), Err(AggregateError::Update { at: 0, .. })));
    assert!(matches!(fold(&long[1..]), Err(AggregateError::Update { at: 0, .. })));
    assert!(matches!(fold(&blobs[0][..1000]), Err(AggregateError::Read { at: 0, .. })));
}

proptest! {
    #[test]
    fn sums_are_exact_and_order_and_grouping_do_not_matter(
        parameters in 0usize..70,
        weights in proptest::collection::vec(1u32..100_000_000, 1..20),
        seed: u64,
    ) {
        let mut rng = Rng::new(seed);
        let mut updates: Vec<(Vec<u8>, u32)> = weights
            .iter()
            .map(|&weight| {
                let values: Vec<i32> = (0..parameters).map(|_| (rng.next() as i32).max(-i32::MAX)).collect();
                (payload(&values), weight)
            })
            .collect();
        let total: i128 = weights.iter().map(|&weight| i128::from(weight)).sum();
        let sum = fold_all(parameters, &updates, 8);
        for at in 0..parameters {
            let exact: i128 = updates
                .iter()
                .map(|(payload, weight)| {
                    let value = i32::from_le_bytes(payload[4 * at..][..4].try_into().unwrap());
                    i128::from(value) * i128::from(*weight)
                })
                .sum();
            prop_assert_eq!(i128::from(sum.sums()[at]), exact);
            let mean = i128::from(mean(sum.sums()[at], sum.total_weight() as i64));
            let off = 2 * (exact - mean * total).abs();
            prop_assert!(off < total || (off == total && mean % 2 == 0));
        }
        rng.shuffle(&mut updates);
        prop_assert_eq!(&fold_all(parameters, &updates, 1 + rng.below(12) as usize), &sum);
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_thread_that_flushes_or_rounds_otherwise_makes_no_model() {
    let sum = fold_all(1, &[(payload(&[3]), 2)], 1);
    for bit in [6, 13, 15] {
        let set = |value: u32| {
            // SAFETY: only a control bit differs from the default, and it is set back below.
            unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const value, options(nostack)) };
        };
        set(0x1f80 | 1 << bit);
        let found = sum.finish(vec![1.0], 4);
        set(0x1f80);
        assert!(matches!(found, Err(AggregateError::Environment(_))), "{found:?}");
    }
    assert_eq!(sum.finish(vec![1.0], 4).unwrap(), [1.0 + 3.0 / 16.0]);
}
