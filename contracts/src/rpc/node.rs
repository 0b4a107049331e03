//! Nodes, asked politely: every request has a time limit, every failure a meaning. Of several, one is asked until it
//! does not answer, and passed over from then on, until the same is true of those after it: a node that hangs costs its
//! time limit once.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::{Arc, OnceLock};

use alloy::primitives::{Bytes, U64};
use alloy::rpc::client::{ClientBuilder, RpcClient};
use alloy::rpc::json_rpc::{RpcError, RpcRecv, RpcSend};
use alloy::rpc::types::TransactionRequest;
use alloy::sol_types::SolCall;
use alloy::transports::{TransportError, TransportErrorKind};
use protocol::ids::Address;
use reqwest::Url;

use super::{At, REQUEST_TIMEOUT, http_client, input};
use crate::base_layer::ChainInfo;
use crate::bindings::to_evm;
use crate::error::{ChainError, Reason};

/// Nodes of one connection at most.
const ENDPOINTS_MAX: usize = 8;

/// One node's address.
#[derive(Debug)]
struct Endpoint {
    client: RpcClient,
    /// Host and port, without any path that may hold a key.
    name: String,
    /// The chain that it serves, once it was asked.
    chain_id: OnceLock<u64>,
}

impl Endpoint {
    fn parse(url: &str, timeout: Duration) -> Result<Self, ChainError> {
        let url: Url = url.parse().map_err(|_| ChainError::BadUrl(url.to_owned()))?;
        let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https"));
        let Some(host) = host else { return Err(ChainError::BadUrl(url.to_string())) };
        let name = url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
        let http = http_client(timeout).map_err(ChainError::BadAnswer)?;
        let client = ClientBuilder::default().http_with_client(http, url);
        Ok(Self { client, name, chain_id: OnceLock::new() })
    }

    async fn ask<P: RpcSend, R: RpcRecv>(&self, method: &'static str, params: P) -> Result<R, ChainError> {
        self.client.request(method, params).await.map_err(|error| explain(&self.name, method, error))
    }

    /// The chain that it serves.
    async fn chain_id(&self) -> Result<u64, ChainError> {
        if let Some(known) = self.chain_id.get() {
            return Ok(*known);
        }
        let chain_id = self.ask::<_, U64>("eth_chainId", ()).await?.to();
        Ok(*self.chain_id.get_or_init(|| chain_id))
    }
}

/// One or more nodes of one chain. Cheap to clone; clones agree on which is asked.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    endpoints: Arc<[Endpoint]>,
    /// The place of the one that is asked.
    current: Arc<AtomicUsize>,
    info: ChainInfo,
}

impl Node {
    /// Connects to the nodes of one address, or of several with commas between them, the first of which that answers
    /// says which chain it is.
    pub(crate) async fn connect(urls: &str) -> Result<Self, ChainError> {
        Self::connect_within(urls, REQUEST_TIMEOUT).await
    }

    async fn connect_within(urls: &str, timeout: Duration) -> Result<Self, ChainError> {
        let endpoints = urls.split(',').map(|url| Endpoint::parse(url.trim(), timeout));
        let endpoints: Arc<[Endpoint]> = endpoints.collect::<Result<_, _>>()?;
        if endpoints.len() > ENDPOINTS_MAX {
            return Err(ChainError::BadUrl(format!(
                "{} addresses, of {ENDPOINTS_MAX} at most",
                endpoints.len()
            )));
        }
        let info = ChainInfo { chain_id: 0, client: String::new() };
        let mut node = Self { endpoints, current: Arc::default(), info };
        let mut left = node.endpoints.len();
        node.info.chain_id = loop {
            let place = node.current.load(Ordering::Relaxed);
            match node.endpoints[place].chain_id().await {
                Err(error) => node.pass_over(place, &mut left, error)?,
                Ok(chain_id) => break chain_id,
            }
        };
        // Some providers refuse this method; the name is only for people.
        let name = node.ask::<_, String>("web3_clientVersion", ()).await;
        node.info.client = name.unwrap_or_else(|_| "unnamed node".into());
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
        let mut left = self.endpoints.len();
        loop {
            let place = self.current.load(Ordering::Relaxed);
            match self.ask_at(place, method, params.clone()).await {
                Err(error) => self.pass_over(place, &mut left, error)?,
                Ok(answer) => return Ok(answer),
            }
        }
    }

    async fn ask_at<P: RpcSend, R: RpcRecv>(
        &self,
        place: usize,
        method: &'static str,
        params: P,
    ) -> Result<R, ChainError> {
        let endpoint = &self.endpoints[place];
        let (chain_id, ours) = (endpoint.chain_id().await?, self.info.chain_id);
        if chain_id != ours {
            let detail = format!("it serves chain {chain_id}, not {ours}");
            return Err(ChainError::Unreachable { endpoint: endpoint.name.clone(), detail });
        }
        endpoint.ask(method, params).await
    }

