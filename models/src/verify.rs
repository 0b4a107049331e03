//! Running a task again, to compare.
//!
//! Training and inference use one thread and kernels whose every sum has its order, so an honest result has the same
//! bytes wherever it was computed: not only on this machine.

use crate::data::Dataset;
use crate::error::ModelError;
use crate::infer::{Loaded, write_answers};
use crate::train::{Control, TrainParams, train};
use crate::update;
use crate::weights::Weights;

/// What a second run says about a first one's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The same bytes.
    Same,
    /// Other bytes.
    Differs {
        /// The first byte that differs, or where the shorter one ends.
        at: u64,
    },
}

/// Trains again and compares with a claimed update blob.
pub fn training(
    weights: &Weights,
    data: &Dataset,
    params: &TrainParams,
    scale_bits: u8,
    claimed: &[u8],
) -> Result<Verdict, ModelError> {
    let trained = train(weights, data, params, &mut |_| Control::Continue)?;
    let own = update::encode(weights.values(), trained.weights.values(), scale_bits)?;
    Ok(compare(&own, claimed))
}

/// Answers again and compares with a claimed answers blob.
pub fn inference(
    weights: &Weights,
    inputs: &[f32],
    first_item: u64,
    claimed: &[u8],
) -> Result<Verdict, ModelError> {
    let answers = Loaded::new(weights)?.infer(inputs)?;
    Ok(compare(&write_answers(first_item, &answers), claimed))
}

fn compare(own: &[u8], claimed: &[u8]) -> Verdict {
    if own == claimed {
        return Verdict::Same;
    }
    let at = own.iter().zip(claimed).take_while(|(own, claimed)| own == claimed).count();
    Verdict::Differs { at: at as u64 }
}
