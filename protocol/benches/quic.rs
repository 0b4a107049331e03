//! QUIC throughput over loopback: one worker, one connection, blobs of 40 MiB both ways, both ends on this machine.
//!
//! `cargo bench -p protocol --features quic --bench quic` prints one line a figure. `memory` moves bytes from memory to
//! memory; `file` spools to a file with hashing, as a coordinator does. Every figure is the best of five. The last lines
//! are about a thousand connections at once: how fast they are made, and what they hold in memory on both ends together.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use protocol::hash::Digest;
use protocol::ids::{JobId, Nonce, TaskId};
use protocol::quic::{Blob, Client, ClientLimits, LinkLimits, Peer, Server, ServerLimits, Spool, Transfer};
use protocol::sign::NodeKey;
use protocol::wire::address::CoordinatorAddress;

const BYTES: usize = 40 * 1024 * 1024;
const TURNS: usize = 5;

#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a bench reads the clock and prints")]
fn report(name: &str, mut turn: impl FnMut()) {
    turn();
    let mut best = f64::INFINITY;
    for _ in 0..TURNS {
        let start = Instant::now();
        turn();
        best = best.min(start.elapsed().as_secs_f64());
    }
    let bytes_per_s = BYTES as f64 / best;
    println!("{name:<28} {:6.2} GB/s {:6.2} Gbit/s", bytes_per_s / 1e9, bytes_per_s * 8.0 / 1e9);
}

async fn answer(peer: Peer, blob: Blob, folder: std::path::PathBuf) {
    while let Ok(transfer) = peer.accept_transfer().await {
        match transfer.read().await {
            Ok(Transfer::Fetch(fetch)) => {
                fetch.serve(blob.clone()).await.expect("the client waits for it");
            }
            Ok(Transfer::Upload(upload)) => {
                let spool = Spool {
                    partial: folder.join("upload.part"),
                    stored: folder.join("upload"),
                    bytes_max: BYTES as u64,
                    sync: false,
                };
                let received = upload.receive(spool, ()).await.expect("the client sends it");
                received.confirm().await.expect("the client waits for it");
            }
            Err(_) => return,
        }
    }
}

fn bench(name: &str, link: LinkLimits) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let content: Vec<u8> = (0..BYTES as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (digest, content) = (Digest::of(&content), Blob::Memory(content.into()));

    let (spool, blob) = (folder.path().to_owned(), content.clone());
    let connected = async {
        let key = Arc::new(NodeKey::from_seed(&[1; 32]));
        let limits = ServerLimits { link, ..ServerLimits::default() };
        let server = Server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &key, limits)
            .expect("a free port can be bound");
        let port = server.local_address().expect("it is bound").port();
        let address = CoordinatorAddress::new(server.id(), "127.0.0.1", port).expect("it is an address");
        let worker = ClientLimits { link, ..ClientLimits::default() };
        let client =
            Client::new(Arc::new(NodeKey::from_seed(&[2; 32])), worker).expect("a free port can be bound");
        let accept = async { server.accept().await.expect("it is open").finish().await };
        let (peer, link) = tokio::join!(accept, client.connect(&address));
        let (peer, link) = (peer.expect("they shake hands"), link.expect("they shake hands"));
        let (mut hello, _hear) = link.open_control::<u8, u8>().await.expect("the link is up");
        hello.send(&1).await.expect("the link is up");
        let control = peer.accept_control::<u8, u8>().await.expect("the hello is on its way");
        tokio::spawn(answer(peer, blob, spool));
        (server, client, link, hello, control)
    };
    let (_server, _client, link, _hello, _control) = runtime.block_on(connected);

    let (partial, stored) = (folder.path().join("fetch.part"), folder.path().join("fetch"));
    let task = TaskId { job: JobId(0), settlement: 0, slot: 0 };
    report(&format!("{name}, down, memory"), || {
        runtime.block_on(link.fetch(digest, BYTES as u64)).expect("it is served");
    });
    report(&format!("{name}, down, file"), || {
        runtime.block_on(link.fetch_to_file(digest, &partial, &stored, BYTES as u64)).expect("it is served");
    });
    report(&format!("{name}, up, file"), || {
        let upload = link.upload(task, Nonce([0; 32]), digest, content.clone());
        runtime.block_on(upload).expect("it is received");
    });
}

#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a bench reads the clock and prints")]
fn many() {
    const CONNECTIONS: usize = 1000;
    const AT_ONCE: usize = 100;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        let key = Arc::new(NodeKey::from_seed(&[1; 32]));
        let server = Server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &key, ServerLimits::default())
            .expect("a free port can be bound");
        let port = server.local_address().expect("it is bound").port();
        let address = CoordinatorAddress::new(server.id(), "127.0.0.1", port).expect("it is an address");
        let client = Arc::new(
            Client::new(Arc::new(NodeKey::from_seed(&[2; 32])), ClientLimits::default())
                .expect("a free port can be bound"),
        );
        let (keep, mut kept) = tokio::sync::mpsc::channel(CONNECTIONS);
        tokio::spawn(async move {
            while let Some(handshake) = server.accept().await {
                let keep = keep.clone();
                tokio::spawn(async move {
                    if let Ok(peer) = handshake.finish().await {
                        keep.send(peer).await.expect("the bench waits for all");
                    }
                });
            }
        });
        let (before, start) = (resident_bytes(), Instant::now());
        let places = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
        let mut dials = tokio::task::JoinSet::new();
        for _ in 0..CONNECTIONS {
            let place = places.clone().acquire_owned().await.expect("it is open");
            let (client, address) = (client.clone(), address.clone());
            dials.spawn(async move {
                let link = client.connect(&address).await.expect("the server has room");
                drop(place);
                link
            });
        }
        let links = dials.join_all().await;
        let mut peers = Vec::new();
        while peers.len() < CONNECTIONS {
            peers.push(kept.recv().await.expect("the server goes on"));
        }
        let seconds = start.elapsed().as_secs_f64();
        let kib = resident_bytes().saturating_sub(before) as f64 / 1024.0 / CONNECTIONS as f64;
        println!("{:<28} {:6.0} handshakes/s", "1,000 connections", CONNECTIONS as f64 / seconds);
        println!("{:<28} {kib:6.0} KiB each, both ends", "1,000 connections");
        drop((links, peers));
    });
}

/// Memory this process holds, where Linux tells; 0 elsewhere.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

fn main() {
    bench("window 4 MiB", LinkLimits::default());
    bench("window 16 MiB", LinkLimits::fast());
    many();
}
