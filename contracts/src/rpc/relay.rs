//! Acting for a requester who has no gas, by what it signed.

use alloy::primitives::{B256, Bytes, U256};
use alloy::sol_types::{SolCall, SolEvent as _};
use protocol::amount::Amount;
use protocol::hash::{Keccak, keccak};
use protocol::ids::{Address, JobId};
use protocol::job::{ClosingOrder, FundingOrder, SignedOrder};
use protocol::sign::eip712::{Domain, address_word, word};
use protocol::sign::{EthKey, EthSignature};

use super::At;
use super::read::RpcChain;
use super::send::Outgoing;
use super::write::{RpcWriter, mined, no_event};
use crate::artifact::FUNDING_RELAY;
use crate::base_layer::{BaseLayer as _, Cost};
use crate::bindings::{DevToken, FundingRelay, Rollup, to_evm};
use crate::error::ChainError;

alloy::sol! {
    /// What tokens with permits answer besides EIP-2612; those that do not have version 1.
    function version() external view returns (string);
}

/// A relay that funds a rollup's jobs by signature. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RpcRelay {
    chain: RpcChain,
    at: Address,
}

/// What a transaction would cost at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GasQuote {
    /// Gas allowed.
    pub gas: u64,
    /// Wei per gas offered at most.
    pub max_fee: u128,
}

impl GasQuote {
    /// Wei for gas at most.
    pub const fn wei(&self) -> u128 {
        self.max_fee.saturating_mul(self.gas as u128)
    }
}

impl RpcChain {
    /// Makes sure that the address holds a relay of exactly this version's bytecode, for this rollup.
    pub async fn relay(&self, at: Address) -> Result<RpcRelay, ChainError> {
        if let Some(detail) = self.instead_of(&FUNDING_RELAY, "relay", at).await? {
            return Err(ChainError::NoRelay { address: at, chain_id: self.chain().chain_id, detail });
        }
        Ok(RpcRelay { chain: self.clone(), at })
    }

    fn base_units(&self, amount: Amount) -> U256 {
        U256::from(amount.as_units()).saturating_mul(U256::from(self.config.unit))
    }
}

impl RpcRelay {
    /// Which relay on which chain orders are for.
    pub fn domain(&self) -> Domain {
        Domain { chain_id: self.chain.chain().chain_id, contract: self.at }
    }

    /// The number of a requester's next order.
    pub async fn next_nonce(&self, requester: Address) -> Result<u64, ChainError> {
        let call = FundingRelay::nextNonceCall { requester: to_evm(requester) };
        let nonce = self.chain.node.call(self.at, &call, At::Latest).await?;
        u64::try_from(nonce).map_err(|_| ChainError::BadAnswer("a nonce of over 2^64".into()))
    }

    /// Whether the relay may take `amount` from the requester without a permit.
    pub async fn is_allowed(&self, requester: Address, amount: Amount) -> Result<bool, ChainError> {
        let call = DevToken::allowanceCall { owner: to_evm(requester), spender: to_evm(self.at) };
        let allowed = self.chain.node.call(self.chain.config.token, &call, At::Latest).await?;
        Ok(allowed >= self.chain.base_units(amount))
    }

    /// Signs the relay a permit for the order's amount until its deadline; `None` if the token knows no permits, or
    /// separates its domain otherwise than by name, version, chain and address.
    pub async fn permit(
        &self,
        order: &FundingOrder,
        key: &EthKey,
    ) -> Result<Option<EthSignature>, ChainError> {
        let token = self.chain.config.token;
        let Some(separator) = self.token_separator().await? else { return Ok(None) };
        let owner = to_evm(order.requester);
        let nonce =
            unless_refused(self.chain.node.call(token, &DevToken::noncesCall { owner }, At::Latest).await)?;
        let Some(nonce) = nonce else { return Ok(None) };
        let kind = "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)";
        let body = keccak(&[
            &keccak(&[kind.as_bytes()]).0,
            &address_word(order.requester),
            &address_word(self.at),
            &self.chain.base_units(order.amount).to_be_bytes::<32>(),
            &nonce.to_be_bytes::<32>(),
            &word(order.deadline.into()),
        ]);
        Ok(Some(key.sign(&keccak(&[&[0x19, 0x01], &separator.0, &body.0]))))
    }

