//! The link over real UDP on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::*;
use crate::ids::CoordinatorId;
use crate::limits::FRAME_BYTES_MAX;
use crate::sign::NodeKey;
use crate::wire::address::CoordinatorAddress;
use crate::wire::error::{Verdict, WireError};

mod transfers;

fn key(seed: u8) -> Arc<NodeKey> {
    Arc::new(NodeKey::from_seed(&[seed; 32]))
}

fn server(limits: ServerLimits) -> (Server, CoordinatorAddress) {
    let server = Server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &key(1), limits).unwrap();
    let port = server.local_address().unwrap().port();
    let address = CoordinatorAddress::new(server.id(), "127.0.0.1", port).unwrap();
    (server, address)
}

fn client(seed: u8) -> Client {
    Client::new(key(seed), ClientLimits::default()).unwrap()
}

async fn connected(server: &Server, client: &Client, to: &CoordinatorAddress) -> (Peer, Link) {
    let accept = async { server.accept().await.unwrap().finish().await.unwrap() };
    let (peer, link) = tokio::join!(accept, client.connect(to));
    (peer, link.unwrap())
}

/// A connected pair whose control stream is open, as transfers need it.
async fn ready(limits: ServerLimits) -> (Server, Client, Peer, Link) {
    let (server, address) = server(limits);
    let client = client(2);
    let (peer, link) = connected(&server, &client, &address).await;
    greet(&peer, &link).await;
    (server, client, peer, link)
}

async fn greet(peer: &Peer, link: &Link) {
    let (mut to_server, _) = link.open_control::<String, String>().await.unwrap();
    to_server.send(&"hello".to_owned()).await.unwrap();
    let (_, mut from_client) = peer.accept_control::<String, String>().await.unwrap();
    assert_eq!(from_client.recv().await.unwrap().as_deref(), Some("hello"));
}

#[tokio::test]
async fn both_sides_know_whom_they_speak_to() {
    let (server, address) = server(ServerLimits::default());
    let client = client(2);
    let (peer, link) = connected(&server, &client, &address).await;
    assert_eq!(peer.worker(), key(2).id());
    assert_eq!(link.coordinator(), server.id());
    assert_eq!(server.id().0, key(1).id().0);
    link.close(CloseCode::Done, "bye");
    let LinkError::Closed { code, reason } = peer.closed().await else { panic!("closed") };
    assert_eq!((code, reason.as_str()), (CloseCode::Done, "bye"));
}

#[tokio::test]
async fn another_key_at_the_address_is_refused_and_named() {
    let (server, address) = server(ServerLimits::default());
    let pinned = CoordinatorId(key(7).id().0);
    let wrong = CoordinatorAddress::new(pinned, address.host(), address.port()).unwrap();
    let client = client(2);
    let accept = async { server.accept().await.unwrap().finish().await.is_err() };
    let (refused, link) = tokio::join!(accept, client.connect(&wrong));
    assert!(refused);
    let error = link.unwrap_err();
    assert_eq!(error.verdict(), Verdict::Stop);
    let LinkError::WrongCoordinator { pinned: wanted, presented } = error else { panic!("{error}") };
    assert_eq!((wanted, presented), (pinned, Some(server.id())));
}

#[tokio::test]
async fn a_name_with_a_dead_address_is_reached_by_its_other_one() {
    // The server has IPv4 only; `localhost` often means ::1 first.
    let (server, address) = server(ServerLimits::default());
    let named = CoordinatorAddress::new(server.id(), "localhost", address.port()).unwrap();
    let client = client(2);
    let start = tokio::time::Instant::now();
    let (_peer, _link) = connected(&server, &client, &named).await;
    assert!(start.elapsed() < std::time::Duration::from_secs(5), "no handshake had to time out first");
}

#[tokio::test]
async fn another_version_is_told_so() {
    let (server, address) = server(ServerLimits::default());
    let client = client(2).speaking(99);
    let accept = async { server.accept().await.unwrap().finish().await.is_err() };
    let (refused, link) = tokio::join!(accept, client.connect(&address));
    assert!(refused);
    let error = link.unwrap_err();
    assert_eq!(error.verdict(), Verdict::Stop);
    assert!(error.to_string().contains("another protocol version"), "{error}");
}

#[tokio::test]
async fn a_full_server_refuses_and_a_careful_one_asks_for_a_retry() {
    let (server, address) =
        server(ServerLimits { connections: 1, retry_above: 0, ..ServerLimits::default() });
    let (first, second) = (client(2), client(3));
    // `retry_above: 0` sends every first attempt back with a token.
    let (_peer, _link) = connected(&server, &first, &address).await;
    let accept = async { server.accept().await.is_some() };
    tokio::select! {
        _ = accept => panic!("there is no room"),
        link = second.connect(&address) => assert!(matches!(link, Err(LinkError::Full))),
    }
}

