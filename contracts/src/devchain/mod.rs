//! The development chain: a base layer for one machine, in a process of its own.
//!
//! revm runs the bytecode that a real chain would run; every change is in a journal on disk before it is answered; the
//! outside is Ethereum JSON-RPC on loopback, so `cast` and every other tool can look. There is no consensus, no
//! history of states and no security: its money is worth nothing, and it says so wherever it names itself.
//!
//! `chain` executes (`tx` reads what it executes, `blobs` what comes with it) and asks no clock, `journal` remembers, `methods` answers, this file serves HTTP.

mod blobs;
mod chain;
mod clock;
mod error;
mod journal;
mod methods;
mod tx;
mod views;

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use alloy::primitives::{Address, U256, address};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use protocol::sign::EthKey;
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub use error::DevChainError;

use chain::Chain;
use error::Refusal;
use journal::{Journal, Record};
use methods::{Service, Timing};

/// What the chain calls itself.
pub const CLIENT: &str = concat!("fedroll development chain/", env!("CARGO_PKG_VERSION"));
/// Bytes of one HTTP request: six blobs as hexadecimal text fit twice over.
pub const BODY_BYTES_MAX: usize = 4 << 20;
/// Requests in one JSON-RPC batch.
pub const REQUESTS_MAX: usize = 100;
/// Wei the faucet starts with: a million ether.
pub const FAUCET_WEI: u128 = 1_000_000 * 1_000_000_000_000_000_000;

const FAUCET: Address = address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266");

/// The first development key of anvil and hardhat. Everyone knows it: on any other chain, whatever it holds is lost.
pub fn faucet_key() -> EthKey {
    EthKey::from_text("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
        .expect("the well-known development key is a key")
}

/// Where the chain keeps its journal and where it listens.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its directory; created if missing, used by one process at a time.
    pub dir: PathBuf,
    /// A loopback address; port 0 takes any free one.
    pub addr: SocketAddr,
}

/// A development chain that has replayed its journal and listens, and answers once it is [run](Server::run).
#[derive(Debug)]
pub struct Server {
    service: Service,
    listener: TcpListener,
    addr: SocketAddr,
}

impl Server {
    /// Opens the directory, replays its journal and takes the port.
    pub async fn open(config: Config) -> Result<Self, DevChainError> {
        let addr = config.addr;
        if !addr.ip().is_loopback() {
            return Err(DevChainError::NotLoopback { addr });
        }
        let dir = config.dir;
        let service = tokio::task::spawn_blocking(move || replay(&dir)).await;
        let service = service.map_err(|error| DevChainError::Serve(error.into()))??;
        let listener = TcpListener::bind(addr).await;
        let listener = listener.map_err(|source| DevChainError::Listen { addr, source })?;
        let addr = listener.local_addr().map_err(DevChainError::Serve)?;
        Ok(Self { service, listener, addr })
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// The number of its newest block.
    pub fn height(&self) -> u64 {
        self.service.chain.head().header.number
    }

    /// Answers until `stop` is done, then finishes what is under way.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), DevChainError> {
        let service = Arc::new(Mutex::new(self.service));
        let router = Router::new()
            .route("/", post(answer))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(service);
        tracing::info!(addr = %self.addr, client = CLIENT, "listening");
        axum::serve(self.listener, router).with_graceful_shutdown(stop).await.map_err(DevChainError::Serve)
    }
}

/// [`Server::open`], then [`Server::run`].
pub async fn serve(
    config: Config,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), DevChainError> {
    Server::open(config).await?.run(stop).await
}

/// The chain as the journal in `dir` tells it.
fn replay(dir: &Path) -> Result<Service, DevChainError> {
    let (mut journal, records) = Journal::open(dir)?;
    let path = journal.path().to_owned();
    let damaged =
        |line, detail: &str| DevChainError::Journal { path: path.clone(), line, detail: detail.into() };
    let mut records = records.into_iter();
    let mut chain = match records.next() {
        Some((_, Record::Genesis { time, .. })) => Chain::new(time),
        Some((line, _)) => return Err(damaged(line, "the first line does not begin a chain")),
        None => {
            let time = clock::now();
            let genesis = Record::genesis(time);
            let written = journal.append(&genesis);
            written.map_err(|source| DevChainError::File { path: path.clone(), source })?;
            Chain::new(time)
        }
    };
    chain.set_ether(FAUCET, U256::from(FAUCET_WEI));
    for (line, record) in records {
        let (prepared, want) = match record {
            Record::Genesis { .. } => return Err(damaged(line, "a chain begins twice")),
            Record::Forward { seconds } => {
                chain.put_forward(seconds);
                continue;
            }
            Record::Ether { account, wei } => {
                chain.set_ether(account, wei);
                continue;
            }
            Record::Mine { time, state } => (chain.prepare_empty(time), state),
            Record::Transaction { time, raw, state } => {
                let prepared = chain.prepare(&raw, time);
                (prepared.map_err(|refusal| damaged(line, &refusal.message))?.1, state)
            }
        };
        let got = prepared.state();
        if got != want {
            return Err(DevChainError::Replay { path, line, want: want.to_string(), got: got.to_string() });
        }
        chain.commit(prepared);
    }
    Ok(Service { chain, journal, timing: Timing::default() })
}

/// One HTTP request: a JSON-RPC request, or a list of them.
async fn answer(State(service): State<Arc<Mutex<Service>>>, headers: HeaderMap, body: Bytes) -> Response {
    // A page in a browser can send JSON only if we allow it, which we never do: this keeps other sites out.
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/json") {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json\n").into_response();
    }
    let answered = tokio::task::spawn_blocking(move || {
        let mut service =
            service.lock().expect("a request that panicked leaves the chain in doubt: it answers no more");
        respond(&mut service, &body)
    });
    match answered.await {
        Ok(Some(value)) => ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response(),
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the request failed\n").into_response(),
    }
}

fn respond(service: &mut Service, body: &[u8]) -> Option<Value> {
    match serde_json::from_slice(body) {
        Err(error) => {
            Some(failed(Value::Null, &Refusal { code: -32700, message: error.to_string(), data: None }))
        }
        Ok(Value::Array(requests)) if requests.len() > REQUESTS_MAX => {
            let message = format!("at most {REQUESTS_MAX} requests at once");
            Some(failed(Value::Null, &Refusal { code: -32600, message, data: None }))
        }
        Ok(Value::Array(requests)) => {
            let answers: Vec<_> =
                requests.into_iter().filter_map(|request| respond_one(service, request)).collect();
            (!answers.is_empty()).then_some(Value::Array(answers))
        }
        Ok(request) => respond_one(service, request),
    }
}

/// `None` for a notification, which gets no answer.
fn respond_one(service: &mut Service, mut request: Value) -> Option<Value> {
    let id = request.get_mut("id").map(Value::take);
    let params = request.get_mut("params").map_or(Value::Null, Value::take);
    let Some(method) = request.get("method").and_then(Value::as_str) else {
        let refusal = Refusal { code: -32600, message: "a request names a method".into(), data: None };
        return Some(failed(id.unwrap_or(Value::Null), &refusal));
    };
    let answer = service.answer(method, params);
    tracing::debug!(method, ok = answer.is_ok(), "answered");
    let id = id?;
    Some(match answer {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(refusal) => failed(id, &refusal),
    })
}

fn failed(id: Value, refusal: &Refusal) -> Value {
    let mut error = json!({ "code": refusal.code, "message": refusal.message });
    if let Some(data) = &refusal.data {
        error["data"] = json!(data);
    }
    json!({ "jsonrpc": "2.0", "id": id, "error": error })
}
