//! Blobs over the link.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;
use crate::hash::Digest;
use crate::ids::{JobId, Nonce, TaskId};
use crate::rng::Rng;
use crate::wire::message::TransferRequest;

const MIB: usize = 1024 * 1024;
const TASK: TaskId = TaskId { job: JobId(1), settlement: 2, slot: 3 };
const NONCE: Nonce = Nonce([9; 32]);

fn blob(bytes: usize) -> (Bytes, Digest) {
    let mut rng = Rng::new(bytes as u64);
    let blob: Vec<u8> = (0..bytes.div_ceil(8)).flat_map(|_| rng.next().to_le_bytes()).take(bytes).collect();
    let digest = Digest::of(&blob);
    (blob.into(), digest)
}

fn spool(folder: &TempDir, bytes_max: u64) -> Spool {
    let (partial, stored) = paths(folder);
    Spool { partial, stored, bytes_max, sync: true }
}

fn paths(folder: &TempDir) -> (PathBuf, PathBuf) {
    (folder.path().join("partial"), folder.path().join("stored"))
}

async fn next_upload(peer: &Peer) -> UploadRequest {
    match peer.accept_transfer().await.unwrap().read().await.unwrap() {
        Transfer::Upload(upload) => upload,
        Transfer::Fetch(_) => panic!("an upload was expected"),
    }
}

async fn next_fetch(peer: &Peer) -> FetchRequest {
    match peer.accept_transfer().await.unwrap().read().await.unwrap() {
        Transfer::Fetch(fetch) => fetch,
        Transfer::Upload(_) => panic!("a fetch was expected"),
    }
}

async fn receive(peer: &Peer, spool: Spool, inspect: impl Inspect) -> Result<u64, LinkError> {
    let received = next_upload(peer).await.receive(spool, inspect).await?;
    let count = received.bytes_received();
    received.confirm().await?;
    Ok(count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_megabytes_go_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, _client, peer, link) = ready(ServerLimits::default()).await;
    let (bytes, digest) = blob(40 * MIB);

    let upload = link.upload(TASK, NONCE, digest, Blob::Memory(bytes.clone()));
    let (sent, received) = tokio::join!(upload, receive(&peer, spool(&folder, bytes.len() as u64), ()));
    assert_eq!((sent.unwrap(), received.unwrap()), (bytes.len() as u64, bytes.len() as u64));
    let (partial, stored) = paths(&folder);
    assert_eq!(Digest::of(&fs::read(&stored).unwrap()), digest);
    assert!(!partial.exists());

    let fetched = folder.path().join("fetched");
    let serve = async { next_fetch(&peer).await.serve(Blob::File(stored)).await.unwrap() };
    let fetch = link.fetch_to_file(digest, &partial, &fetched, bytes.len() as u64);
    let (sent, fetch) = tokio::join!(serve, fetch);
    assert_eq!(sent, bytes.len() as u64);
    assert_eq!(fetch.unwrap(), Fetched { bytes: sent, bytes_received: sent });
    assert_eq!(fs::read(fetched).unwrap(), bytes);

    let serve = async { next_fetch(&peer).await.serve(Blob::Memory(bytes.clone())).await.unwrap() };
    let (_, fetch) = tokio::join!(serve, link.fetch(digest, bytes.len() as u64));
    assert_eq!(fetch.unwrap(), bytes);
}

/// Counts what it sees and tells.
struct Watch(mpsc::UnboundedSender<usize>);

impl Inspect for Watch {
    fn chunk(&mut self, bytes: &[u8]) -> Result<(), String> {
        let _ = self.0.send(bytes.len());
        Ok(())
    }

    fn finish(&mut self) -> Result<(), String> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_broke_off_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (server, address) = server(ServerLimits::default());
    let client = client(2);
    let (bytes, digest) = blob(12 * MIB);
    let (seen, mut watch) = mpsc::unbounded_channel();

    let (peer, link) = connected(&server, &client, &address).await;
    greet(&peer, &link).await;
    let cut = async {
        for _ in 0..4 {
            watch.recv().await.unwrap();
        }
        link.close(CloseCode::Done, "the cable");
    };
    let upload = link.upload(TASK, NONCE, digest, Blob::Memory(bytes.clone()));
    let (_, sent, received) =
        tokio::join!(cut, upload, receive(&peer, spool(&folder, bytes.len() as u64), Watch(seen)));
    assert!(sent.is_err() && received.is_err());
    let held = fs::metadata(folder.path().join("partial")).unwrap().len();
    assert!(held >= 4 * 128 * 1024, "{held}");

    let (seen, mut watch) = mpsc::unbounded_channel();
    let (peer, link) = connected(&server, &client, &address).await;
    greet(&peer, &link).await;
    let upload = link.upload(TASK, NONCE, digest, Blob::Memory(bytes.clone()));
    let (sent, received) =
        tokio::join!(upload, receive(&peer, spool(&folder, bytes.len() as u64), Watch(seen)));
    assert_eq!(sent.unwrap(), bytes.len() as u64 - held);
    assert_eq!(received.unwrap(), bytes.len() as u64 - held);
    let mut inspected = 0;
    while let Some(count) = watch.recv().await {
        inspected += count;
    }
    assert_eq!(inspected, bytes.len(), "the inspector sees the whole blob, not only the rest");
    assert_eq!(fs::read(folder.path().join("stored")).unwrap(), bytes);
}

