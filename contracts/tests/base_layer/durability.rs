//! What the development chain answered it never forgets.

use std::process::Command;

use contracts::devchain::{Config, DevChainError, Server};
use serde_json::{Value, json};

use crate::nodes::{Node, devchain_program};

const SOMEBODY: &str = "0x00000000000000000000000000000000000000aa";

async fn look(node: &Node) -> [Value; 4] {
    [
        node.ask("eth_getBlockByNumber", json!(["latest", true])).await,
        node.ask("eth_getBalance", json!([SOMEBODY, "latest"])).await,
        node.ask("eth_getCode", json!(["0x5FbDB2315678afecb367f032d93F642f64180aa3", "latest"])).await,
        node.ask("eth_getLogs", json!([{"fromBlock": "earliest"}])).await,
    ]
}

async fn work(node: &Node, amount: u64) {
    use contracts::rpc::{TokenChoice, Windows, deploy};
    let faucet = contracts::devchain::faucet_key();
    let proposer = faucet.address();
    deploy(&node.url, &faucet, TokenChoice::Development, Windows::DEVELOPMENT, proposer).await.unwrap();
    node.ask("fedroll_fund", json!([SOMEBODY, format!("{amount:#x}")])).await;
    node.ask("evm_increaseTime", json!([100])).await;
    node.ask("evm_mine", json!([])).await;
}

#[tokio::test]
async fn killed_at_any_time_it_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::devchain(dir.path());
    for round in 1..4 {
        work(&node, round).await;
        let before = look(&node).await;
        node.kill();
        node = Node::devchain(dir.path());
        assert_eq!(look(&node).await, before, "round {round}");
    }
}

#[tokio::test]
async fn a_journal_that_another_version_wrote_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::devchain(dir.path());
    work(&node, 1).await;
    node.kill();
    // The same transactions with other ether behind them: valid lines, another state.
    let path = dir.path().join("journal");
    let text = std::fs::read_to_string(&path).unwrap();
    let without_fund: String = text
        .lines()
        .filter(|line| !line.contains("\"ether\""))
        .fold(String::new(), |text, line| text + line + "\n");
    std::fs::write(&path, without_fund).unwrap();
    let config = Config { dir: dir.path().to_owned(), addr: "127.0.0.1:0".parse().unwrap() };
    let error = Server::open(config).await.unwrap_err();
    assert!(matches!(error, DevChainError::Replay { .. }), "{error}");
}

#[tokio::test]
async fn one_process_a_directory_one_a_port_and_loopback_only() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::devchain(dir.path());
    let second = Command::new(devchain_program()).arg(dir.path()).arg("127.0.0.1:0").output().unwrap();
    assert_eq!(second.status.code(), Some(2));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("in use by another development chain"), "{said}");

    let elsewhere = tempfile::tempdir().unwrap();
    let addr = node.url.strip_prefix("http://").unwrap().parse().unwrap();
    let busy = Server::open(Config { dir: elsewhere.path().to_owned(), addr }).await.unwrap_err();
    assert!(matches!(busy, DevChainError::Listen { .. }), "{busy}");
    let open = Config { dir: elsewhere.path().to_owned(), addr: "0.0.0.0:0".parse().unwrap() };
    let open = Server::open(open).await.unwrap_err();
    assert!(matches!(open, DevChainError::NotLoopback { .. }), "{open}");
}