    /// Has another node asked, if this one does not answer and another is left; else it is what was said.
    fn pass_over(&self, place: usize, left: &mut usize, error: ChainError) -> Result<(), ChainError> {
        if !matches!(error, ChainError::Unreachable { .. }) {
            return Err(error);
        }
        let next = (place + 1) % self.endpoints.len();
        // Somebody else who waited for it may have passed it over already.
        let ours = self.current.compare_exchange(place, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        *left -= 1;
        if *left == 0 {
            return Err(error);
        }
        if ours {
            tracing::warn!(%error, instead = self.endpoints[next].name, "asking another node");
        }
        Ok(())
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
}

fn explain(endpoint: &str, method: &'static str, error: TransportError) -> ChainError {
    let unreachable = |detail: String| ChainError::Unreachable { endpoint: endpoint.to_owned(), detail };
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

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicBool;

    use axum::Router;
    use axum::extract::{Json, State};
    use axum::routing::post;
    use serde_json::{Value, json};

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(300);

    /// A node that says nothing but its chain, or nothing at all.
    #[derive(Default)]
    struct Dummy {
        chain_id: u64,
        hangs: AtomicBool,
        asked: AtomicUsize,
    }

    impl Dummy {
        async fn start(chain_id: u64, hangs: bool) -> (Arc<Self>, String) {
            let dummy = Arc::new(Self { chain_id, hangs: hangs.into(), asked: AtomicUsize::new(0) });
            let router = Router::new().route("/", post(Self::answer)).with_state(dummy.clone());
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(async move { axum::serve(listener, router).await });
            (dummy, url)
        }

        async fn answer(State(dummy): State<Arc<Self>>, Json(request): Json<Value>) -> Json<Value> {
            dummy.asked.fetch_add(1, Ordering::Relaxed);
            if dummy.hangs.load(Ordering::Relaxed) {
                return core::future::pending().await;
            }
            Json(json!({ "jsonrpc": "2.0", "id": request["id"], "result": format!("{:#x}", dummy.chain_id) }))
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    async fn ask(node: &Node) -> Result<U64, ChainError> {
        node.ask("eth_blockNumber", ()).await
    }

    #[tokio::test]
    async fn a_node_that_hangs_is_waited_for_once() {
        let ((hung, first), (sound, second)) = (Dummy::start(7, true).await, Dummy::start(7, false).await);
        let node = Node::connect_within(&format!("{first}, {second}"), TIMEOUT).await.unwrap();
        assert_eq!(node.info().chain_id, 7);
        for _ in 0..5 {
            ask(&node).await.unwrap();
        }
        assert_eq!((hung.asked(), sound.asked()), (1, 7));

        // Both clones go back to it once the other hangs in turn, and it is asked for its chain before all else.
        hung.hangs.store(false, Ordering::Relaxed);
        sound.hangs.store(true, Ordering::Relaxed);
        let clone = node.clone();
        let both = tokio::join!(ask(&node), ask(&clone));
        assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
        ask(&clone).await.unwrap();
        assert_eq!(sound.asked(), 9);
    }

    #[tokio::test]
    async fn where_all_hang_each_is_waited_for_and_the_first_that_is_back_is_asked() {
        let (first, second) = (Dummy::start(7, false).await, Dummy::start(7, false).await);
        for urls in [first.1.clone(), format!("{},{}", first.1, second.1)] {
            let node = Node::connect_within(&urls, TIMEOUT).await.unwrap();
            for dummy in [&first.0, &second.0] {
                dummy.hangs.store(true, Ordering::Relaxed);
            }
            let error = ask(&node).await.unwrap_err();
            assert!(error.is_retry() && error.to_string().contains("timed out"), "{error}");
            first.0.hangs.store(false, Ordering::Relaxed);
            ask(&node).await.unwrap();
            second.0.hangs.store(false, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_node_of_another_chain_is_never_believed() {
        let ((ours, first), (theirs, second)) = (Dummy::start(7, false).await, Dummy::start(8, false).await);
        let node = Node::connect_within(&format!("{first},{second}"), TIMEOUT).await.unwrap();
        ours.hangs.store(true, Ordering::Relaxed);
        let error = ask(&node).await.unwrap_err();
        assert!(error.to_string().contains("it serves chain 8, not 7"), "{error}");
        assert_eq!(theirs.asked(), 1);
    }

    #[tokio::test]
    async fn addresses_that_are_none_are_refused() {
        for urls in ["", "http://a,", "ftp://a", &["http://a"; 9].join(",")] {
            assert!(matches!(Node::connect(urls).await, Err(ChainError::BadUrl(_))), "{urls}");
        }
    }
}
