//! QUIC over loopback: one worker, one connection, blobs of 40 MiB both ways, both ends on this machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use protocol::hash::Digest;
use protocol::ids::{JobId, Nonce, TaskId};
use protocol::quic::{
    Blob, Client, ClientLimits, Link, LinkLimits, Peer, Server, ServerLimits, Spool, Transfer,
};
use protocol::sign::NodeKey;
use protocol::wire::address::CoordinatorAddress;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::measure::seconds_of;
use super::{Report, Row};

const BYTES: usize = 40 * 1024 * 1024;
const RUNS: usize = 7;

pub(super) async fn run(report: &mut Report) -> Result<()> {
    let content: Vec<u8> = (0..BYTES as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (digest, blob) = (Digest::of(&content), Blob::Memory(content.clone().into()));
    let folder = tempfile::tempdir()?;
    let pair = Pair::connect(blob.clone(), folder.path()).await?;
    let task = TaskId { job: JobId(0), settlement: 0, slot: 0 };
    let [mut down, mut to_file, mut up, mut tcp] = [f64::INFINITY; 4];
    // In turn, so that each meets the same noise; the first of each only warms up.
    for turn in 0..=RUNS {
        let fetched = seconds_of(pair.link.fetch(digest, BYTES as u64)).await?;
        let (partial, stored) = (folder.path().join("fetch.part"), folder.path().join("fetch"));
        let spooled = seconds_of(pair.link.fetch_to_file(digest, &partial, &stored, BYTES as u64)).await?;
        let sent = seconds_of(pair.link.upload(task, Nonce([0; 32]), digest, blob.clone())).await?;
        let plain = seconds_of(over_tcp(&content)).await?;
        if turn > 0 {
            down = down.min(fetched);
            to_file = to_file.min(spooled);
            up = up.min(sent);
            tcp = tcp.min(plain);
        }
    }
    let rate = |seconds: f64| BYTES as f64 / seconds / 1e9;
    for (name, seconds) in [
        ("QUIC, a model to memory", down),
        ("QUIC, a model to a file", to_file),
        ("QUIC, an update to a file", up),
    ] {
        report.add(
            Row::new(name, rate(seconds), "GB/s").against("TCP, not encrypted, not hashed", rate(tcp)),
        )?;
    }
    Ok(())
}

/// Both ends of a connection that is held open.
struct Pair {
    link: Link,
    _open: Box<dyn std::any::Any>,
}

impl Pair {
    async fn connect(blob: Blob, spool: &Path) -> Result<Self> {
        let link = LinkLimits::default();
        let key = Arc::new(NodeKey::from_seed(&[1; 32]));
        let limits = ServerLimits { link, ..ServerLimits::default() };
        let server = Server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &key, limits)?;
        let address = CoordinatorAddress::new(server.id(), "127.0.0.1", server.local_address()?.port())?;
        let client = Client::new(
            Arc::new(NodeKey::from_seed(&[2; 32])),
            ClientLimits { link, ..ClientLimits::default() },
        )?;
        let accept =
            async { server.accept().await.context("the server is open")?.finish().await.context("hello") };
        let (peer, link) = tokio::join!(accept, client.connect(&address));
        let (peer, link) = (peer?, link?);
        let (mut hello, hear) = link.open_control::<u8, u8>().await?;
        hello.send(&1).await?;
        let control = peer.accept_control::<u8, u8>().await?;
        tokio::spawn(answer(peer, blob, spool.to_owned()));
        Ok(Self { link, _open: Box::new((server, client, hello, hear, control)) })
    }
}

async fn answer(peer: Peer, blob: Blob, folder: PathBuf) -> Result<()> {
    loop {
        match peer.accept_transfer().await?.read().await? {
            Transfer::Fetch(fetch) => {
                fetch.serve(blob.clone()).await?;
            }
            Transfer::Upload(upload) => {
                let spool = Spool {
                    partial: folder.join("upload.part"),
                    stored: folder.join("upload"),
                    bytes_max: BYTES as u64,
                    sync: false,
                };
                upload.receive(spool, ()).await?.confirm().await?;
            }
        }
    }
}

/// The same bytes over a plain connection.
async fn over_tcp(content: &[u8]) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let receive = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut bytes = Vec::with_capacity(BYTES);
        stream.read_to_end(&mut bytes).await
    });
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(content).await?;
    drop(stream);
    receive.await??;
    Ok(())
}
