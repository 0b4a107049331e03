//! Workers' connections: one task each, bounded channels, transfers beside the control stream.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use models::update::UpdateCheck;
use models::zoo::parameter_count;
use protocol::hash::Digest;
use protocol::ids::{Nonce, TaskId, WorkerId};
use protocol::job::{Acceptance, Reason, Receipt};
use protocol::quic::{
    Blob, CloseCode, ControlReceiver, ControlSender, Inspect, LinkError, Peer, Server, Spool, Transfer,
    UploadRequest,
};
use protocol::sign::eip712::Domain;
use protocol::sign::{EthKey, Signed, Unverified};
use protocol::wire::error::Verdict;
use protocol::wire::message::{ToCoordinator, ToWorker};
use tokio::sync::mpsc;

use super::blobs::Blobs;
use super::event_loop::{Core, Stopped};
use super::metrics::Metrics;
use crate::core::{Event, ExpectedResult};

/// Messages that may wait for one worker; one that reads slower is cut off, and gets them again when it is back.
const OUTGOING_MAX: usize = 256;
/// How long a connection may take to say hello.
const HELLO_WAIT: Duration = Duration::from_secs(10);
/// Bytes of the model kept in memory to be handed out.
const HOT_BLOB_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Something to say to a worker.
#[derive(Debug)]
pub enum Outgoing {
    /// As it is.
    Message(ToWorker),
    /// To be signed first.
    Accept {
        /// The task.
        task: TaskId,
        /// The nonce of its receipt.
        nonce: Nonce,
        /// The promise.
        acceptance: Box<Acceptance>,
    },
    /// The last word.
    Refuse(Reason),
}

/// All connections.
pub struct Peers {
    core: Core,
    blobs: Arc<Blobs>,
    metrics: Arc<Metrics>,
    key: Arc<EthKey>,
    domain: Domain,
    connected: Mutex<Connected>,
    /// The blob that was fetched last, shared by all who fetch it: a round's model.
    hot: tokio::sync::Mutex<Option<(Digest, Bytes)>>,
}

#[derive(Default)]
struct Connected {
    by_id: BTreeMap<WorkerId, Connection>,
    next: u64,
}

struct Connection {
    number: u64,
    peer: Peer,
    outgoing: mpsc::Sender<Outgoing>,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Peers")
    }
}

impl Peers {
    /// No connection yet. `key` signs acceptances.
    pub fn new(
        core: Core,
        blobs: Arc<Blobs>,
        metrics: Arc<Metrics>,
        key: Arc<EthKey>,
        domain: Domain,
    ) -> Self {
        Self {
            core,
            blobs,
            metrics,
            key,
            domain,
            connected: Mutex::default(),
            hot: tokio::sync::Mutex::default(),
        }
    }

    /// Queues something for a worker, if it is connected.
    pub fn send(&self, to: WorkerId, outgoing: Outgoing) {
        let connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(connection) = connected.by_id.get(&to) else { return };
        if connection.outgoing.try_send(outgoing).is_err() {
            connection.peer.close(CloseCode::TooSlow, "messages are not read fast enough");
        }
    }

    /// Takes connections until the server is closed.
    pub async fn accept(self: Arc<Self>, server: Arc<Server>) {
        while let Some(handshake) = server.accept().await {
            let peers = self.clone();
            tokio::spawn(async move {
                match handshake.finish().await {
                    Ok(peer) => peers.serve(peer).await,
                    Err(error) => tracing::debug!(%error, "handshake failed"),
                }
            });
        }
    }

    async fn serve(self: Arc<Self>, peer: Peer) {
        let worker = peer.worker();
        let end = self.talk(&peer).await;
        match &end {
            Ok(()) => tracing::info!(%worker, "worker hung up"),
            Err(error) => tracing::info!(%worker, %error, "worker lost"),
        }
        if let Err(error) = end
            && error.verdict() == Verdict::Misbehaved
        {
            self.metrics.misbehaved.inc();
            peer.close(CloseCode::Misbehaved, &error.to_string());
        }
        peer.close(CloseCode::Done, "goodbye");
    }

