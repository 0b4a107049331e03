//! Jobs and what is said about their work: the spec a requester writes, the task a worker gets, the receipt it signs,
//! the acceptance that answers it.

pub mod acceptance;
pub mod check;
pub mod data;
pub mod funding;
pub mod model;
pub mod receipt;
pub mod request;
pub mod spec;
pub mod stake;
pub mod task;
pub mod work;

pub use acceptance::{Acceptance, SignedAcceptance};
pub use check::{CheckSecret, CheckTerms};
pub use data::{ShardBlob, TaskData, TrainData};
pub use funding::{ClosingOrder, FundingOrder, SignedOrder};
pub use model::{ModelKind, ModelSpec};
pub use receipt::{Evaluated, Receipt};
pub use spec::{JobSpec, SpecError, SpecFields};
pub use stake::{Equivocation, NoEquivocation, StakeTerms, TaskResult};
pub use task::{InferTask, Task, TaskWork, TrainTask};
pub use work::{Evaluation, Infer, InputBlob, RoundPolicy, Train, Work};

use serde::{Deserialize, Serialize};

use crate::limits::NAME_CHARS_MAX;

/// A finite 32-bit float: what a learning rate or a loss must be.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f32", into = "f32")]
pub struct Real(f32);

/// A number that is NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the number must be finite")]
pub struct NotFinite;

impl Eq for Real {}

impl Real {
    /// The number itself.
    pub const fn get(self) -> f32 {
        self.0
    }
}

impl core::fmt::Display for Real {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(&self.0, f)
    }
}

impl TryFrom<f32> for Real {
    type Error = NotFinite;
    fn try_from(number: f32) -> Result<Self, NotFinite> {
        // −0 becomes +0, so that equal numbers have equal bytes.
        if number.is_finite() { Ok(Self(number + 0.0)) } else { Err(NotFinite) }
    }
}

impl From<Real> for f32 {
    fn from(real: Real) -> f32 {
        real.0
    }
}

/// A short name: 1 to 64 characters out of `a-z A-Z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Text that is not a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a name: use 1 to 64 characters out of a-z A-Z 0-9 . _ -")]
pub struct NameError(String);

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if text.is_empty() || text.len() > NAME_CHARS_MAX || !text.bytes().all(allowed) {
            return Err(NameError(text.chars().take(NAME_CHARS_MAX).collect()));
        }
        Ok(Self(text))
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

impl core::str::FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        text.to_owned().try_into()
    }
}

impl core::fmt::Display for Name {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(&self.0)
    }
}

/// A sentence for a person: cut to 300 characters, control characters replaced, so that a peer cannot write to a
/// terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Reason(String);

impl Reason {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        Self(text.chars().take(crate::limits::REASON_CHARS_MAX).map(clean).collect())
    }
}

impl From<&str> for Reason {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> String {
        reason.0
    }
}

impl core::fmt::Display for Reason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(&self.0)
    }
}
