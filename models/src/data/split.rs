//! One data set cut into shards, by seed: the same shards on every machine.

use protocol::rng::Rng;

use super::{DataError, Dataset};
use crate::kernels::real::{exp, ln};

/// Draws of a Dirichlet split before it is given up.
pub const REDRAWS_MAX: u64 = 1_000;

/// How examples are spread over workers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scheme {
    /// Shuffled and dealt evenly: the first shards get one more where the count does not divide.
    Iid,
    /// For every label, the workers' parts are drawn from a symmetric Dirichlet distribution: the smaller `alpha`,
    /// the more unlike the shards (Hsu, Qi and Brown, 2019; with the balancing of NIID-Bench, Li et al., 2022: a
    /// worker that already holds its even part of the whole gets none of the labels that follow).
    ///
    /// If a worker would get fewer examples than the least asked for, everything is drawn again, at most
    /// [`REDRAWS_MAX`] times.
    Dirichlet {
        /// The concentration, greater than 0.
        alpha: f64,
    },
    /// Every worker holds examples of exactly this many labels (NIID-Bench's quantity-based label imbalance): label
    /// `worker mod labels`, the others drawn; a label's examples are dealt evenly to those who hold it. Labels that
    /// nobody holds stay out.
    Labels {
        /// Labels a worker.
        each: u32,
    },
}

impl std::fmt::Display for Scheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Iid => f.write_str("iid"),
            Self::Dirichlet { alpha } => write!(f, "dirichlet({alpha})"),
            Self::Labels { each } => write!(f, "{each} labels a worker"),
        }
    }
}

/// Positions of the examples of each of `workers` shards; `least` is what every shard must hold: at least one
/// minibatch, as the caller knows it (0 counts as 1).
///
/// Shards are disjoint and shuffled; all examples are dealt except labels nobody holds under [`Scheme::Labels`].
pub fn split(
    data: &Dataset,
    workers: u32,
    scheme: Scheme,
    least: u32,
    seed: u64,
) -> Result<Vec<Vec<u32>>, DataError> {
    let least = least.max(1);
    let failed = || DataError::Split { examples: data.len(), workers, least, scheme: scheme.to_string() };
    let enough = u64::from(workers) * u64::from(least) <= data.len() as u64;
    // A sequence has many labels: there is nothing to divide it by.
    let divisible = scheme == Scheme::Iid || !data.is_sequential();
    if workers == 0 || !enough || !divisible || data.len() > u32::MAX as usize {
        return Err(failed());
    }
    for draw in 0..REDRAWS_MAX {
        let mut rng = Rng::derive(&[seed, SPLIT, draw]);
        let mut shards = match scheme {
            Scheme::Iid => even(data.len() as u32, workers, &mut rng),
            Scheme::Dirichlet { alpha } if alpha > 0.0 && alpha.is_finite() => {
                dirichlet(&by_label(data, &mut rng), workers, alpha, data.len(), &mut rng)
            }
            Scheme::Labels { each } => {
                labels(&by_label(data, &mut rng), workers, each, &mut rng).ok_or_else(failed)?
            }
            Scheme::Dirichlet { .. } => return Err(failed()),
        };
        if shards.iter().all(|shard| shard.len() >= least as usize) {
            for shard in &mut shards {
                rng.shuffle(shard);
            }
            return Ok(shards);
        }
    }
    Err(failed())
}

const SPLIT: u64 = 0x0073_706c_6974;

fn even(count: u32, workers: u32, rng: &mut Rng) -> Vec<Vec<u32>> {
    let mut all: Vec<u32> = (0..count).collect();
    rng.shuffle(&mut all);
    deal(&all, workers as usize)
}

/// Cuts into parts that differ by at most one, the longer ones first.
fn deal(items: &[u32], parts: usize) -> Vec<Vec<u32>> {
    let (each, more) = (items.len() / parts, items.len() % parts);
    let mut rest = items;
    (0..parts)
        .map(|part| {
            let (taken, left) = rest.split_at(each + usize::from(part < more));
            rest = left;
            taken.to_vec()
        })
        .collect()
}

fn by_label(data: &Dataset, rng: &mut Rng) -> Vec<Vec<u32>> {
    let mut present: std::collections::BTreeMap<u32, Vec<u32>> = Default::default();
    for (at, &label) in data.labels().iter().enumerate() {
        present.entry(label).or_default().push(at as u32);
    }
    let mut groups: Vec<_> = present.into_values().collect();
    for group in &mut groups {
        rng.shuffle(group);
    }
    groups
}

fn dirichlet(groups: &[Vec<u32>], workers: u32, alpha: f64, total: usize, rng: &mut Rng) -> Vec<Vec<u32>> {
    let mut shards = vec![Vec::new(); workers as usize];
    for group in groups {
        let draws: Vec<f64> = shards
            .iter()
            .map(|shard| {
                let part = ln_gamma_draw(alpha, rng);
                let full = shard.len() * workers as usize >= total;
                if full { f64::NEG_INFINITY } else { part }
            })
            .collect();
        // Not everybody is full while this group is still to be dealt, so there is a largest draw.
        let largest = draws.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let draws: Vec<f64> = draws.into_iter().map(|draw| exp(draw - largest)).collect();
        let sum: f64 = draws.iter().sum();
        let (mut cumulative, mut start) = (0.0, 0);
        for (worker, draw) in draws.iter().enumerate() {
            cumulative += draw;
            let last = worker + 1 == draws.len();
            let end = if last { group.len() } else { (cumulative / sum * group.len() as f64) as usize };
            let end = end.clamp(start, group.len());
            shards[worker].extend_from_slice(&group[start..end]);
            start = end;
        }
    }
    shards
}

