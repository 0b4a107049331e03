//! A node that misbehaves: it stands before a real one, and loses, refuses, swallows or leaves unanswered what it is
//! told to.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::watch;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is answered by the node.
    Pass,
    /// Nobody answers, and the node never sees it.
    Lost,
    /// The node does it, and nobody hears of it.
    AnswerLost,
    /// It is refused with an error of JSON-RPC.
    Refused,
    /// A transaction is taken and never passed on; its hash is the answer.
    Swallowed,
    /// Nobody answers, and the connection stays, until it behaves again.
    Hung,
    /// It is answered with something that cannot be read.
    Nonsense,
    /// It is answered with an empty list, whatever there is.
    Empty,
}

type Rule = Box<dyn FnMut(&str, &Value) -> Fate + Send>;

struct Inner {
    to: String,
    http: reqwest::Client,
    rule: Mutex<Rule>,
    met: Mutex<Vec<(String, Fate)>>,
    healed: watch::Sender<()>,
}

/// The misbehaving node.
#[derive(Clone)]
pub struct Proxy {
    /// Its JSON-RPC.
    pub url: String,
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({})", self.url)
    }
}

impl Proxy {
    /// One that behaves, until it is told otherwise.
    pub async fn before(node: &str) -> Result<Self> {
        let inner = Arc::new(Inner {
            to: node.to_owned(),
            http: reqwest::Client::new(),
            rule: Mutex::new(Box::new(|_, _| Fate::Pass)),
            met: Mutex::new(Vec::new()),
            healed: watch::Sender::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new()
            .route("/", post(answer))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, inner })
    }

    /// From here on, this decides over each request by its method and parameters.
    pub fn rule(&self, rule: impl FnMut(&str, &Value) -> Fate + Send + 'static) {
        *self.inner.rule.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(rule);
    }

    /// It behaves again.
    pub fn heal(&self) {
        self.rule(|_, _| Fate::Pass);
        self.inner.healed.send_replace(());
    }

    /// How often a method has met a fate.
    pub fn count(&self, method: &str, fate: Fate) -> usize {
        let met = self.inner.met.lock().unwrap_or_else(PoisonError::into_inner);
        met.iter().filter(|(name, what)| name == method && *what == fate).count()
    }
}

impl Inner {
    fn decide(&self, request: &Value) -> Fate {
        let method = request["method"].as_str().unwrap_or_default();
        let fate = self.rule.lock().unwrap_or_else(PoisonError::into_inner)(method, &request["params"]);
        self.met.lock().unwrap_or_else(PoisonError::into_inner).push((method.to_owned(), fate));
        fate
    }

    async fn forward(&self, body: Bytes) -> Result<Bytes, reqwest::Error> {
        let kind = (header::CONTENT_TYPE, "application/json");
        let sent = self.http.post(&self.to).header(kind.0, kind.1).body(body).send().await?;
        sent.bytes().await
    }
}

async fn answer(State(inner): State<Arc<Inner>>, body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let said = |what: Value| ([(header::CONTENT_TYPE, "application/json")], what.to_string()).into_response();
    let id = &request["id"];
    let mut healed = inner.healed.subscribe();
    match inner.decide(&request) {
        Fate::Pass => match inner.forward(body).await {
            Ok(answer) => ([(header::CONTENT_TYPE, "application/json")], answer).into_response(),
            Err(_) => StatusCode::BAD_GATEWAY.into_response(),
        },
        Fate::Lost => StatusCode::BAD_GATEWAY.into_response(),
        Fate::Hung => {
            // An error is that the proxy is gone.
            let _ = healed.changed().await;
            StatusCode::BAD_GATEWAY.into_response()
        }
        Fate::AnswerLost => {
            // Whatever it says is not passed on.
            let _ = inner.forward(body).await;
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
        Fate::Refused => said(
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32_603, "message": "internal error" } }),
        ),
        Fate::Nonsense => said(json!({ "jsonrpc": "2.0", "id": id, "result": { "nonsense": true } })),
        Fate::Empty => said(json!({ "jsonrpc": "2.0", "id": id, "result": [] })),
        Fate::Swallowed => {
            let raw = request["params"][0].as_str().unwrap_or_default();
            let hash = alloy::hex::decode(raw).map(alloy::primitives::keccak256).unwrap_or_default();
            said(json!({ "jsonrpc": "2.0", "id": id, "result": hash }))
        }
    }
}