    /// The token's domain, computed and not believed: what is signed must be for this token on this chain.
    async fn token_separator(&self) -> Result<Option<Keccak>, ChainError> {
        let (node, token) = (&self.chain.node, self.chain.config.token);
        let told = node.call(token, &DevToken::DOMAIN_SEPARATORCall {}, At::Latest).await;
        let Some(told) = unless_refused(told)? else { return Ok(None) };
        let Some(name) = unless_refused(node.call(token, &DevToken::nameCall {}, At::Latest).await)? else {
            return Ok(None);
        };
        let version = unless_refused(node.call(token, &versionCall {}, At::Latest).await)?;
        let version = version.unwrap_or_else(|| "1".to_owned());
        let kind = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
        let separator = keccak(&[
            &keccak(&[kind.as_bytes()]).0,
            &keccak(&[name.as_bytes()]).0,
            &keccak(&[version.as_bytes()]).0,
            &word(self.chain.chain().chain_id.into()),
            &address_word(token),
        ]);
        Ok((told.0 == separator.0).then_some(separator))
    }

    /// What [`RpcRelay::fund`] would cost the writer's key; an error if the contracts would refuse.
    pub async fn quote(&self, writer: &RpcWriter, signed: &SignedOrder) -> Result<GasQuote, ChainError> {
        writer.quote("funding a job by signature", self.at, &self.call(signed)).await
    }

    /// Sends the order: the job is its requester's, the gas is the writer's.
    pub async fn fund(&self, writer: &RpcWriter, signed: &SignedOrder) -> Result<(JobId, Cost), ChainError> {
        let receipt = writer.send("funding a job by signature", self.at, &self.call(signed)).await?;
        let logs = receipt.logs().iter().filter(|log| log.address() == to_evm(self.at));
        let mut relayed = logs.filter_map(|log| FundingRelay::Relayed::decode_log(&log.inner).ok());
        let event = relayed.next().ok_or_else(|| no_event("Relayed"))?;
        Ok((JobId(event.job), mined(&receipt)?))
    }

    fn call(&self, signed: &SignedOrder) -> FundingRelay::fundCall {
        let order = signed.order;
        let permit = signed.permit.unwrap_or(EthSignature { r: [0; 32], s: [0; 32], v: 0 });
        FundingRelay::fundCall {
            order: FundingRelay::FundingOrder {
                requester: to_evm(order.requester),
                coordinator: to_evm(order.coordinator),
                specHash: B256::new(order.spec.0),
                terms: order.terms.into(),
                amount: order.amount.as_units(),
                nonce: U256::from(order.nonce),
                deadline: order.deadline,
            },
            signature: Bytes::copy_from_slice(&signed.signature.to_bytes()),
            permit: FundingRelay::Permit {
                value: self.chain.base_units(order.amount),
                deadline: U256::from(order.deadline),
                v: permit.v,
                r: B256::new(permit.r),
                s: B256::new(permit.s),
            },
        }
    }
}

impl RpcWriter {
    /// What [`RpcWriter::close_job_for`] would cost; an error if the contract would refuse.
    pub async fn quote_close(&self, order: ClosingOrder, by: EthSignature) -> Result<GasQuote, ChainError> {
        self.quote("closing a job by signature", self.contract(), &closing(order, by)).await
    }

    /// Closes a job by its requester's signature.
    pub async fn close_job_for(&self, order: ClosingOrder, by: EthSignature) -> Result<Cost, ChainError> {
        mined(&self.to_rollup("closing a job by signature", &closing(order, by)).await?)
    }

    async fn quote<C: SolCall>(
        &self,
        action: &'static str,
        to: Address,
        call: &C,
    ) -> Result<GasQuote, ChainError> {
        let out = Outgoing {
            action,
            to: Some(to),
            data: call.abi_encode().into(),
            value: U256::ZERO,
            sidecar: None,
        };
        let gas = self.sender.gas(&self.chain.node, &out).await?;
        Ok(GasQuote { gas, max_fee: self.fees().await?.max_fee })
    }
}

fn closing(order: ClosingOrder, by: EthSignature) -> Rollup::closeJobForCall {
    Rollup::closeJobForCall {
        job: order.job.0,
        deadline: order.deadline,
        signature: Bytes::copy_from_slice(&by.to_bytes()),
    }
}

/// A contract without this function refuses, or answers with nothing that can be read.
fn unless_refused<T>(answer: Result<T, ChainError>) -> Result<Option<T>, ChainError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(ChainError::Reverted { .. } | ChainError::BadAnswer(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
