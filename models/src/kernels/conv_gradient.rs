//! The gradients of [`super::conv`], from the few outputs that pooling and ReLU let through.
//!
//! Every pooled output has one source pixel at most, so seven of eight terms of the usual sums are zero: they are
//! never touched. Order of terms:
//! - a weight's (and a bias's) gradient sums over the pooled pixels of one example, row by row, as [`super`] defines
//!   sums; the examples' sums are the terms of a sum of the same kind;
//! - an input's gradient sums over the filters in blocks of [`FILTERS`], within them over filter and pooled pixel;
//!   the blocks' sums are one chain.

use std::ops::Range;

use super::conv::{ConvShape, NONE, routes_len};
use super::pool::Parts;
use super::tile::PANEL;
use super::{BLOCK, Isa, Machine};
use inputs::InputPass;
use weights::WeightPass;

mod inputs;
mod weights;

/// Filters in one block of an input gradient's sum.
pub const FILTERS: usize = 16;
/// Filters at most: as many blocks as one chain has terms.
pub const FILTERS_MAX: usize = FILTERS * BLOCK;
/// Values of the widest vector: rows that vectors run over end in this much slack.
const LANES: usize = 16;

/// Writes the gradients of the layer's weight and bias to `dw` and `db`; that of its input, if it is asked for: the
/// layer's weights and where to.
///
/// # Panics
/// If a slice does not have the length its shape gives, or there are more than [`FILTERS_MAX`] filters.
#[expect(clippy::too_many_arguments, reason = "what the layer was given, and its gradients")]
pub fn backward(
    machine: &Machine,
    shape: ConvShape,
    input: &[f32],
    routes: &[u8],
    gradient: &[f32],
    dw: &mut [f32],
    db: &mut [f32],
    want_input: Option<(&[f32], &mut [f32])>,
) {
    let count = input.len() / shape.input_len();
    assert_eq!((gradient.len(), routes.len()), (count * shape.output_len(), count * routes_len(shape)));
    assert_eq!((dw.len(), db.len()), (shape.filters * shape.terms(), shape.filters));
    assert!(shape.filters <= FILTERS_MAX);
    let layer = Layer { shape, isa: machine.isa, input, routes, gradient };
    let terms = shape.terms();
    let (dw, db) = (Parts::new(dw), Parts::new(db));
    let weigh = |filters: Range<usize>, inputs: Option<&mut InputPass<'_>>| {
        let mut weights = WeightPass::new(shape, filters.clone(), count);
        layer.pass(0..count, filters.clone(), Some(&mut weights), inputs);
        // SAFETY: ranges of filters do not overlap.
        let dw = unsafe { dw.slice(filters.start * terms..filters.end * terms) };
        // SAFETY: the same.
        weights.finish(dw, unsafe { db.slice(filters) });
    };
    let Some((weight, dx)) = want_input else {
        machine.pool.ranges(shape.filters, 1, &|filters| weigh(filters, None));
        return;
    };
    assert_eq!((weight.len(), dx.len()), (shape.filters * terms, input.len()));
    if machine.pool.threads() == 1 {
        weigh(0..shape.filters, Some(&mut InputPass::new(shape, weight, dx)));
        return;
    }
    machine.pool.ranges(shape.filters, 1, &|filters| weigh(filters, None));
    let dx = Parts::new(dx);
    machine.pool.ranges(count, 1, &|examples| {
        // SAFETY: ranges of examples do not overlap.
        let dx = unsafe { dx.slice(examples.start * shape.input_len()..examples.end * shape.input_len()) };
        layer.pass(examples, 0..shape.filters, None, Some(&mut InputPass::new(shape, weight, dx)));
    });
}

/// What the layer was given and gave, and the gradient of that.
struct Layer<'a> {
    shape: ConvShape,
    isa: Isa,
    input: &'a [f32],
    routes: &'a [u8],
    gradient: &'a [f32],
}

impl Layer<'_> {
    /// Goes once over these examples and filters; the input's pass needs all filters.
    fn pass(
        &self,
        examples: Range<usize>,
        filters: Range<usize>,
        mut weights: Option<&mut WeightPass>,
        mut inputs: Option<&mut InputPass<'_>>,
    ) {
        let Self { shape, isa, .. } = *self;
        let (rows, columns) = shape.pooled();
        let pixels = rows * columns;
        let wide = shape.filters.next_multiple_of(PANEL);
        let (mut places, mut ends) = (vec![Taken::default(); pixels], Vec::new());
        for (at, example) in examples.enumerate() {
            if let Some(pass) = &mut weights {
                pass.load(example, &self.input[example * shape.input_len()..][..shape.input_len()]);
            }
            let gradient = &self.gradient[example * shape.output_len()..][..shape.output_len()];
            let routes = &self.routes[example * pixels * wide..][..pixels * wide];
            for filter in filters.clone() {
                let mut found = 0;
                ends.clear();
                let gradient = &gradient[filter * pixels..][..pixels];
                for (block, values) in gradient.chunks(BLOCK).enumerate() {
                    let places = &mut places[found..];
                    found += find_alive(shape, values, block * BLOCK, &routes[filter..], wide, places);
                    ends.push(found);
                }
                let alive = &places[..found];
                if let Some(pass) = &mut weights {
                    pass.add(isa, filter - filters.start, alive, &ends);
                }
                if let Some(pass) = &mut inputs {
                    pass.add(isa, filter, alive);
                }
            }
            if let Some(pass) = &mut inputs {
                pass.store(at);
            }
        }
    }
}

/// A pooled output that took its value from `pixel` (of the padded input, where the kernel's corner lies).
#[derive(Clone, Copy, Default)]
struct Taken {
    pixel: u32,
    gradient: f32,
}

/// Writes those that were taken; how many they are.
fn find_alive(
    shape: ConvShape,
    gradient: &[f32],
    first: usize,
    routes: &[u8],
    wide: usize,
    alive: &mut [Taken],
) -> usize {
    let columns = shape.pooled().1;
    let width = shape.padded().1;
    let (mut row, mut column) = (first / columns, first % columns);
    let mut found = 0;
    for (&gradient, &route) in gradient.iter().zip(routes[first * wide..].iter().step_by(wide)) {
        let (y, x) = (2 * row + usize::from(route / 2), 2 * column + usize::from(route % 2));
        // Written in any case, and kept or not: half of them are, in no order that a processor could foresee.
        alive[found] = Taken { pixel: (y * width + x) as u32, gradient };
        found += usize::from((route != NONE) & (gradient != 0.0));
        column += 1;
        if column == columns {
            (row, column) = (row + 1, 0);
        }
    }
    found
}

#[cfg(test)]
mod tests;
