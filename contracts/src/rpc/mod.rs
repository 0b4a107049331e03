//! A base layer behind any Ethereum JSON-RPC address: the development chain, anvil, a real node.
//!
//! `read` implements [`BaseLayer`](crate::base_layer::BaseLayer), `write` the sending half, `blobs` finds the bytes of
//! batches that stand in blobs, `fees` says what gas costs, `send` gets one transaction into a block exactly once,
//! `deploy` makes a rollup, `challenge` proves batches wrong, `bonds` answers for promises, `stakes` holds workers to
//! one result a task, `disputes` holds parties to a referee's word, `relay` acts for requesters by their signature,
//! `exit` gets money out of a frozen rollup.

mod blobs;
mod bonds;
mod challenge;
mod companion;
mod deploy;
mod disputes;
mod exit;
mod fees;
mod read;
mod relay;
mod send;
mod stakes;
mod write;

use core::time::Duration;
use std::sync::Arc;

use alloy::primitives::Bytes;
use alloy::rpc::client::{ClientBuilder, RpcClient};
use alloy::rpc::json_rpc::{RpcError, RpcRecv, RpcSend};
use alloy::rpc::types::{TransactionInput, TransactionRequest};
use alloy::sol_types::SolCall;
use alloy::transports::{TransportError, TransportErrorKind};
use protocol::ids::Address;
use reqwest::Url;

pub use blobs::BlobSource;
pub use deploy::{Deployed, FRAUD_BOND_WEI, Quote, TokenChoice, Windows, deploy, quote};
pub use disputes::{CarriedOut, Pledge, RpcDisputes, RpcDisputesWriter};
pub use read::{HISTORY_BLOCKS_MAX, RpcChain};
pub use relay::{GasQuote, RpcRelay};
pub use stakes::{RpcRegistry, RpcRegistryWriter};
pub use write::RpcWriter;

use crate::base_layer::ChainInfo;
use crate::bindings::to_evm;
use crate::error::{ChainError, Reason};

/// How long one request may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// How long to wait for a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of one answer: logs of a full stretch of history fit many times over.
const USER_AGENT: &str = concat!("fedroll/", env!("CARGO_PKG_VERSION"));

/// Asks a node which chain it serves.
pub async fn chain_info(url: &str) -> Result<ChainInfo, ChainError> {
    Node::connect(url).await.map(|node| node.info.clone())
}

/// The view of the chain that a call sees.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At {
    Latest,
    Pending,
    Block(u64),
}

impl At {
    fn tag(self) -> String {
        match self {
            Self::Latest => "latest".into(),
            Self::Pending => "pending".into(),
            Self::Block(number) => format!("{number:#x}"),
        }
    }
}

/// One node, asked politely: every request has a time limit, every failure a meaning.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    client: Arc<RpcClient>,
    endpoint: String,
    info: ChainInfo,
}

impl Node {
    pub(crate) async fn connect(url: &str) -> Result<Self, ChainError> {
        let url: Url = url.parse().map_err(|_| ChainError::BadUrl(url.to_owned()))?;
        let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https"));
        let Some(host) = host else { return Err(ChainError::BadUrl(url.to_string())) };
        let endpoint = url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
        let http = http_client().map_err(ChainError::BadAnswer)?;
        let client = Arc::new(ClientBuilder::default().http_with_client(http, url));
        let unknown = ChainInfo { chain_id: 0, client: String::new() };
        let mut node = Self { client, endpoint, info: unknown };
        let chain_id: alloy::primitives::U64 = node.ask("eth_chainId", ()).await?;
        // Some providers refuse this method; the name is only for people.
        let name = node.ask::<_, String>("web3_clientVersion", ()).await;
        node.info =
            ChainInfo { chain_id: chain_id.to(), client: name.unwrap_or_else(|_| "unnamed node".into()) };
        Ok(node)
    }

    pub(crate) const fn info(&self) -> &ChainInfo {
        &self.info
    }

    /// One request.
    pub(crate) async fn ask<P: RpcSend, R: RpcRecv>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, ChainError> {
        self.client.request(method, params).await.map_err(|error| self.explain(method, error))
    }

    /// Calls a contract's view, or rehearses a transaction.
    pub(crate) async fn call<C: SolCall>(
        &self,
        to: Address,
        call: &C,
        at: At,
    ) -> Result<C::Return, ChainError> {
        let request = TransactionRequest::default().to(to_evm(to)).input(input(call.abi_encode().into()));
        let data: Bytes = self.ask("eth_call", (request, at.tag())).await?;
        C::abi_decode_returns(&data)
            .map_err(|error| ChainError::BadAnswer(format!("{}: {error}", C::SIGNATURE)))
    }

    fn explain(&self, method: &'static str, error: TransportError) -> ChainError {
        let unreachable =
            |detail: String| ChainError::Unreachable { endpoint: self.endpoint.clone(), detail };
        match error {
            RpcError::ErrorResp(payload) => {
                if let Some(data) = payload.as_revert_data() {
                    return ChainError::Reverted { action: method, reason: Reason::decode(&data) };
                }
                let message = payload.message.to_string();
                if message.contains("execution reverted") {
                    return ChainError::Reverted { action: method, reason: Reason::Unknown(Vec::new()) };
                }
                // -32005: limit exceeded (EIP-1474); providers also use it for "slow down".
                if payload.code == -32005 && method != "eth_getLogs" {
                    return ChainError::Busy { detail: message };
                }
                ChainError::Refused { method, code: payload.code, message }
            }
            RpcError::Transport(TransportErrorKind::HttpError(http)) if (400..429).contains(&http.status) => {
                let message = http.body.chars().take(200).collect();
                ChainError::Refused { method, code: http.status.into(), message }
            }
            RpcError::Transport(kind) => unreachable(chain_of_causes(&kind)),
            RpcError::NullResp => ChainError::BadAnswer(format!("{method}: null")),
            other => ChainError::BadAnswer(format!(
                "{method}: {}",
                other.to_string().chars().take(300).collect::<String>()
            )),
        }
    }
}

pub(crate) fn input(bytes: Bytes) -> TransactionInput {
    TransactionInput::new(bytes)
}

/// An HTTP client with TLS by rustls and ring, as everywhere else in fedroll, and the system's certificates.
fn http_client() -> Result<reqwest::Client, String> {
    // A second call finds the provider installed: that is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .timeout(REQUEST_TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| format!("no HTTP client: {error}"))
}

/// An error with its causes, without the address: it may hold a provider's key.
fn chain_of_causes(error: &(dyn core::error::Error + 'static)) -> String {
    let mut causes = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<reqwest::Error>() {
            causes.push(if error.is_timeout() {
                "timed out".to_owned()
            } else {
                "the request failed".to_owned()
            });
        } else if let Some(error) = error.downcast_ref::<std::io::Error>() {
            causes.push(error.to_string());
        }
        next = error.source();
    }
    if causes.is_empty() { error.to_string().chars().take(200).collect() } else { causes.join(": ") }
}