#[tokio::test]
async fn messages_of_every_size_arrive_in_order_though_receiving_is_cancelled() {
    let (server, address) = server(ServerLimits::default());
    let client = client(2);
    let (peer, link) = connected(&server, &client, &address).await;
    let (mut sender, mut back) = link.open_control::<Vec<u8>, u32>().await.unwrap();
    let sizes = [0, 1, 1000, 100_000, FRAME_BYTES_MAX as usize - 8, 3];
    let send = async {
        for size in sizes {
            sender.send(&vec![7; size]).await.unwrap();
        }
        assert_eq!(back.recv().await.unwrap(), Some(sizes.len() as u32));
        sender.finish().await.unwrap();
    };
    let receive = async {
        let (mut answer, mut receiver) = peer.accept_control::<u32, Vec<u8>>().await.unwrap();
        let mut got = Vec::new();
        while got.len() < sizes.len() {
            tokio::select! {
                biased;
                message = receiver.recv() => got.push(message.unwrap().unwrap().len()),
                () = tokio::task::yield_now() => {}
            }
        }
        assert_eq!(got, sizes);
        answer.send(&(got.len() as u32)).await.unwrap();
        assert_eq!(receiver.recv().await.unwrap(), None);
    };
    tokio::join!(send, receive);
}

#[tokio::test]
async fn a_frame_too_large_ends_the_connection_with_the_reason() {
    let (server, address) = server(ServerLimits::default());
    let client = client(2);
    let (peer, link) = connected(&server, &client, &address).await;
    let (mut raw, _receive) = link.open_transfer().await.unwrap();
    raw.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    let (_, mut receiver) = peer.accept_control::<u32, Vec<u8>>().await.unwrap();
    let error = receiver.recv().await.unwrap_err();
    assert_eq!(error.verdict(), Verdict::Misbehaved);
    assert!(matches!(error, LinkError::Wire(WireError::FrameTooLarge { got: u32::MAX, .. })));
    peer.close(CloseCode::Misbehaved, &error.to_string());
    let closed = link.closed().await;
    let LinkError::Closed { code, reason } = closed else { panic!("{closed:?}") };
    assert_eq!(code, CloseCode::Misbehaved);
    assert!(reason.as_str().contains("over the limit"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_workers_connect_and_speak_at_once() {
    const WORKERS: u8 = 200;
    let (server, address) = server(ServerLimits::default());
    let (tell, mut told) = mpsc::unbounded_channel();
    let serve = tokio::spawn(async move {
        while let Some(handshake) = server.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                // A repeated first packet can leave a handshake that nobody goes on with.
                if let Ok(peer) = handshake.finish().await
                    && let Ok(control) = peer.accept_control::<u32, u32>().await
                {
                    tell.send((peer, control)).expect("the test waits for every answer");
                }
            });
        }
    });
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| {
            let address = address.clone();
            tokio::spawn(async move {
                let client = client(number);
                let link = client.connect(&address).await.unwrap();
                let (mut send, mut receive) = link.open_control::<u32, u32>().await.unwrap();
                send.send(&number.into()).await.unwrap();
                assert_eq!(receive.recv().await.unwrap(), Some(u32::from(number) + 1));
                (client, link)
            })
        })
        .collect();
    let mut peers = std::collections::BTreeMap::new();
    while peers.len() < WORKERS.into() {
        let (peer, (mut send, mut receive)) = told.recv().await.unwrap();
        let number = receive.recv().await.unwrap().unwrap();
        send.send(&(number + 1)).await.unwrap();
        peers.insert(peer.worker(), (peer, send, receive));
    }
    // Nobody hangs up before everyone has heard.
    for worker in workers {
        worker.await.unwrap();
    }
    serve.abort();
}

#[tokio::test]
async fn a_worker_that_changes_its_address_keeps_its_connection() {
    let (server, address) = server(ServerLimits::default());
    let client = client(2);
    let (peer, link) = connected(&server, &client, &address).await;
    let (mut send, mut receive) = link.open_control::<u32, u32>().await.unwrap();
    send.send(&1).await.unwrap();
    let (mut answer, mut hear) = peer.accept_control::<u32, u32>().await.unwrap();
    assert_eq!(hear.recv().await.unwrap(), Some(1));
    let before = peer.remote_address();
    client.rebind().unwrap();
    send.send(&2).await.unwrap();
    assert_eq!(hear.recv().await.unwrap(), Some(2));
    answer.send(&3).await.unwrap();
    assert_eq!(receive.recv().await.unwrap(), Some(3));
    assert_ne!(peer.remote_address(), before);
}

#[tokio::test]
async fn a_server_that_stops_says_so_and_a_busy_port_is_an_error() {
    let (server, _client, _peer, link) = ready(ServerLimits::default()).await;
    let taken = server.local_address().unwrap();
    let error = Server::bind(taken, &key(1), ServerLimits::default()).unwrap_err();
    assert!(matches!(error, LinkError::Socket { address, .. } if address == taken), "{error}");
    let (_, error) = tokio::join!(server.close(CloseCode::ShuttingDown, "update"), link.closed());
    assert!(matches!(error, LinkError::Closed { code: CloseCode::ShuttingDown, .. }), "{error:?}");
    assert_eq!(error.verdict(), Verdict::Retry);
    assert!(server.accept().await.is_none());
}
