//! The ledger's two twins, Rust and Solidity, side by side: whatever the state, the bytes and the header, both must
//! come to the same state, and a witness that is not the state's must never lead to another one.
//!
//! | file | holds |
//! | --- | --- |
//! | [`court`] | the whole rollup: batches posted and proven wrong |
//! | [`evm`] | contracts in memory, without a chain around them |
//! | [`mutations`] | an honest batch, and what stops it once it is changed |
//! | [`worlds`] | a state, a queue and a header, often at the edge of something |
//! | [`worst`] | the dearest chunks that can be |
//! | [`scripts`] | a chunk's bytes: ops that hold, ops that nearly hold, ops cut and bent |
//! | [`forgeries`] | a witness with one thing changed |
//!
//! `src/bin/fuzz-ledger.rs` runs millions of cases; a scenario runs thousands.

pub mod blob_mutations;
pub mod court;
pub mod evm;
pub mod forgeries;
pub mod mutations;
pub mod scripts;
pub mod worlds;
pub mod worst;

use std::collections::BTreeMap;

use contracts::bindings::Challenges;
use protocol::ledger::fraud::{Witness, replay};
use protocol::ledger::{OpOutcome, StateParts, apply_chunk};
use protocol::rng::Rng;

use self::evm::{Evm, Reverted};
use self::forgeries::FORGERIES;
use self::scripts::Script;
use self::worlds::World;

/// Forged witnesses that are tried on each case.
const FORGED_PER_CASE: usize = 2;

/// What a run of cases has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cases in which the two agreed.
    pub cases: u64,
    /// Ops in them.
    pub ops: u64,
    /// Ops that held.
    pub held: u64,
    /// What became of ops: effects and broken rules, by name.
    pub outcomes: BTreeMap<String, u64>,
    /// Witnesses that were forged and refused.
    pub refused: u64,
    /// Witnesses that were forged in something that is not read, or into another form of the same.
    pub harmless: u64,
    /// The most gas that one call took.
    pub gas_max: u64,
}

/// The contract that fraud proofs apply chunks with.
#[derive(Debug)]
pub struct Twin {
    evm: Evm,
    contract: alloy::primitives::Address,
}

impl Default for Twin {
    fn default() -> Self {
        Self::new()
    }
}

impl Twin {
    /// The contract in an empty world.
    pub fn new() -> Self {
        let mut evm = Evm::default();
        let contract = alloy::primitives::Address::repeat_byte(0xcc);
        evm.place(contract, Challenges::DEPLOYED_BYTECODE.clone());
        Self { evm, contract }
    }

    /// Applies a chunk as the contract does.
    pub fn replay(
        &mut self,
        world: &World,
        script: &Script,
        witness: &Witness,
    ) -> Result<(StateParts, u64), Reverted> {
        let call = Challenges::replayCall {
            pre: (&world.state.parts()).into(),
            ops: script.bytes.clone().into(),
            declared: script.declared,
            context: (&world.context()).into(),
            witness: witness.into(),
        };
        let (parts, gas) = self.evm.view(self.contract, &call)?;
        Ok(((&parts).into(), gas))
    }
}

/// The effect or the rule, without its figures.
fn name_of(outcome: &OpOutcome) -> String {
    let text = outcome.as_ref().map_or_else(|rule| format!("{rule:?}"), |effect| format!("{effect:?}"));
    text.chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// Runs one case; an error is a difference between the two, with all that is needed to look into it.
pub fn run_case(twin: &mut Twin, rng: &mut Rng, tally: &mut Tally) -> Result<(), String> {
    let world = World::random(rng);
    let script = Script::random(rng, &world);
    let context = world.context();
    let (mut applied, mut replayed) = (world.state.clone(), world.state.clone());
    let chunk = apply_chunk(&mut applied, &script.bytes, script.declared, &context);
    let witness = replay(&mut replayed, &script.bytes, script.declared, &context);
    let want = applied.parts();
    let told = |what: &str| format!("{what}\n{world:?}\n{chunk:?}\n{script:?}");
    if replayed.parts() != want {
        return Err(told("the replay that makes the witness leads elsewhere than the chunk"));
    }
    match twin.replay(&world, &script, &witness) {
        Ok((got, gas)) if got == want => tally.gas_max = tally.gas_max.max(gas),
        Ok((got, _)) => return Err(told(&format!("Solidity comes to {got:?}, Rust to {want:?}"))),
        Err(reverted) => return Err(told(&format!("Solidity reverts: {reverted}"))),
    }
    tally.cases += 1;
    tally.ops += chunk.outcomes.len() as u64;
    for outcome in &chunk.outcomes {
        tally.held += u64::from(outcome.is_ok());
        *tally.outcomes.entry(name_of(outcome)).or_default() += 1;
    }

    for _ in 0..FORGED_PER_CASE {
        let (name, forge) = FORGERIES[rng.below(FORGERIES.len() as u64) as usize];
        let mut forged = witness.clone();
        if !forge(rng, &mut forged) || forged == witness {
            continue;
        }
        match twin.replay(&world, &script, &forged) {
            Ok((got, _)) if got == want => tally.harmless += 1,
            Ok((got, _)) => {
                return Err(told(&format!(
                    "{name}: Solidity believes it and comes to {got:?}, not {want:?}"
                )));
            }
            Err(_) => tally.refused += 1,
        }
    }
    Ok(())
}
