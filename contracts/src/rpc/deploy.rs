//! Making a rollup.

use alloy::primitives::{U64, U256, Uint};
use alloy::sol_types::{SolCall as _, SolValue as _};
use protocol::amount::Amount;
use protocol::ids::Address;
use protocol::sign::EthKey;

use super::Node;
use super::read::cost_of;
use super::send::{Outgoing, Sender};
use crate::base_layer::Cost;
use crate::bindings::{
    Challenges, DevToken, DisputeBonds, FundingRelay, Rollup, ServiceBonds, WorkerRegistry, from_evm, to_evm,
};
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

/// How long things take, in seconds: the fields of [`RollupConfig`](crate::base_layer::RollupConfig) of the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "said where they are read")]
pub struct Windows {
    pub challenge: u64,
    pub inclusion: u64,
    pub close_grace: u64,
    pub quiet: u64,
    pub freeze_overdue: u64,
    pub freeze_pending: u64,
    pub omission: u64,
    pub data: u64,
    pub bond_exit: u64,
}

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

impl Windows {
    /// Days, so that people can react.
    pub const REAL: Self = Self {
        challenge: 7 * DAY,
        inclusion: DAY,
        close_grace: 2 * DAY,
        quiet: DAY,
        freeze_overdue: 7 * DAY,
        freeze_pending: 21 * DAY,
        omission: 7 * DAY,
        data: DAY,
        bond_exit: 30 * DAY,
    };
    /// Seconds, so that people can watch: only a development chain accepts them.
    pub const DEVELOPMENT: Self = Self {
        challenge: 5,
        inclusion: 10,
        close_grace: 20,
        quiet: 20,
        freeze_overdue: 60,
        freeze_pending: 120,
        omission: 30,
        data: 15,
        bond_exit: 120,
    };
}

/// Wei that whoever posts must have at stake: twice the dearest fraud proof (1.6 M gas) at 300 gwei, the least that the
/// contract accepts.
pub const FRAUD_BOND_WEI: u128 = 2 * 1_600_000 * 300_000_000_000;

/// The service bond of a development rollup's proposer: a billion tokens.
pub const DEVELOPMENT_SERVICE_BOND: Amount = Amount::units(1_000_000_000_000_000);

/// A rollup that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// The `Rollup` contract.
    pub rollup: Address,
    /// Its `Challenges` contract.
    pub challenges: Address,
    /// Its `ServiceBonds` contract.
    pub service_bonds: Address,
    /// The `WorkerRegistry` where its workers may stake.
    pub worker_registry: Address,
    /// The `DisputeBonds` where parties to disputes pledge.
    pub dispute_bonds: Address,
    /// The `FundingRelay` that funds its jobs by signature.
    pub funding_relay: Address,
    /// Its token.
    pub token: Address,
    /// What each deployment cost.
    pub costs: Vec<Cost>,
}

/// What a deployment costs, at most, by the fees of the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Gas of all its transactions.
    pub gas: u64,
    /// Wei per gas offered at most.
    pub max_fee: u128,
    /// Wei that become the proposer's fraud bond.
    pub bond: u128,
}

impl Quote {
    /// Wei that the deploying key should hold.
    pub const fn wei(&self) -> u128 {
        self.max_fee.saturating_mul(self.gas as u128).saturating_add(self.bond)
    }
}

/// What [`deploy`] would cost. The rollup refuses to be made before its companions are there, so a node cannot be asked
/// for an estimate: it follows from the sizes of the code.
pub async fn quote(url: &str, token: TokenChoice) -> Result<Quote, ChainError> {
    let fees = Node::connect(url).await?.fees().await?;
    let contracts = [
        &Challenges::BYTECODE[..],
        &ServiceBonds::BYTECODE[..],
        &Rollup::BYTECODE[..],
        &WorkerRegistry::BYTECODE[..],
        &DisputeBonds::BYTECODE[..],
        &FundingRelay::BYTECODE[..],
    ];
    let mut gas = contracts.into_iter().map(creation_gas).sum::<u64>() + DEPOSIT_GAS;
    if token == TokenChoice::Development {
        gas += creation_gas(&DevToken::BYTECODE[..]) + 3 * DEPOSIT_GAS;
    }
    Ok(Quote { gas, max_fee: fees.max_fee, bond: FRAUD_BOND_WEI })
}

/// Gas of a first deposit, with room.
const DEPOSIT_GAS: u64 = 120_000;
/// Gas of a construction's own storage and checks, with room.
const CONSTRUCTION_GAS: u64 = 250_000;

/// A creating transaction's gas: 53,000, 2 a word of code (EIP-3860), 16 a byte of calldata as if none were zero, 200 a
/// byte of deployed code as if all were.
const fn creation_gas(code: &[u8]) -> u64 {
    let bytes = code.len() as u64;
    53_000 + bytes.div_ceil(32) * 2 + bytes * 16 + bytes * 200 + CONSTRUCTION_GAS
}

