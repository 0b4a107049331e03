//! The shell: start, run, drain, stop.

mod again;
pub mod aggregate;
pub mod blobs;
pub mod chain;
pub mod checks;
pub mod clock;
pub mod event_loop;
pub mod http;
mod leaves;
pub mod metrics;
pub mod peers;
mod places;
pub mod posted;
mod prove;
pub mod stakes;
pub mod store;
mod watch;

use std::future::Future as _;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use contracts::base_layer::BaseLayer as _;
use contracts::rpc::{BlobSource, RpcChain, RpcWriter};
use protocol::api::{Info, SCHEMA};
use protocol::ids::CoordinatorId;
use protocol::quic::{CloseCode, LinkError, Server, ServerLimits, key_file};
use protocol::sign::{EthKey, NodeKey};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::config::Config;
use crate::core::posting::BatchData;
use crate::core::{self, Coordinator, Event};
use crate::error::NodeError;
use again::Outages;
use aggregate::Aggregator;
use blobs::Blobs;
use chain::Chain;
use checks::Checks;
use clock::Clock;
use event_loop::{Core, EventLoop, Outlets};
use metrics::Metrics;
use peers::Peers;
use places::Places;
use posted::PostedBlobs;
use stakes::StakeWatch;
use store::Store;

/// Milliseconds between two looks at a development chain, and at a real one.
const POLL_MS: (u64, u64) = (200, 4_000);