    async fn talk(self: &Arc<Self>, peer: &Peer) -> Result<(), LinkError> {
        let worker = peer.worker();
        let (sender, mut receiver) = peer.accept_control::<ToWorker, ToCoordinator>().await?;
        let first = tokio::time::timeout(HELLO_WAIT, receiver.recv()).await;
        let Ok(Some(ToCoordinator::Hello(hello))) = first.map_err(|_| LinkError::Unexpected("silence"))?
        else {
            return Err(LinkError::Unexpected("first message, which must be a hello"));
        };
        tracing::info!(%worker, address = %peer.remote_address(), software = %hello.software, "hello");
        let (outgoing, queue) = mpsc::channel(OUTGOING_MAX);
        let number = self.enter(worker, peer, outgoing);
        let writer = tokio::spawn(self.clone().write(peer.clone(), sender, queue));
        let transfers = tokio::spawn(self.clone().transfers(peer.clone()));
        let told = self.core.tell(Event::Hello { worker, hello: Box::new(hello) }).await;
        let end = match told {
            Ok(()) => self.listen(worker, &mut receiver).await,
            Err(Stopped) => Ok(()),
        };
        transfers.abort();
        if self.leave(worker, number) {
            // Dropping the queue's other end lets the writer finish what it has.
            let _ = self.core.tell(Event::Lost { worker }).await;
        }
        drop(writer);
        end
    }

    /// Notes a connection; an older one of the same worker is closed. Returns the connection's number.
    fn enter(&self, worker: WorkerId, peer: &Peer, outgoing: mpsc::Sender<Outgoing>) -> u64 {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        connected.next += 1;
        let number = connected.next;
        let connection = Connection { number, peer: peer.clone(), outgoing };
        if let Some(older) = connected.by_id.insert(worker, connection) {
            older.peer.close(CloseCode::Replaced, "the worker has connected again");
        }
        self.metrics.connections.set(connected.by_id.len() as i64);
        number
    }

    /// Forgets a connection; whether it was the worker's newest.
    fn leave(&self, worker: WorkerId, number: u64) -> bool {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = connected.by_id.get(&worker).is_some_and(|connection| connection.number == number);
        if newest {
            connected.by_id.remove(&worker);
        }
        self.metrics.connections.set(connected.by_id.len() as i64);
        newest
    }

    async fn write(
        self: Arc<Self>,
        peer: Peer,
        mut sender: ControlSender<ToWorker>,
        mut queue: mpsc::Receiver<Outgoing>,
    ) {
        while let Some(outgoing) = queue.recv().await {
            let (message, last) = match outgoing {
                Outgoing::Message(message) => (message, false),
                Outgoing::Accept { task, nonce, acceptance } => {
                    let acceptance = Box::new(acceptance.sign(&self.domain, &self.key));
                    (ToWorker::Accepted { nonce, task, acceptance }, false)
                }
                Outgoing::Refuse(reason) => (ToWorker::Refused(reason), true),
            };
            if let Err(error) = sender.send(&message).await {
                tracing::debug!(worker = %peer.worker(), %error, "could not send");
                peer.close(CloseCode::TooSlow, &error.to_string());
                return;
            }
            if last {
                // Fails only if the worker has gone, and then it needs no last word.
                let _ = sender.finish().await;
                peer.close(CloseCode::NotAllowed, "not let in");
                return;
            }
        }
    }

