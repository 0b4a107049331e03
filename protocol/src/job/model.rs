//! Which model a job is about.

use serde::{Deserialize, Serialize};

use super::spec::SpecError;
use crate::limits::{DIMENSION_MAX, HIDDEN_LAYERS_MAX};

/// The architecture. What it computes, and whether the shapes fit it, is for the crate `models` to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelKind {
    /// Multinomial logistic regression.
    Logistic,
    /// Fully connected layers with ReLU between them.
    Mlp {
        /// Width of each hidden layer, first to last.
        hidden: Vec<u32>,
    },
    /// The CNN of McMahan et al., "Communication-efficient learning of deep networks from decentralized data", 2017.
    CnnFedavg,
    /// The two-convolution CNN of Flower's NIID-Bench baseline (Li et al., 2022).
    CnnFlower,
    /// ResNet-20 of He et al., 2016, with group normalisation.
    Resnet20,
}

/// A model with its shapes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// The architecture.
    pub kind: ModelKind,
    /// One example's shape: channels, height, width.
    pub input: [u32; 3],
    /// Classes to tell apart.
    pub classes: u32,
}

impl ModelSpec {
    /// Values in one example.
    pub fn input_len(&self) -> usize {
        self.input.iter().map(|&side| side as usize).product()
    }

    pub(super) fn check(&self) -> Result<(), SpecError> {
        let within = |what: &'static str, got: u32, least: u32| {
            let range = least..=DIMENSION_MAX;
            if range.contains(&got) {
                Ok(())
            } else {
                Err(SpecError::Range {
                    what,
                    got: got.into(),
                    least: least.into(),
                    most: DIMENSION_MAX.into(),
                })
            }
        };
        for side in self.input {
            within("model.input", side, 1)?;
        }
        let values: u64 =
            self.input.iter().map(|&side| u64::from(side)).try_fold(1, u64::checked_mul).unwrap_or(u64::MAX);
        if values > 1 << 24 {
            return Err(SpecError::Range {
                what: "model.input (values)",
                got: values,
                least: 1,
                most: 1 << 24,
            });
        }
        within("model.classes", self.classes, 2)?;
        if let ModelKind::Mlp { hidden } = &self.kind {
            let most = HIDDEN_LAYERS_MAX as u64;
            if hidden.len() as u64 > most {
                return Err(SpecError::Range {
                    what: "model.hidden (layers)",
                    got: hidden.len() as u64,
                    least: 0,
                    most,
                });
            }
            for &width in hidden {
                within("model.hidden", width, 1)?;
            }
        }
        Ok(())
    }
}
