//! The QUIC link to the coordinator: one connection at a time, one task for its control stream, one for each transfer.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use protocol::hash::Digest;
use protocol::ids::{Nonce, TaskId};
use protocol::job::Reason;
use protocol::quic::{Blob, Client, CloseCode, Link, LinkError};
use protocol::wire::address::CoordinatorAddress;
use protocol::wire::error::Verdict;
use protocol::wire::message::{ToCoordinator, ToWorker};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::cache::Cache;
use super::limits::{GOODBYE_MS_MAX, OUTBOX_MAX};
use crate::core::{Event, LinkId, TransferFailure};

/// The links of a worker: the core uses one at a time.
#[derive(Debug)]
pub struct Links {
    client: Arc<Client>,
    address: CoordinatorAddress,
    events: mpsc::Sender<Event>,
    current: Option<Active>,
    /// The one hung up last, which may still be saying goodbye.
    closing: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Active {
    id: LinkId,
    outbox: mpsc::Sender<ToCoordinator>,
    /// There once the connection stands.
    link: Arc<OnceLock<Link>>,
    task: JoinHandle<()>,
}

impl Links {
    /// Links to one coordinator, answering on `events`.
    pub fn new(client: Client, address: CoordinatorAddress, events: mpsc::Sender<Event>) -> Self {
        Self { client: Arc::new(client), address, events, current: None, closing: None }
    }

    /// Dials.
    pub fn connect(&mut self, id: LinkId) {
        self.hang_up();
        let (outbox, messages) = mpsc::channel(OUTBOX_MAX);
        let link = Arc::new(OnceLock::new());
        let dial =
            Dial { id, client: self.client.clone(), address: self.address.clone(), link: link.clone() };
        let task = tokio::spawn(dial.run(messages, self.events.clone()));
        self.current = Some(Active { id, outbox, link, task });
    }

    /// Hangs up after what was sent has left.
    pub fn disconnect(&mut self, id: LinkId) {
        if self.current.as_ref().is_some_and(|active| active.id == id) {
            self.hang_up();
        }
    }

    fn hang_up(&mut self) {
        // Dropping the outbox tells the link's task to say goodbye.
        if let Some(active) = self.current.take() {
            self.closing = Some(active.task);
        }
    }

    /// Sends, if that link is still there and takes it.
    pub fn send(&mut self, id: LinkId, message: ToCoordinator) {
        let Some(active) = self.current.as_ref().filter(|active| active.id == id) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = active.outbox.try_send(message)
            && let Some(link) = active.link.get()
        {
            // It has taken nothing for thousands of messages. Its end comes back as an event.
            link.close(CloseCode::TooSlow, "the control stream takes no messages");
        }
    }

    fn link(&self, id: LinkId) -> Option<Link> {
        let active = self.current.as_ref().filter(|active| active.id == id)?;
        active.link.get().cloned()
    }

    /// Fetches a blob into the cache.
    pub fn fetch(&self, id: LinkId, digest: Digest, cache: &Arc<Cache>, in_use: BTreeSet<Digest>) {
        let (link, cache, events) = (self.link(id), cache.clone(), self.events.clone());
        tokio::spawn(async move {
            let event = match fetch(link, digest, &cache, &in_use).await {
                Ok(()) => Event::BlobReady(digest),
                Err(failure) => Event::BlobFailed { link: id, digest, failure },
            };
            // Only a process that is about to end has stopped listening; so below.
            let _ = events.send(event).await;
        });
    }

    /// Uploads a result.
    pub fn upload(&self, id: LinkId, task: TaskId, nonce: Nonce, digest: Digest, path: PathBuf) {
        let (link, events) = (self.link(id), self.events.clone());
        tokio::spawn(async move {
            let uploaded = match link {
                Some(_) if !path.is_file() => Err(TransferFailure::ResultMissing),
                Some(link) => {
                    let sent = link.upload(task, nonce, digest, Blob::File(path)).await;
                    sent.map(|_| ()).map_err(failure)
                }
                None => Err(TransferFailure::Lost("the link is gone".into())),
            };
            let event = match uploaded {
                Ok(()) => Event::Uploaded(nonce),
                Err(failure) => Event::UploadFailed { link: id, nonce, failure },
            };
            let _ = events.send(event).await;
        });
    }

