//! A client against servers that misbehave.

use super::*;

#[test]
fn only_http_urls_are_taken() {
    assert_eq!(Client::new("http://127.0.0.1:7070/").unwrap().url(), "http://127.0.0.1:7070");
    assert!(Client::new("https://example.org").is_ok());
    for bad in ["ftp://x", "127.0.0.1:7070", "http://", ""] {
        assert!(matches!(Client::new(bad), Err(CliError::Url { .. })), "{bad}");
    }
}

#[tokio::test]
async fn a_coordinator_that_is_not_there_is_named_with_what_to_do() {
    // A port that was free a moment ago and belongs to nobody.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = Client::new(&format!("http://127.0.0.1:{port}")).unwrap().info().await.unwrap_err();
    assert!(matches!(&error, CliError::Unreachable { why, .. } if why.contains("refused")), "{error}");
    assert!(error.fix().unwrap().contains("--coordinator"));
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_fix() {
    let url = answer_once(
        "404 Not Found",
        r#"{"schema":1,"code":"unknown-job","message":"there is no job 7","fix":"fedroll job ls"}"#,
    );
    let error = Client::new(&url).unwrap().job("7".parse().unwrap()).await.unwrap_err();
    assert_eq!((error.code(), error.fix().as_deref()), ("unknown-job", Some("fedroll job ls")));
    assert!(error.to_string().contains("there is no job 7"));
}

#[tokio::test]
async fn bytes_that_are_not_what_was_asked_for_are_refused_and_leave_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model");
    let client = Client::new(&answer_once("200 OK", "other bytes")).unwrap();
    let error = client.save_blob(Digest::of(b"model"), &file, |_, _| ()).await.unwrap_err();
    assert!(matches!(error, CliError::Digest { .. }), "{error}");
    let client = Client::new(&answer_once("200 OK", "model")).unwrap();
    assert!(!file.exists());
    assert_eq!(client.save_blob(Digest::of(b"model"), &file, |_, _| ()).await.unwrap(), 5);
    assert_eq!(std::fs::read(&file).unwrap(), b"model");
}

#[tokio::test]
async fn an_answer_that_drips_ends_although_it_is_never_silent() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    client.patience = Duration::from_millis(300);
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await.unwrap();
        let mut drops = tokio::time::interval(Duration::from_millis(10));
        // Until the other side has had enough.
        while stream.write_all(b" ").await.is_ok() {
            drops.tick().await;
        }
    });
    let error = client.info().await.unwrap_err();
    assert!(matches!(&error, CliError::Unreachable { why, .. } if why.contains("slower")), "{error}");
    server.await.unwrap();
}

#[test]
fn bytes_that_come_buy_time() {
    let pace = Pace { begun: Stopwatch::start(), patience: Duration::from_secs(60) };
    assert!(pace.left(0) <= Duration::from_secs(60));
    let left = pace.left(64 << 20);
    assert!(left > Duration::from_secs(1_000) && left < Duration::from_secs(1_100), "{left:?}");
}

#[tokio::test]
async fn an_answer_in_another_shape_is_an_error_in_words() {
    let error = Client::new(&answer_once("200 OK", "{}")).unwrap().info().await.unwrap_err();
    assert!(matches!(&error, CliError::Answer { why, .. } if why.contains("missing field")), "{error}");
    let error = Client::new(&answer_once("500 Oops", "<html>")).unwrap().info().await.unwrap_err();
    assert!(error.to_string().contains("500"), "{error}");
}

/// A server that answers one request with one text.
fn answer_once(status: &'static str, body: &'static str) -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).unwrap();
        let length = body.len();
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
            .unwrap();
    });
    url
}
