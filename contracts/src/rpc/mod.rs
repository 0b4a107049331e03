//! A base layer behind any Ethereum JSON-RPC address: the development chain, anvil, a real node.
//!
//! `read` implements [`BaseLayer`](crate::base_layer::BaseLayer), `write` the sending half, `blobs` finds the bytes of
//! batches that stand in blobs, `fees` says what gas costs, `node` asks the
//! nodes, `send` gets one transaction into a block exactly once,
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
mod node;
mod read;
mod relay;
mod send;
mod stakes;
mod write;

use core::time::Duration;

use alloy::primitives::Bytes;
use alloy::rpc::types::TransactionInput;

pub use blobs::BlobSource;
pub use deploy::{Deployed, FRAUD_BOND_WEI, Quote, TokenChoice, Windows, deploy, quote};
pub use disputes::{CarriedOut, Pledge, RpcDisputes, RpcDisputesWriter};
pub use read::{HISTORY_BLOCKS_MAX, RpcChain};
pub use relay::{GasQuote, RpcRelay};
pub use stakes::{RpcRegistry, RpcRegistryWriter};
pub use write::RpcWriter;

use crate::base_layer::ChainInfo;
use crate::error::ChainError;
use node::Node;

/// How long one request may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// How long to wait for a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const USER_AGENT: &str = concat!("fedroll/", env!("CARGO_PKG_VERSION"));

/// Asks the nodes of an address, or of several with commas between them, which chain they serve.
pub async fn chain_info(url: &str) -> Result<ChainInfo, ChainError> {
    Node::connect(url).await.map(|node| node.info().clone())
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

pub(crate) fn input(bytes: Bytes) -> TransactionInput {
    TransactionInput::new(bytes)
}

/// An HTTP client with TLS by rustls and ring, as everywhere else in fedroll, and the system's certificates.
fn http_client(timeout: Duration) -> Result<reqwest::Client, String> {
    // A second call finds the provider installed: that is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .timeout(timeout)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| format!("no HTTP client: {error}"))
}