#[tokio::test]
async fn a_fetch_goes_on_from_a_partial_file_and_a_spoilt_one_is_thrown_away() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, _client, peer, link) = ready(ServerLimits::default()).await;
    let (bytes, digest) = blob(MIB);
    let (partial, stored) = paths(&folder);
    let total = bytes.len() as u64;
    let again = async |partial: &Path| {
        let serve = async { next_fetch(&peer).await.serve(Blob::Memory(bytes.clone())).await };
        tokio::join!(serve, link.fetch_to_file(digest, partial, &stored, total)).1
    };

    fs::write(&partial, &bytes[..1000]).unwrap();
    assert_eq!(again(&partial).await.unwrap(), Fetched { bytes: total, bytes_received: total - 1000 });

    fs::write(&partial, [0; 1000]).unwrap();
    assert!(matches!(again(&partial).await, Err(LinkError::DigestMismatch { .. })));
    assert!(!partial.exists());
    assert_eq!(again(&partial).await.unwrap(), Fetched { bytes: total, bytes_received: total });
    assert_eq!(fs::read(&stored).unwrap(), bytes);
}

/// Refuses a zero byte.
struct NoZero;

impl Inspect for NoZero {
    fn chunk(&mut self, bytes: &[u8]) -> Result<(), String> {
        if bytes.contains(&0) { Err("a zero byte".to_owned()) } else { Ok(()) }
    }

    fn finish(&mut self) -> Result<(), String> {
        Ok(())
    }
}

#[tokio::test]
async fn wrong_oversized_and_ill_formed_uploads_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, _client, peer, link) = ready(ServerLimits::default()).await;
    let (bytes, digest) = blob(MIB);
    let refused = |sent: Result<u64, LinkError>| match sent {
        Err(LinkError::Refused(reason)) => reason.to_string(),
        other => panic!("{other:?}"),
    };

    let wrong = link.upload(TASK, NONCE, Digest([3; 32]), Blob::Memory(bytes.clone()));
    let (sent, received) = tokio::join!(wrong, receive(&peer, spool(&folder, MIB as u64), ()));
    assert!(matches!(received, Err(LinkError::DigestMismatch { .. })));
    assert!(refused(sent).contains("has digest"));

    let large = link.upload(TASK, NONCE, digest, Blob::Memory(bytes.clone()));
    let (sent, received) = tokio::join!(large, receive(&peer, spool(&folder, 1000), ()));
    assert!(matches!(received, Err(LinkError::TooLarge { got: 1048576, limit: 1000 })));
    assert!(refused(sent).contains("over the limit of 1000"));

    let zeros = link.upload(TASK, NONCE, digest, Blob::Memory(bytes));
    let (sent, received) = tokio::join!(zeros, receive(&peer, spool(&folder, MIB as u64), NoZero));
    assert!(matches!(received, Err(LinkError::Rejected(_))));
    assert!(refused(sent).contains("a zero byte"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing wrong is kept");

    let fetch = async { next_fetch(&peer).await.refuse("unknown blob".into()).await };
    let (_, fetched) = tokio::join!(fetch, link.fetch(digest, 10));
    assert!(matches!(fetched, Err(LinkError::Refused(reason)) if reason.as_str() == "unknown blob"));
}

#[tokio::test]
async fn a_disk_that_fails_is_no_refusal_and_the_same_upload_works_later() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, _client, peer, link) = ready(ServerLimits::default()).await;
    let (bytes, digest) = blob(1000);
    let gone = Spool { partial: folder.path().join("no/folder"), ..spool(&folder, 1000) };
    let upload = link.upload(TASK, NONCE, digest, Blob::Memory(bytes.clone()));
    let (sent, received) = tokio::join!(upload, receive(&peer, gone, ()));
    assert!(matches!(received, Err(LinkError::File { .. })));
    let sent = sent.unwrap_err();
    assert!(!matches!(sent, LinkError::Refused(_)) && sent.verdict() == Verdict::Retry, "{sent}");
    let upload = link.upload(TASK, NONCE, digest, Blob::Memory(bytes));
    let (sent, received) = tokio::join!(upload, receive(&peer, spool(&folder, 1000), ()));
    assert_eq!((sent.unwrap(), received.unwrap()), (1000, 1000));
}

#[tokio::test]
async fn a_peer_that_stalls_loses_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let link_limits = LinkLimits { stall_ms: 200, ..LinkLimits::default() };
    let limits = ServerLimits { uploads: 1, link: link_limits, ..ServerLimits::default() };
    let (_server, _client, peer, link) = ready(limits).await;
    let (bytes, digest) = blob(1000);
    // A request, and then nothing.
    let (mut send, _receive) = link.open_transfer().await.unwrap();
    let request = TransferRequest::Upload { task: TASK, nonce: NONCE, digest, bytes: 1000 };
    stream::send_frame(&mut send, &request, 1000).await.unwrap();
    let stalled = receive(&peer, spool(&folder, 1000), ()).await.unwrap_err();
    assert!(matches!(stalled, LinkError::Stalled { limit_ms: 200, .. }), "{stalled}");
    // Its only place is free again.
    let upload = link.upload(TASK, NONCE, digest, Blob::Memory(bytes));
    let (sent, received) = tokio::join!(upload, receive(&peer, spool(&folder, 1000), ()));
    assert_eq!((sent.unwrap(), received.unwrap()), (1000, 1000));
}
