//! What coordinators signed that they owe: the proof that `fedroll claim --omitted` needs.

use protocol::wire::codec;
use serde::Serialize;

use crate::core::{Fact, Records, RestoreError};
use crate::output::{Answer, SCHEMA};

/// The answer to `acceptances`.
#[derive(Debug, Serialize)]
pub struct Acceptances {
    schema: u32,
    /// The canonical bytes (`SignedAcceptance`) of each, in hex.
    acceptances: Vec<String>,
}

impl Acceptances {
    /// Folds the facts.
    ///
    /// # Errors
    /// [`RestoreError`] if they contradict each other.
    pub fn from_facts(facts: &[Fact]) -> Result<Self, RestoreError> {
        let mut records = Records::default();
        facts.iter().try_for_each(|fact| records.apply(fact))?;
        let hex =
            |bytes: Vec<u8>| bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"));
        let acceptances = records.books.values().map(|book| hex(codec::encode(&book.latest)));
        Ok(Self { schema: SCHEMA, acceptances: acceptances.collect() })
    }
}

impl Answer for Acceptances {
    fn text(&self) -> String {
        self.acceptances.iter().map(|acceptance| format!("{acceptance}\n")).collect()
    }
}