/// Deploys a rollup whose batches `proposer` posts, and makes its bond; `key` pays for both and has no rights
/// afterwards.
///
/// The rollup and its two companions know each other's addresses: they are made for where the key's next nonces lead.
/// Should the key send anything in between, the rollup refuses to be made.
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
    let choice = token;
    let (token, unit) = match choice {
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
        fraudBond: FRAUD_BOND_WEI,
        challengeWindow: windows.challenge,
        inclusionWindow: windows.inclusion,
        closeGrace: windows.close_grace,
        quietPeriod: windows.quiet,
        freezeOverdue: windows.freeze_overdue,
        freezePending: windows.freeze_pending,
        omissionWindow: windows.omission,
        dataWindow: windows.data,
        bondExit: windows.bond_exit,
    };
    let nonce: U64 = node.ask("eth_getTransactionCount", (to_evm(sender.address()), "pending")).await?;
    let coming = to_evm(sender.address()).create(nonce.to::<u64>() + 2);
    let mut code = Challenges::BYTECODE.to_vec();
    code.extend((config.clone(), coming).abi_encode_params());
    let challenges = create(&node, &sender, "deploying the challenges contract", code, &mut costs).await?;
    let bond_config = ServiceBonds::BondConfig {
        token: config.token,
        unit,
        challengeWindow: windows.challenge,
        omissionWindow: windows.omission,
        dataWindow: windows.data,
        bondExit: windows.bond_exit,
    };
    let mut code = ServiceBonds::BYTECODE.to_vec();
    code.extend((bond_config, coming).abi_encode_params());
    let service_bonds = create(&node, &sender, "deploying the service bonds", code, &mut costs).await?;
    let mut code = Rollup::BYTECODE.to_vec();
    code.extend((config, to_evm(challenges), to_evm(service_bonds)).abi_encode_params());
    let rollup = create(&node, &sender, "deploying the rollup", code, &mut costs).await?;
    let mut code = WorkerRegistry::BYTECODE.to_vec();
    code.extend((to_evm(rollup),).abi_encode_params());
    let worker_registry = create(&node, &sender, "deploying the worker registry", code, &mut costs).await?;
    let mut code = DisputeBonds::BYTECODE.to_vec();
    code.extend((to_evm(rollup),).abi_encode_params());
    let dispute_bonds = create(&node, &sender, "deploying the dispute bonds", code, &mut costs).await?;
    let mut code = FundingRelay::BYTECODE.to_vec();
    code.extend((to_evm(rollup),).abi_encode_params());
    let funding_relay = create(&node, &sender, "deploying the funding relay", code, &mut costs).await?;
    let out = Outgoing {
        action: "making the proposer's fraud bond",
        to: Some(challenges),
        data: Challenges::depositCall { proposer: to_evm(proposer) }.abi_encode().into(),
        value: U256::from(FRAUD_BOND_WEI),
        sidecar: None,
    };
    costs.extend(cost_of(&sender.send(&node, out).await?));
    if choice == TokenChoice::Development {
        costs.extend(development_bond(&node, &sender, token, service_bonds, proposer).await?);
    }
    Ok(Deployed {
        rollup,
        challenges,
        service_bonds,
        worker_registry,
        dispute_bonds,
        funding_relay,
        token,
        costs,
    })
}

/// Development tokens cost nothing: a service bond that covers every job.
async fn development_bond(
    node: &Node,
    sender: &Sender,
    token: Address,
    bonds: Address,
    coordinator: Address,
) -> Result<Vec<Cost>, ChainError> {
    let amount = DEVELOPMENT_SERVICE_BOND.as_units();
    let mint = DevToken::mintCall { to: to_evm(sender.address()), amount: U256::from(amount) };
    let approve = DevToken::approveCall { spender: to_evm(bonds), value: U256::from(amount) };
    let deposit = ServiceBonds::depositCall { coordinator: to_evm(coordinator), amount };
    let mut costs = Vec::new();
    for (to, data) in
        [(token, mint.abi_encode()), (token, approve.abi_encode()), (bonds, deposit.abi_encode())]
    {
        let action = "making the coordinator's service bond";
        let out = Outgoing { action, to: Some(to), data: data.into(), value: U256::ZERO, sidecar: None };
        costs.extend(cost_of(&sender.send(node, out).await?));
    }
    Ok(costs)
}

async fn create(
    node: &Node,
    sender: &Sender,
    action: &'static str,
    code: Vec<u8>,
    costs: &mut Vec<Cost>,
) -> Result<Address, ChainError> {
    let out = Outgoing { action, to: None, data: code.into(), value: U256::ZERO, sidecar: None };
    let receipt = sender.send(node, out).await?;
    costs.extend(cost_of(&receipt));
    let created = receipt.contract_address;
    created.map(from_evm).ok_or_else(|| ChainError::BadAnswer("a deployment without an address".into()))
}
