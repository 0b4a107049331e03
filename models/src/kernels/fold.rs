//! Sums of more than one block: 256 parts to a sum, 256 of these to the next, as often as it takes.

use super::BLOCK;
use super::aligned::Aligned;

/// Several running sums side by side, of parts that come in ascending order.
///
/// Part i of a level goes to chain ⌊i / 256⌋ of that level; a chain that ends is a part of the level above.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    levels: Vec<Aligned>,
    width: usize,
}

impl Fold {
    /// Makes room for `width` sums of up to `parts` parts.
    pub(crate) fn reset(&mut self, width: usize, parts: usize) {
        self.width = width;
        let (mut levels, mut left) = (1, parts);
        while left > BLOCK {
            (levels, left) = (levels + 1, left.div_ceil(BLOCK));
        }
        self.levels.resize_with(levels.max(self.levels.len()), Aligned::default);
        for level in &mut self.levels[..levels] {
            level.at_least(width);
        }
    }

    /// Adds part number `index` to the sums from `first` on.
    #[inline(always)]
    pub(crate) fn add(&mut self, first: usize, index: usize, part: &[f32]) {
        add(&mut self.levels, first, index, part);
    }

    /// The `len` sums from `first` on, for the caller to set to part number `index` (the first of a chain: true) or to
    /// add it to them.
    #[inline(always)]
    pub(crate) fn place(&mut self, first: usize, index: usize, len: usize) -> (&mut [f32], bool) {
        (place(&mut self.levels, first, index, len), index.is_multiple_of(BLOCK))
    }

    /// The sums of `parts` parts.
    pub(crate) fn finish(&mut self, parts: usize) -> &[f32] {
        if parts == 0 {
            self.levels[0][..self.width].fill(0.0);
        }
        let (mut level, mut left) = (0, parts);
        while left > BLOCK {
            let (own, above) = self.levels.split_at_mut(level + 1);
            add(above, 0, (left - 1) / BLOCK, &own[level][..self.width]);
            (level, left) = (level + 1, left.div_ceil(BLOCK));
        }
        &self.levels[level][..self.width]
    }
}

#[inline(always)]
fn add(levels: &mut [Aligned], first: usize, index: usize, part: &[f32]) {
    let sums = place(levels, first, index, part.len());
    if index.is_multiple_of(BLOCK) {
        sums.copy_from_slice(part);
    } else {
        sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
}

#[inline(always)]
fn place(levels: &mut [Aligned], first: usize, index: usize, len: usize) -> &mut [f32] {
    if index.is_multiple_of(BLOCK) && index > 0 {
        carry(levels, first, index / BLOCK - 1, len);
    }
    &mut levels[0][first..][..len]
}

#[cold]
fn carry(levels: &mut [Aligned], first: usize, index: usize, len: usize) {
    let (own, above) = levels.split_at_mut(1);
    add(above, first, index, &own[0][first..][..len]);
}

/// The sum of values by the definition, for tests to compare with.
#[cfg(test)]
pub(crate) fn defined_sum(terms: &[f32]) -> f32 {
    let sums: Vec<f32> =
        terms.chunks(BLOCK).map(|block| block.iter().fold(0.0, |sum, term| sum + term)).collect();
    if sums.len() > 1 { defined_sum(&sums) } else { sums.first().copied().unwrap_or(0.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::rng::Rng;

    /// Roots of the mean square errors of long sums, relative to that of the sums: one chain's, and by the definition.
    fn errors(mut term: impl FnMut() -> f32) -> [f64; 2] {
        let mut squares = [0f64; 3];
        for _ in 0..32 {
            let terms: Vec<f32> = (0..36_864).map(|_| term()).collect();
            let exact: f64 = terms.iter().map(|&term| f64::from(term)).sum();
            let chain = terms.iter().fold(0f32, |sum, term| sum + term);
            let own = [f64::from(chain) - exact, f64::from(defined_sum(&terms)) - exact, exact];
            squares.iter_mut().zip(own).for_each(|(square, own)| *square += own * own);
        }
        [(squares[0] / squares[2]).sqrt(), (squares[1] / squares[2]).sqrt()]
    }

    #[test]
    fn blocks_err_by_a_fifth_of_what_one_chain_does_or_less() {
        let mut rng = Rng::new(7);
        for offset in [0.0, 0.5] {
            let [chain, blocks] = errors(|| (rng.unit() as f32 - offset) * (rng.unit() as f32 - offset));
            // Figures of docs/REPRODUCIBILITY.md.
            assert!((1.5e-6..5e-6).contains(&chain) && (1e-7..5e-7).contains(&blocks), "{chain}, {blocks}");
            assert!(5.0 * blocks < chain, "{chain}, {blocks}");
        }
    }

    #[test]
    fn parts_fold_in_super_blocks() {
        let mut rng = Rng::new(4);
        for parts in [0, 1, 2, 255, 256, 257, 65_536, 65_537, 70_000] {
            let values: Vec<[f32; 2]> =
                (0..parts).map(|_| [rng.unit() as f32, rng.unit() as f32 - 0.5]).collect();
            let mut fold = Fold::default();
            fold.reset(2, parts);
            for (index, part) in values.iter().enumerate() {
                fold.add(0, index, &part[..1]);
                fold.add(1, index, &part[1..]);
            }
            for lane in 0..2 {
                let terms: Vec<f32> = values.iter().map(|part| part[lane]).collect();
                assert_eq!(fold.finish(parts)[lane], defined_sum(&terms), "{parts}");
                // What was folded stays, so asking again would carry twice: parts are added anew.
                fold.reset(2, parts);
                for (index, part) in values.iter().enumerate() {
                    fold.add(0, index, part);
                }
            }
        }
    }
}