/// How long a part's reason to fail may come after another part has ended because of it.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A running coordinator.
#[derive(Debug)]
pub struct Node {
    info: Info,
    http: SocketAddr,
    core: Core,
    server: Arc<Server>,
    failures: Vec<oneshot::Receiver<NodeError>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Node {
    /// Opens everything, reads the facts back, and starts to act.
    ///
    /// # Errors
    /// Whatever keeps it from starting, in words that name the fix. Nothing has been changed then but the data
    /// directory.
    pub async fn start(config: Config) -> Result<Self, NodeError> {
        // The lock is taken first: whoever comes second changes nothing.
        let (store, records) = Store::open(&config.data_dir)?;
        let seed = key_file::load_or_create(&config.data_dir.join("identity.key"))?;
        let node_key = NodeKey::from_seed(&seed);
        // Derived from the identity, so that a restart knows its own nonces and nobody else does.
        let secret = node_key.derive("fedroll 1 assignment nonces");
        let salts = node_key.derive("fedroll 1 challenge salts");
        let operator = Arc::new(read_key(&config.key_file)?);
        let posted = Arc::new(PostedBlobs::open(&config.data_dir)?);
        // What stands in blobs is its own, and it knows what that says.
        let own = BlobSource::Mirror(posted.folder().to_owned());
        let reader = RpcChain::connect(&config.rpc, config.rollup).await?.with_blobs(own).with_gaps();
        let layer = reader.clone().with_key(&operator);
        let proposer = layer.config().proposer;
        if proposer != operator.address() {
            return Err(NodeError::NotProposer { proposer, operator: operator.address() });
        }
        let registry = match config.registry {
            Some(address) => Some(layer.reader().registry(address).await?),
            None => None,
        };
        let node_key = Arc::new(node_key);
        let blobs = Arc::new(Blobs::open(&config.data_dir)?);
        let clock = Arc::new(Clock::default());
        if let Some(newest) = records.last() {
            clock.at_least(newest.at);
        }
        let decisions = core_config(&config, &layer, &operator, secret);
        let coordinator = Coordinator::restore(decisions, records);
        let stored = event_loop::stored_blobs(&coordinator, |digest| blobs.has(digest));

        let server = Server::bind(config.listen, &node_key, ServerLimits::default());
        let server = server.map_err(|error| match error {
            LinkError::Socket { address, source } => NodeError::Listen { what: "workers", address, source },
            other => other.into(),
        })?;
        let server = Arc::new(server);
        let listener = TcpListener::bind(config.http).await.map_err(|source| NodeError::Listen {
            what: "HTTP",
            address: config.http,
            source,
        })?;
        let http = listener.local_addr().map_err(|source| NodeError::Listen {
            what: "HTTP",
            address: config.http,
            source,
        })?;
        let info = info(&config, &layer, &server, operator.address())?;

        let spawned = |source| NodeError::Disk { what: "starting a thread", source };
        let metrics = Arc::new(Metrics::default());
        let (core, inlet) = event_loop::channel();
        let (failed, aggregator_failure) = oneshot::channel();
        let (aggregator, aggregator_thread) =
            Aggregator::spawn(core.clone(), blobs.clone(), config.threads, failed).map_err(spawned)?;
        let (poster, requests) = mpsc::unbounded_channel();
        let domain = layer.domain();
        let peers =
            Arc::new(Peers::new(core.clone(), blobs.clone(), metrics.clone(), operator.clone(), domain));
        let (prover, wrong) = mpsc::unbounded_channel();
        let (key, cores) = (node_key.clone(), config.threads);
        let checks = Checks::open(core.clone(), blobs.clone(), key, domain, cores, &config.data_dir)?;
        let checks = Arc::new(checks);
        let outlets = Outlets {
            peers: peers.clone(),
            aggregator,
            checks: checks.clone(),
            poster,
            prover,
            metrics: metrics.clone(),
        };
        let event_loop = EventLoop { core: coordinator, store, clock: clock.clone(), outlets };
        let (core_thread, core_failure) = event_loop.spawn(inlet).map_err(spawned)?;
        for digest in stored {
            // Fails only if the core has stopped, which is noticed below.
            let _ = core.tell(Event::BlobStored { digest }).await;
        }

        let poll = config.poll_ms.unwrap_or(if info.development_chain { POLL_MS.0 } else { POLL_MS.1 });
        let poll = Duration::from_millis(poll);
        let outages = Outages::default();
        if let Some(registry) = registry {
            let (layer, core, patience) = (layer.reader().clone(), core.clone(), outages.patience());
            tokio::spawn(StakeWatch { layer, registry, core, poll, patience }.watch());
        }
        let chain = Arc::new(Chain {
            operator: operator.address(),
            layer,
            core: core.clone(),
            clock: clock.clone(),
            poll,
            outages,
            places: Places::default(),
            asks_prices: matches!(config.batch_data, BatchData::Auto { .. }),
            posted_blobs: posted.clone(),
        });
        let (failed, chain_failure) = oneshot::channel();
        tokio::spawn(chain.clone().post(requests, failed));
        tokio::spawn(chain.clone().answer());
        tokio::spawn(chain.clone().prove(wrong, salts));
        tokio::spawn(chain.watch());
        tokio::spawn(peers.accept(server.clone()));
        let api = http::Api {
            core: core.clone(),
            blobs,
            posted,
            checks,
            metrics,
            clock,
            domain,
            key: operator,
            base_layer: reader,
            info: info.clone(),
            uploads: tokio::sync::Semaphore::new(http::BLOB_UPLOADS_MAX),
        };
        let router = http::router(Arc::new(api));
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the HTTP API has stopped");
            }
        });
        let threads = vec![core_thread, aggregator_thread];
        Ok(Self {
            info,
            http,
            core,
            server,
            failures: vec![core_failure, chain_failure, aggregator_failure],
            threads,
        })
    }

    /// Who it is and where it settles.
    pub const fn info(&self) -> &Info {
        &self.info
    }

    /// Where the HTTP API listens.
    pub const fn http(&self) -> SocketAddr {
        self.http
    }

    /// Waits for something that cannot be gone on from.
    ///
    /// A part that fails takes the others along, which end without a word: whoever has one is waited for.
    pub async fn failed(&mut self) -> NodeError {
        let mut last_words = self.first_word().await;
        let others = async {
            while last_words.is_none() && !self.failures.is_empty() {
                last_words = self.first_word().await;
            }
        };
        // Late means that there are none.
        let _ = tokio::time::timeout(LAST_WORDS, others).await;
        last_words.unwrap_or_else(|| {
            NodeError::Config("a part of the coordinator has stopped unexpectedly; see the log".into())
        })
    }

    /// The next part's failure; `None` if it has ended without one.
    async fn first_word(&mut self) -> Option<NodeError> {
        std::future::poll_fn(|context| {
            for at in 0..self.failures.len() {
                if let Poll::Ready(word) = Pin::new(&mut self.failures[at]).poll(context) {
                    self.failures.swap_remove(at);
                    return Poll::Ready(word.ok());
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Says goodbye to workers, finishes what is under way in the core, and stops. A crash instead loses nothing.
    pub async fn stop(self) {
        self.server.close(CloseCode::ShuttingDown, "the coordinator is stopping").await;
        self.core.stop().await;
        let join = tokio::task::spawn_blocking(move || {
            for thread in self.threads.into_iter().take(1) {
                // A panic of that thread has been printed.
                let _ = thread.join();
            }
        });
        // Fails only if the runtime is going down already.
        let _ = join.await;
    }
}

fn core_config(config: &Config, layer: &RpcWriter, operator: &EthKey, secret: [u8; 32]) -> core::Config {
    core::Config {
        operator: operator.address(),
        domain: layer.domain(),
        registry: config.registry,
        close_grace_s: layer.config().close_grace,
        omission_window_s: layer.config().omission_window,
        settle_by_s: config.settle_by_s,
        batch_data: config.batch_data,
        seal_after_ms: config.seal_after_ms,
        reconnect_grace_ms: config.reconnect_grace_ms,
        keep_rounds: config.keep_rounds,
        secret,
        admission: config.admission.clone(),
    }
}

fn info(
    config: &Config,
    layer: &RpcWriter,
    server: &Server,
    operator: protocol::ids::Address,
) -> Result<Info, NodeError> {
    let local = server.local_address()?;
    let coordinator: CoordinatorId = server.id();
    let host = match &config.public_address {
        Some(public) => public.clone(),
        None if local.ip().is_unspecified() => format!("127.0.0.1:{}", local.port()),
        None => local.to_string(),
    };
    Ok(Info {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").into(),
        coordinator,
        worker_address: format!("{coordinator}@{host}"),
        operator,
        chain_id: layer.chain().chain_id,
        development_chain: layer.chain().is_development(),
        rpc: config.rpc.clone(),
        rollup: layer.contract(),
        registry: config.registry,
        token: layer.config().token,
        deployed_at: layer.deployed_block(),
        open: config.admission.open,
    })
}

fn read_key(path: &Path) -> Result<EthKey, NodeError> {
    let secret = key_file::read(path)?;
    EthKey::from_secret(&secret)
        .map_err(|error| NodeError::BadKey { file: path.to_owned(), detail: error.to_string() })
}
