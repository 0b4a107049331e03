//! Contracts made for a rollup, which it does not know itself: a registry of stakes, a relay.

use alloy::primitives::Bytes;
use protocol::ids::Address;

use super::At;
use super::read::RpcChain;
use crate::artifact::Artifact;
use crate::bindings::{from_evm, to_evm};
use crate::error::ChainError;

alloy::sol! {
    /// What each of them answers.
    function rollup() external view returns (address);
}

impl RpcChain {
    /// What an address holds instead of a contract of exactly this version's bytecode, made for this rollup; `None` if
    /// it holds one. `kind` is what such a contract is called.
    pub(super) async fn instead_of(
        &self,
        artifact: &Artifact,
        kind: &str,
        at: Address,
    ) -> Result<Option<String>, ChainError> {
        let code: Bytes = self.node.ask("eth_getCode", (to_evm(at), "latest")).await?;
        if code.is_empty() {
            return Ok(Some("no contract".to_owned()));
        }
        if !artifact.is_code(&code) {
            return Ok(Some("a contract with other bytecode".to_owned()));
        }
        let rollup = self.node.call(at, &rollupCall {}, At::Latest).await?;
        Ok((from_evm(rollup) != self.contract).then(|| format!("a {kind} for the rollup {rollup}")))
    }
}