fn labels(groups: &[Vec<u32>], workers: u32, each: u32, rng: &mut Rng) -> Option<Vec<Vec<u32>>> {
    if each == 0 || each as usize > groups.len() {
        return None;
    }
    let mut holders = vec![Vec::new(); groups.len()];
    for worker in 0..workers as usize {
        let own = worker % groups.len();
        let mut others: Vec<usize> = (0..groups.len()).filter(|&label| label != own).collect();
        rng.shuffle(&mut others);
        holders[own].push(worker);
        others.iter().take(each as usize - 1).for_each(|&label| holders[label].push(worker));
    }
    let mut shards = vec![Vec::new(); workers as usize];
    for (group, holders) in groups.iter().zip(&holders) {
        if !holders.is_empty() {
            for (part, &worker) in deal(group, holders.len()).into_iter().zip(holders) {
                shards[worker].extend(part);
            }
        }
    }
    Some(shards)
}

/// The logarithm of a draw from Gamma(alpha, 1): Marsaglia and Tsang, "A simple method for generating gamma
/// variables", ACM TOMS 26(3), 2000, with their boost for alpha below 1 (which would underflow outside the logarithm).
///
/// Logarithms and powers are this crate's own, so that every machine draws the same.
fn ln_gamma_draw(alpha: f64, rng: &mut Rng) -> f64 {
    if alpha < 1.0 {
        let boost = ln(positive(rng)) / alpha;
        return ln_gamma_draw(alpha + 1.0, rng) + boost;
    }
    let d = alpha - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng);
        let v = 1.0 + c * x;
        if v > 0.0 {
            let v = v * v * v;
            if ln(positive(rng)) < 0.5 * x * x + d - d * v + d * ln(v) {
                return ln(d * v);
            }
        }
    }
}

/// A standard normal draw by Marsaglia's polar method (SIAM Review 6, 1964).
fn normal(rng: &mut Rng) -> f64 {
    loop {
        let (u, v) = (2.0 * rng.unit() - 1.0, 2.0 * rng.unit() - 1.0);
        let s = u * u + v * v;
        if s > 0.0 && s < 1.0 {
            return u * (-2.0 * ln(s) / s).sqrt();
        }
    }
}

/// A float in (0, 1].
fn positive(rng: &mut Rng) -> f64 {
    1.0 - rng.unit()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::rng::Rng;

    use super::*;

    fn set(count: u32, classes: u32) -> Dataset {
        Dataset::new(vec![0.0; count as usize], [1, 1, 1], (0..count).map(|at| at % classes).collect())
            .unwrap()
    }

    fn counts(data: &Dataset, shard: &[u32]) -> Vec<usize> {
        (0..data.classes())
            .map(|label| shard.iter().filter(|&&at| data.labels()[at as usize] == label).count())
            .collect()
    }

    #[test]
    fn gamma_has_its_mean_and_variance() {
        for alpha in [0.1, 0.5, 1.0, 5.0] {
            let mut rng = Rng::new(3);
            let draws: Vec<f64> = (0..40_000).map(|_| exp(ln_gamma_draw(alpha, &mut rng))).collect();
            let mean = draws.iter().sum::<f64>() / draws.len() as f64;
            let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / draws.len() as f64;
            assert!((mean / alpha - 1.0).abs() < 0.05, "{alpha}: mean {mean}");
            assert!((variance / alpha - 1.0).abs() < 0.12, "{alpha}: variance {variance}");
        }
    }

    #[test]
    fn a_small_alpha_is_more_skewed_than_a_large_one() {
        let data = set(8000, 10);
        let skew = |alpha| {
            let shards = split(&data, 4, Scheme::Dirichlet { alpha }, 32, 1).unwrap();
            shards.iter().flat_map(|s| counts(&data, s)).map(|c| c.abs_diff(200)).sum::<usize>()
        };
        assert!(skew(0.1) > skew(1.0) && skew(1.0) > skew(100.0));
    }

    #[test]
    fn labels_gives_everyone_as_many_as_asked() {
        let data = set(1000, 10);
        for shard in split(&data, 10, Scheme::Labels { each: 2 }, 1, 5).unwrap() {
            assert_eq!(counts(&data, &shard).iter().filter(|&&count| count > 0).count(), 2);
        }
        assert!(split(&data, 10, Scheme::Labels { each: 11 }, 1, 5).is_err());
    }

    #[test]
    fn what_cannot_be_split_is_an_error() {
        let data = set(100, 10);
        assert!(split(&data, 0, Scheme::Iid, 1, 0).is_err());
        assert!(split(&data, 10, Scheme::Iid, 11, 0).is_err());
        assert!(split(&data, 4, Scheme::Dirichlet { alpha: 0.0 }, 1, 0).is_err());
        assert!(split(&data, 4, Scheme::Dirichlet { alpha: f64::NAN }, 1, 0).is_err());
        assert!(split(&data, 50, Scheme::Dirichlet { alpha: 1e-6 }, 2, 0).is_err());
    }

    proptest! {
        #[test]
        fn every_example_is_dealt_once(workers in 1u32..12, seed: u64, alpha in 0.05f64..20.0, iid: bool) {
            let data = set(500, 7);
            let scheme = if iid { Scheme::Iid } else { Scheme::Dirichlet { alpha } };
            let shards = split(&data, workers, scheme, 4, seed).unwrap();
            prop_assert_eq!(&shards, &split(&data, workers, scheme, 4, seed).unwrap());
            prop_assert!(shards.iter().all(|shard| shard.len() >= 4));
            let mut all = shards.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..500).collect::<Vec<u32>>());
        }
    }
}
