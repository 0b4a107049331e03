//! Stock tools talk to the development chain.

use std::process::Command;

use contracts::devchain::CLIENT;
use serde_json::{Value, json};

use crate::nodes::{Node, npm_tool};

const FAUCET_SECRET: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const SOMEBODY: &str = "0x00000000000000000000000000000000000000aa";

fn cast(node: &Node, args: &[&str]) -> String {
    let output = Command::new(npm_tool("cast")).args(args).args(["--rpc-url", &node.url]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "cast {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    text.trim().to_owned()
}

#[test]
fn cast_reads_and_sends() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::devchain(dir.path());
    assert_eq!(cast(&node, &["chain-id"]), "31337");
    assert_eq!(cast(&node, &["client"]), CLIENT);
    for kind in [&["--legacy"][..], &[], &["--access-list=[]"]] {
        let mut args = vec!["send", SOMEBODY, "--value", "1ether", "--private-key", FAUCET_SECRET, "--json"];
        args.extend(kind);
        let receipt: Value = serde_json::from_str(&cast(&node, &args)).unwrap();
        assert_eq!(receipt["status"], "0x1", "{receipt}");
        let hash = receipt["transactionHash"].as_str().unwrap();
        let tx: Value = serde_json::from_str(&cast(&node, &["tx", hash, "--json"])).unwrap();
        assert_eq!(tx["hash"], hash);
    }
    assert_eq!(cast(&node, &["balance", SOMEBODY, "--ether"]), "3.000000000000000000");
    assert_eq!(cast(&node, &["block-number"]), "3");
    let block: Value = serde_json::from_str(&cast(&node, &["block", "latest", "--full", "--json"])).unwrap();
    assert_eq!(block["transactions"].as_array().unwrap().len(), 1, "{block}");
    assert_eq!(cast(&node, &["nonce", "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"]), "3");
    assert!(cast(&node, &["gas-price"]).parse::<u64>().unwrap() > 0);
    assert_eq!(cast(&node, &["code", SOMEBODY]), "0x");
    cast(&node, &["logs", "--from-block", "0"]);
    cast(&node, &["rpc", "fedroll_fund", SOMEBODY, "0xde0b6b3a7640000"]);
    assert_eq!(cast(&node, &["balance", SOMEBODY, "--ether"]), "4.000000000000000000");
}

#[tokio::test]
async fn batches_limits_and_nonsense_get_json_rpc_answers() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::devchain(dir.path());
    let http = reqwest::Client::new();
    let post = |body: String| {
        let request = http.post(&node.url).header("content-type", "application/json").body(body);
        async move { request.send().await.unwrap() }
    };
    let request =
        |method: &str, params: Value| json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    let answer: Value =
        post(json!([request("eth_chainId", json!([])), request("eth_nothing", json!([]))]).to_string())
            .await
            .json()
            .await
            .unwrap();
    assert_eq!(answer[0]["result"], "0x7a69");
    assert_eq!(answer[1]["error"]["code"], -32601);

    for (body, code) in [
        ("{".to_owned(), -32700),
        ("3".to_owned(), -32600),
        (json!({"id": 1}).to_string(), -32600),
        (json!(vec![request("eth_chainId", json!([])); 101]).to_string(), -32600),
        (request("eth_getBalance", json!([])).to_string(), -32602),
        (request("eth_getBalance", json!(["0x12"])).to_string(), -32602),
        (request("eth_getBalance", json!([SOMEBODY, "0x5"])).to_string(), -32000),
        (request("eth_call", json!({"to": SOMEBODY})).to_string(), -32602),
        (request("eth_sendRawTransaction", json!(["0x"])).to_string(), -32602),
        (request("eth_sendRawTransaction", json!(["0x02c0"])).to_string(), -32602),
        (
            request("eth_getLogs", json!([{"fromBlock": "earliest", "blockHash": SOMEBODY}])).to_string(),
            -32602,
        ),
        (request("evm_increaseTime", json!([u64::MAX])).to_string(), -32602),
    ] {
        let answer: Value = post(body.clone()).await.json().await.unwrap();
        assert_eq!(answer["error"]["code"], code, "{body}: {answer}");
    }

    let notification = json!({"jsonrpc": "2.0", "method": "eth_chainId"}).to_string();
    assert_eq!(post(notification).await.status(), 204);
    let huge = "x".repeat(contracts::devchain::BODY_BYTES_MAX + 1);
    assert_eq!(post(huge).await.status(), 413);
    let from_a_page =
        http.post(&node.url).header("content-type", "text/plain").body("{}").send().await.unwrap();
    assert_eq!(from_a_page.status(), 415);
}