    /// Waits, not for long, until the goodbyes have left.
    pub async fn shut_down(mut self) {
        self.hang_up();
        if let Some(task) = self.closing.take() {
            // Late or broken: the process ends either way.
            let _ = tokio::time::timeout(Duration::from_millis(GOODBYE_MS_MAX), task).await;
        }
        self.client.close(CloseCode::Done, "the worker ends").await;
    }
}

struct Dial {
    id: LinkId,
    client: Arc<Client>,
    address: CoordinatorAddress,
    link: Arc<OnceLock<Link>>,
}

impl Dial {
    async fn run(self, mut messages: mpsc::Receiver<ToCoordinator>, events: mpsc::Sender<Event>) {
        let link = tokio::select! {
            connected = self.client.connect(&self.address) => connected,
            // Nothing is sent before the link is up: this is the end of the outbox.
            _ = messages.recv() => return,
        };
        let ended = match link {
            Ok(link) => self.talk(link, &mut messages, &events).await,
            Err(error) => Some(error),
        };
        if let Some(error) = ended {
            // Once the coordinator has said no in words it closes: asking again later is the core's decision.
            let said_no = matches!(&error, LinkError::Closed { code: CloseCode::NotAllowed, .. });
            let hopeless = error.verdict() == Verdict::Stop && !said_no;
            let reason = Reason::from(error.to_string());
            let _ = events.send(Event::LinkDown { link: self.id, reason, hopeless }).await;
        }
    }

    /// Talks until this side hangs up (`None`) or the link ends.
    async fn talk(
        &self,
        link: Link,
        messages: &mut mpsc::Receiver<ToCoordinator>,
        events: &mpsc::Sender<Event>,
    ) -> Option<LinkError> {
        let (mut sender, mut receiver) = match link.open_control::<ToCoordinator, ToWorker>().await {
            Ok(control) => control,
            Err(error) => return Some(error),
        };
        let _ = self.link.set(link.clone());
        let _ = events.send(Event::LinkUp(self.id)).await;
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => {
                        if let Err(error) = sender.send(&message).await {
                            return Some(error);
                        }
                    }
                    None => {
                        // The link may be gone already, which is what is wanted.
                        let _ = sender.finish().await;
                        link.close(CloseCode::Done, "");
                        return None;
                    }
                },
                received = receiver.recv() => match received {
                    Ok(Some(message)) => {
                        let event = Event::Message { link: self.id, message: Box::new(message) };
                        let _ = events.send(event).await;
                    }
                    Ok(None) => return Some(link.closed().await),
                    Err(error) => {
                        if error.verdict() == Verdict::Misbehaved {
                            link.close(CloseCode::Misbehaved, &error.to_string());
                        }
                        return Some(error);
                    }
                },
            }
        }
    }
}

async fn fetch(
    link: Option<Link>,
    digest: Digest,
    cache: &Cache,
    in_use: &BTreeSet<Digest>,
) -> Result<(), TransferFailure> {
    if cache.holds(&digest) {
        return Ok(());
    }
    let link = link.ok_or_else(|| TransferFailure::Lost("the link is gone".into()))?;
    let (partial, stored) = (cache.partial_path(&digest), cache.path(&digest));
    let fetched = link.fetch_to_file(digest, &partial, &stored, cache.room(in_use)).await.map_err(failure)?;
    cache
        .add(digest, fetched.bytes, in_use)
        .map_err(|error| TransferFailure::Local(Reason::from(format!("the cache cannot be tidied: {error}"))))
}

fn failure(error: LinkError) -> TransferFailure {
    match error {
        LinkError::Refused(reason) => TransferFailure::Refused(reason),
        LinkError::TooLarge { got, limit } => TransferFailure::Local(Reason::from(format!(
            "a blob of {got} bytes does not fit into the {limit} bytes that the cache has room for (cache_limit)"
        ))),
        LinkError::File { .. } => TransferFailure::Local(Reason::from(error.to_string())),
        other => TransferFailure::Lost(Reason::from(other.to_string())),
    }
}
