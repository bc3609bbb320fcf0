//! The end of a server: running answers are finished, late requests refused, and nothing that stalls holds it up.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use server::telemetry::Outcome;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::app::{PATIENCE, Setup, ids, wait_for};
use crate::listening::{Running, SOON, finish, flood, read_until, send, slow_client};
use crate::scripted_engine::token;

#[tokio::test]
async fn shutdown_lets_streams_finish_refuses_new_requests_and_then_closes() {
    let (server, mut hand) = Running::start(Setup::default(), PATIENCE).await;
    let mut client = server.request(json!({"prompt": "p", "stream": true})).await;
    let submission = hand.submission().await;
    submission.events.send(token(0, ids("a")[0])).unwrap();
    read_until(&mut client, "\"text\":\"a\"").await;
    // Connections that only stand there must not delay anything.
    let _new = TcpStream::connect(server.address).await.unwrap();
    let mut used = TcpStream::connect(server.address).await.unwrap();
    used.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    read_until(&mut used, "ok\n").await;
    let mut stalled = TcpStream::connect(server.address).await.unwrap();
    stalled.write_all(b"POST /v1/completions HTTP/1.1\r\nhost: ").await.unwrap();

    server.shutdown.send(()).unwrap();
    wait_for(|| server.app.engine().is_draining().then_some(())).await;
    let url = format!("http://{}/v1/completions", server.address);
    let refused = reqwest::Client::new().post(url).json(&json!({"prompt": "p"})).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(!server.served.is_finished());

    submission.events.send(token(0, ids("b")[0])).unwrap();
    finish(&submission);
    read_until(&mut client, "data: [DONE]").await;
    let began = Instant::now();
    timeout(PATIENCE, server.served).await.expect("the server ends").unwrap();
    assert!(began.elapsed() < SOON, "idle connections and half a head held it up for {:?}", began.elapsed());
    assert!(TcpStream::connect(server.address).await.is_err());
    assert_eq!(server.app.count(Outcome::Completed), 1);
}

#[tokio::test]
async fn answers_that_outlast_the_drain_are_cut_off_with_an_error() {
    let (server, mut hand) = Running::start(Setup::default(), Duration::from_millis(50)).await;
    let mut stream = server.request(json!({"prompt": "p", "stream": true})).await;
    let running = hand.submission().await;
    running.events.send(token(0, ids("a")[0])).unwrap();
    read_until(&mut stream, "\"text\":\"a\"").await;
    let whole = server.post(&json!({"prompt": "p"}));
    let _waiting = hand.submission().await;
    let mut stalled = TcpStream::connect(server.address).await.unwrap();
    stalled.write_all(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{").await.unwrap();
    wait_for(|| (server.app.metrics().open_requests.get() == 3).then_some(())).await;

    server.shutdown.send(()).unwrap();
    let told = read_until(&mut stream, "\r\n0\r\n\r\n").await;
    let error = told.split("data: ").last().unwrap();
    assert!(error.starts_with("{\"error\":") && error.contains("\"shutting_down\""), "{told}");
    let answer = whole.await.unwrap().unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], "shutting_down");
    read_until(&mut stalled, "\"shutting_down\"").await;
    timeout(SOON, server.served).await.expect("nothing holds it up any more").unwrap();
    assert_eq!((server.app.count(Outcome::Unavailable), server.app.count(Outcome::Failed)), (3, 0));
}

#[tokio::test]
async fn shutdown_does_not_wait_for_a_body_that_does_not_come() {
    let (server, _hand) = Running::start(Setup::default(), PATIENCE).await;
    let mut stalled = TcpStream::connect(server.address).await.unwrap();
    stalled.write_all(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{").await.unwrap();
    wait_for(|| (server.app.metrics().open_requests.get() == 1).then_some(())).await;
    server.shutdown.send(()).unwrap();
    read_until(&mut stalled, "\"shutting_down\"").await;
    timeout(SOON, server.served).await.expect("nothing holds it up any more").unwrap();
}

#[tokio::test]
async fn shutdown_does_not_wait_for_a_client_that_does_not_read() {
    let (server, mut hand) = Running::start(Setup::default(), Duration::from_millis(50)).await;
    let mut client = slow_client(server.address).await;
    send(&mut client, json!({"prompt": "p", "stream": true, "logprobs": 20})).await;
    let running = hand.submission().await;
    flood(&running, 512);
    let (generated, mut before) = (&server.app.metrics().generated_tokens, 0);
    while generated.get() == 0 || generated.get() != before {
        before = generated.get();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(before < 512, "the sockets took it all in");
    server.shutdown.send(()).unwrap();
    timeout(Duration::from_secs(1), server.served).await.expect("a second after the deadline").unwrap();
}

#[tokio::test]
async fn who_is_asked_twice_to_end_cuts_off_at_once() {
    let (server, mut hand) = Running::start(Setup::default(), PATIENCE).await;
    let mut stream = server.request(json!({"prompt": "p", "stream": true})).await;
    let _running = hand.submission().await;
    server.shutdown.send(()).unwrap();
    wait_for(|| server.app.engine().is_draining().then_some(())).await;
    server.hurry.send(()).unwrap();
    read_until(&mut stream, "\"shutting_down\"").await;
    timeout(SOON, server.served).await.expect("the server ends").unwrap();
}
