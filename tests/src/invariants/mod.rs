//! What every run must keep, one property a file. Each is checked where it can first be broken, against the books of
//! [`crate::oracle`] or the ledger that the auditor derives.

pub mod answers;
pub mod disputes;
pub mod durable_first;
pub mod earned;
pub mod fair;
pub mod finality;
pub mod kept;
pub mod paid_once;
pub mod promises;
pub mod refunds;
pub mod restore;
pub mod roots;
pub mod rounds;
pub mod selection;
pub mod settlements;
mod shards;
pub mod sums;

use core::fmt;

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The property.
    pub property: &'static str,
    /// What was found instead.
    pub found: String,
}

/// Whether a property holds.
pub type Checked = Result<(), Violation>;

impl Violation {
    /// A broken property.
    pub const fn new(property: &'static str, found: String) -> Self {
        Self { property, found }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken: {}: {}", self.property, self.found)
    }
}

impl std::error::Error for Violation {}

/// `holds`, or the violation of `property`.
fn require(holds: bool, property: &'static str, found: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Violation::new(property, found())) }
}
