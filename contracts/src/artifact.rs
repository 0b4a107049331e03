//! The committed artifacts: is the code at an address the code of this version?

use std::sync::LazyLock;

use serde::Deserialize;

/// A contract whose deployed code is known.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Artifact {
    deployed_bytecode: alloy::primitives::Bytes,
    /// Where construction writes values into the code: start and length.
    immutables: Vec<(usize, usize)>,
}

pub(crate) static ROLLUP: LazyLock<Artifact> =
    LazyLock::new(|| Artifact::read(include_str!("../artifacts/Rollup.json")));
pub(crate) static CHALLENGES: LazyLock<Artifact> =
    LazyLock::new(|| Artifact::read(include_str!("../artifacts/Challenges.json")));
pub(crate) static SERVICE_BONDS: LazyLock<Artifact> =
    LazyLock::new(|| Artifact::read(include_str!("../artifacts/ServiceBonds.json")));
pub(crate) static WORKER_REGISTRY: LazyLock<Artifact> =
    LazyLock::new(|| Artifact::read(include_str!("../artifacts/WorkerRegistry.json")));
pub(crate) static DISPUTE_BONDS: LazyLock<Artifact> =
    LazyLock::new(|| Artifact::read(include_str!("../artifacts/DisputeBonds.json")));
pub(crate) static FUNDING_RELAY: LazyLock<Artifact> =
    LazyLock::new(|| Artifact::read(include_str!("../artifacts/FundingRelay.json")));

impl Artifact {
    fn read(json: &str) -> Self {
        serde_json::from_str(json).expect("the artifact is committed and checked by a test")
    }

    /// Whether `code` is this contract's, whatever values its construction wrote into it.
    pub(crate) fn is_code(&self, code: &[u8]) -> bool {
        if code.len() != self.deployed_bytecode.len() {
            return false;
        }
        let mut code = code.to_vec();
        for (start, length) in &self.immutables {
            code[*start..*start + *length].fill(0);
        }
        code == self.deployed_bytecode
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contract_is_recognised_with_its_immutables_filled_in() {
        for artifact in
            [&ROLLUP, &CHALLENGES, &SERVICE_BONDS, &WORKER_REGISTRY, &DISPUTE_BONDS, &FUNDING_RELAY]
        {
            let mut code = artifact.deployed_bytecode.to_vec();
            for (start, length) in &artifact.immutables {
                code[*start..*start + *length].fill(0xab);
            }
            assert!(artifact.is_code(&code));
            code[0] ^= 1;
            assert!(!artifact.is_code(&code));
            assert!(!artifact.is_code(&[]));
        }
        assert!(!CHALLENGES.is_code(&ROLLUP.deployed_bytecode));
    }
}