    async fn listen(
        &self,
        worker: WorkerId,
        receiver: &mut ControlReceiver<ToCoordinator>,
    ) -> Result<(), LinkError> {
        while let Some(message) = receiver.recv().await? {
            let event = match message {
                ToCoordinator::Hello(_) => return Err(LinkError::Unexpected("second hello")),
                ToCoordinator::Progress { task, done, of, loss } => {
                    Event::Progress { worker, task, done, of, loss }
                }
                ToCoordinator::Decline { task, nonce, reason } => {
                    Event::Declined { worker, task, nonce, reason }
                }
                ToCoordinator::Moved(said) => match said.verify() {
                    Ok(said) => Event::Moved(Box::new(said)),
                    Err(_) => return Err(LinkError::Unexpected("move with a false signature")),
                },
                ToCoordinator::Leaving => Event::Leaving { worker },
                ToCoordinator::Receipt(receipt) => match self.take_receipt(worker, receipt).await {
                    Ok(()) => continue,
                    Err(ReceiptFault::Forged) => {
                        return Err(LinkError::Unexpected("receipt with a false signature"));
                    }
                    Err(ReceiptFault::Stopped) => return Ok(()),
                },
            };
            if self.core.tell(event).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Checks a receipt's signature, and its result on disk against what the task must return, and tells the core.
    async fn take_receipt(&self, worker: WorkerId, receipt: Unverified<Receipt>) -> Result<(), ReceiptFault> {
        let receipt: Signed<Receipt> = receipt.verify().map_err(|_| ReceiptFault::Forged)?;
        let body = receipt.body().clone();
        let expected = self.core.read(move |core| core.expected_result(worker, body.task, body.nonce));
        let _relying = self.blobs.relying().await;
        let result = match expected.await.map_err(|Stopped| ReceiptFault::Stopped)? {
            Err(reason) => Err(reason),
            Ok(expected) => {
                let (blobs, body) = (self.blobs.clone(), receipt.body().clone());
                tokio::task::spawn_blocking(move || check_stored(&blobs, worker, &body, &expected))
                    .await
                    .unwrap_or_else(|_| Err("the result could not be checked".into()))
            }
        };
        let event = Event::Receipt { worker, receipt: Box::new(receipt), result };
        self.core.tell(event).await.map_err(|Stopped| ReceiptFault::Stopped)
    }

    async fn transfers(self: Arc<Self>, peer: Peer) {
        while let Ok(incoming) = peer.accept_transfer().await {
            let (peers, worker) = (self.clone(), peer.worker());
            tokio::spawn(async move {
                let done = match incoming.read().await {
                    Ok(Transfer::Fetch(fetch)) => peers.serve_fetch(worker, fetch).await,
                    Ok(Transfer::Upload(upload)) => peers.take_upload(worker, upload).await,
                    Err(error) => Err(error),
                };
                match done {
                    Ok(()) => {}
                    // The operator's to mend: workers try again for a while only.
                    Err(error @ LinkError::File { .. }) => {
                        tracing::error!(%worker, %error, "transfer failed")
                    }
                    Err(error) => tracing::debug!(%worker, %error, "transfer failed"),
                }
            });
        }
    }

    async fn serve_fetch(
        &self,
        worker: WorkerId,
        fetch: protocol::quic::FetchRequest,
    ) -> Result<(), LinkError> {
        let digest = fetch.digest();
        match self.core.read(move |core| core.may_fetch(worker, &digest)).await {
            Ok(true) => {}
            Ok(false) => {
                fetch.refuse("none of your tasks needs that blob".into()).await;
                return Ok(());
            }
            Err(Stopped) => return Ok(()),
        }
        let blob = self.hot_blob(digest).await;
        let bytes = fetch.serve(blob).await?;
        self.metrics.bytes_down.inc_by(bytes);
        // Fails only when the node stops.
        let _ = self.core.tell(Event::HandedOut { worker, digest, bytes }).await;
        Ok(())
    }

    /// A blob to hand out, from memory: read once for all who come for it at the same time.
    async fn hot_blob(&self, digest: Digest) -> Blob {
        if self.blobs.len(&digest).is_none_or(|bytes| bytes > HOT_BLOB_BYTES_MAX) {
            return Blob::File(self.blobs.path(&digest));
        }
        // Held while reading, so that the others wait instead of reading too.
        let mut hot = self.hot.lock().await;
        if let Some((held, bytes)) = &*hot
            && *held == digest
        {
            return Blob::Memory(bytes.clone());
        }
        // The one before goes first, or both are in memory for a moment.
        *hot = None;
        let blobs = self.blobs.clone();
        let read = tokio::task::spawn_blocking(move || blobs.read(&digest, HOT_BLOB_BYTES_MAX)).await;
        let Ok(Ok(bytes)) = read else { return Blob::File(self.blobs.path(&digest)) };
        let bytes = Bytes::from(bytes);
        *hot = Some((digest, bytes.clone()));
        Blob::Memory(bytes)
    }

    async fn take_upload(&self, worker: WorkerId, upload: UploadRequest) -> Result<(), LinkError> {
        let (task, nonce, digest) = (upload.task(), upload.nonce(), upload.digest());
        let expected = match self.core.read(move |core| core.expected_result(worker, task, nonce)).await {
            Ok(Ok(expected)) => expected,
            Ok(Err(reason)) => {
                upload.refuse(reason).await;
                return Ok(());
            }
            Err(Stopped) => return Ok(()),
        };
        if self.blobs.has_from(&digest, worker) && self.blobs.len(&digest) == Some(upload.bytes()) {
            return upload.already_stored().await;
        }
        let (bytes_max, inspect) = match inspector(&expected) {
            Ok(found) => found,
            Err(reason) => {
                upload.refuse(reason).await;
                return Ok(());
            }
        };
        let stored = match self.blobs.prepare(&digest) {
            Ok(stored) => stored,
            Err(error) => {
                tracing::error!(%error, "cannot make a blob folder");
                upload.abandon();
                return Ok(());
            }
        };
        let name = format!("{}-{}", &worker.to_string()[2..18], &digest.to_string()[2..]);
        let spool = Spool { partial: self.blobs.partial(&name), stored, bytes_max, sync: true };
        let received = upload.receive(spool, inspect).await?;
        self.metrics.bytes_up.inc_by(received.bytes_received());
        let blobs = self.blobs.clone();
        match tokio::task::spawn_blocking(move || blobs.mark(&digest, worker)).await {
            Ok(Ok(())) => received.confirm().await,
            failed => {
                tracing::error!(?failed, "cannot note an upload");
                received.abandon();
                Ok(())
            }
        }
    }
}

enum ReceiptFault {
    Forged,
    Stopped,
}

/// The most bytes a result may have, and what looks at them while they arrive.
fn inspector(expected: &ExpectedResult) -> Result<(u64, ResultCheck), Reason> {
    match expected {
        ExpectedResult::Update { model, scale_bits } => {
            let parameters = parameter_count(model).map_err(|error| Reason::from(error.to_string()))? as u64;
            let bytes = models::update::update_bytes(parameters);
            Ok((bytes, ResultCheck::Update(Some(UpdateCheck::new(parameters, *scale_bits)))))
        }
        ExpectedResult::Answers { model, items, .. } => {
            Ok((models::infer::task::answers_bytes_max(model, *items), ResultCheck::Answers))
        }
    }
}

/// Looks at a result while it arrives.
#[derive(Debug)]
pub enum ResultCheck {
    /// Wrong headers and lengths are refused at once.
    Update(Option<UpdateCheck>),
    /// Small, and looked at whole when the receipt comes.
    Answers,
}

impl Inspect for ResultCheck {
    fn chunk(&mut self, bytes: &[u8]) -> Result<(), String> {
        match self {
            Self::Update(Some(check)) => check.push(bytes).map_err(|error| error.to_string()),
            Self::Update(None) | Self::Answers => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), String> {
        match self {
            Self::Update(check) => {
                check.take().map_or(Ok(()), UpdateCheck::finish).map_err(|error| error.to_string())
            }
            Self::Answers => Ok(()),
        }
    }
}

/// Whether the result that a receipt names lies on disk and is what the task must return.
fn check_stored(
    blobs: &Blobs,
    worker: WorkerId,
    receipt: &Receipt,
    expected: &ExpectedResult,
) -> Result<(), Reason> {
    let length = blobs.len(&receipt.result).filter(|_| blobs.has_from(&receipt.result, worker));
    let Some(length) = length else {
        return Err("the result was not uploaded before its receipt".into());
    };
    if length != receipt.result_bytes {
        return Err(
            format!("the receipt counts {} bytes, the result has {length}", receipt.result_bytes).into()
        );
    }
    let say = |error: &dyn std::fmt::Display| Reason::from(error.to_string());
    match expected {
        ExpectedResult::Update { model, scale_bits } => {
            let parameters = parameter_count(model).map_err(|error| say(&error))? as u64;
            if length != models::update::update_bytes(parameters) {
                return Err(format!(
                    "the update has {length} bytes; the model's has {parameters} parameters"
                )
                .into());
            }
            // Beyond the header every payload of that length is a valid update: integers have no NaN.
            let mut head = [0; models::update::HEADER_BYTES];
            let mut file = blobs.open_blob(&receipt.result).map_err(|error| say(&error))?;
            std::io::Read::read_exact(&mut file, &mut head).map_err(|error| say(&error))?;
            UpdateCheck::new(parameters, *scale_bits).push(&head).map_err(|error| say(&error))
        }
        ExpectedResult::Answers { model, first_item, items } => {
            let most = models::infer::task::answers_bytes_max(model, *items);
            let bytes = blobs.read(&receipt.result, most).map_err(|error| say(&error))?;
            models::infer::task::check_answers(model, *first_item, *items as usize, &bytes)
                .map_err(|error| say(&error))
        }
    }
}
