//! Making a rollup.

use alloy::primitives::{U256, Uint};
use alloy::sol_types::SolConstructor as _;
use protocol::ids::Address;
use protocol::sign::EthKey;

use super::Node;
use super::read::cost_of;
use super::send::{Outgoing, Sender};
use crate::base_layer::Cost;
use crate::bindings::{DevToken, Rollup, from_evm, to_evm};
use crate::error::ChainError;

/// Which money a rollup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenChoice {
    /// A development token of its own, which anyone may mint.
    Development,
    /// A token that exists.
    Existing {
        /// The ERC-20.
        token: Address,
        /// Its base units in one ledger unit (10⁻⁶ token): 1 for 6 decimals, 10^12 for 18.
        unit: u128,
    },
}

/// How long things take, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// From posting to final.
    pub challenge: u64,
    /// A queue item may wait.
    pub inclusion: u64,
    /// From a job's close to its last payment.
    pub close_grace: u64,
}

impl Windows {
    /// 7 days, 24 hours, 48 hours.
    pub const REAL: Self = Self { challenge: 7 * 86_400, inclusion: 86_400, close_grace: 2 * 86_400 };
    /// 5, 10 and 20 seconds: only a development chain accepts them.
    pub const DEVELOPMENT: Self = Self { challenge: 5, inclusion: 10, close_grace: 20 };
}

/// A rollup that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// The `Rollup` contract.
    pub rollup: Address,
    /// Its token.
    pub token: Address,
    /// What each deployment cost.
    pub costs: Vec<Cost>,
}

/// Deploys a rollup whose batches `proposer` posts; `key` pays for it and has no rights afterwards.
pub async fn deploy(
    url: &str,
    key: &EthKey,
    token: TokenChoice,
    windows: Windows,
    proposer: Address,
) -> Result<Deployed, ChainError> {
    let node = Node::connect(url).await?;
    let sender = Sender::new(key);
    let mut costs = Vec::new();
    let (token, unit) = match token {
        TokenChoice::Existing { token, unit } => (token, unit),
        TokenChoice::Development => {
            let code = DevToken::BYTECODE.to_vec();
            (create(&node, &sender, "deploying the development token", code, &mut costs).await?, 1)
        }
    };
    let unit = Uint::<96, 2>::checked_from_limbs_slice(U256::from(unit).as_limbs())
        .ok_or_else(|| ChainError::BadAnswer("a ledger unit of over 2^96 base units".into()))?;
    let config = Rollup::Config {
        token: to_evm(token),
        unit,
        proposer: to_evm(proposer),
        challengeWindow: windows.challenge,
        inclusionWindow: windows.inclusion,
        closeGrace: windows.close_grace,
    };
    let mut code = Rollup::BYTECODE.to_vec();
    code.extend(Rollup::constructorCall { config_: config }.abi_encode());
    let rollup = create(&node, &sender, "deploying the rollup", code, &mut costs).await?;
    Ok(Deployed { rollup, token, costs })
}

async fn create(
    node: &Node,
    sender: &Sender,
    action: &'static str,
    code: Vec<u8>,
    costs: &mut Vec<Cost>,
) -> Result<Address, ChainError> {
    let out = Outgoing { action, to: None, data: code.into(), value: U256::ZERO };
    let receipt = sender.send(node, out).await?;
    costs.extend(cost_of(&receipt));
    let created = receipt.contract_address;
    created.map(from_evm).ok_or_else(|| ChainError::BadAnswer("a deployment without an address".into()))
}
