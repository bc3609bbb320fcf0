//! Where one request ends and the next begins, and how a stream arrives.

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::answer::Events;
use crate::app::{PATIENCE, Setup, ids};
use crate::listening::{Running, closed, finish, read_until, send};
use crate::scripted_engine::token;

#[tokio::test]
async fn what_is_no_http_request_is_answered_by_a_status_alone() {
    let (server, _hand) = Running::start(Setup::default(), PATIENCE).await;
    let fields = "x: y\r\n".repeat(101);
    for (request, status) in [
        ("no request\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
        ("GET /health HTTP/1.1\r\nhost: x\r\nno field\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
        (format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(1 << 16)), "HTTP/1.1 431 "),
        (format!("GET /health HTTP/1.1\r\nhost: x\r\n{fields}\r\n"), "HTTP/1.1 431 "),
    ] {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = read_until(&mut client, "\r\n\r\n").await;
        assert!(answer.starts_with(status), "{answer}");
        assert!(answer.contains("content-length: 0") && answer.ends_with("\r\n\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_one_after_the_other() {
    let (server, mut hand) = Running::start(Setup::default(), PATIENCE).await;
    let mut client = server.request(json!({"prompt": "p"})).await;
    let running = hand.submission().await;
    send(&mut client, json!({"prompt": "q"})).await;
    client.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    finish(&running);
    assert_eq!(hand.cancelled().await, None, "the engine is told that the first is over");
    let next = hand.submission().await;
    finish(&next);
    let answers = read_until(&mut client, "ok\n").await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
}

#[tokio::test]
async fn requests_that_a_proxy_could_read_otherwise_are_refused_and_end_the_connection() {
    let (server, _hand) = Running::start(Setup::default(), PATIENCE).await;
    for request in [
        "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /v1/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "GET /health HTTP/1.1\nhost: x\n\n",
        "GET /health HTTP/1.1\r\n\r\n",
        "GET /health HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
    ] {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = read_until(&mut client, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request}: {answer}");
        closed(&mut client).await;
    }
}

#[tokio::test]
async fn a_stream_is_framed_for_real_clients_too() {
    let (server, mut hand) = Running::start(Setup::default(), PATIENCE).await;
    let client = server.post(&json!({"prompt": "p", "stream": true}));
    let submission = hand.submission().await;
    for id in ids("a fine tool") {
        submission.events.send(token(0, id)).unwrap();
    }
    finish(&submission);
    let response = client.await.unwrap().unwrap();
    assert_eq!(response.headers()["cache-control"], "no-cache");
    let events = Events::of(&response.text().await.unwrap());
    assert!(events.done);
    assert_eq!(events.text_of(0), "a fine tool");
}
