//! Clients that leave, or do not take their answers: what they asked for is cancelled and counted as such.

use std::time::Duration;

use serde_json::json;
use server::client_connection::ConnectionTimeouts;
use server::http_server::ConnectionLimits;
use server::telemetry::Outcome;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::app::{CONNECTIONS, PATIENCE, Setup, ids, taking_within, wait_for};
use crate::listening::{Running, finish, flood, impatient, read_length, read_until, send, slow_client};
use crate::scripted_engine::token;

#[tokio::test]
async fn a_client_that_leaves_a_stream_cancels_its_request() {
    let (server, mut hand) = Running::start(Setup::default(), PATIENCE).await;
    let mut client = server.request(json!({"prompt": "p", "stream": true})).await;
    let submission = hand.submission().await;
    submission.events.send(token(0, ids("a")[0])).unwrap();
    read_until(&mut client, "\"text\":\"a\"").await;
    drop(client);
    // No further token is needed to notice.
    assert_eq!(hand.cancelled().await, None);
    wait_for(|| (server.app.count(Outcome::Cancelled) == 1).then_some(())).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_a_whole_answer_cancels_its_request() {
    let (server, mut hand) = Running::start(Setup::default(), PATIENCE).await;
    let client = server.request(json!({"prompt": ["p", "q"]})).await;
    let (first, second) = (hand.submission().await, hand.submission().await);
    drop(client);
    assert_eq!(hand.cancelled().await, None);
    assert_eq!(hand.cancelled().await, None);
    assert!(first.events.is_closed() && second.events.is_closed());
    wait_for(|| (server.app.count(Outcome::Cancelled) == 1).then_some(())).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_body_counts_as_cancelled() {
    let (server, _hand) = Running::start(Setup::default(), PATIENCE).await;
    for framing in ["content-length: 9", "transfer-encoding: chunked"] {
        let before = server.app.count(Outcome::Cancelled);
        let mut client = TcpStream::connect(server.address).await.unwrap();
        let head = format!("POST /v1/completions HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(b"3\r\n{").await.unwrap();
        wait_for(|| (server.app.metrics().open_requests.get() == 1).then_some(())).await;
        drop(client);
        wait_for(|| (server.app.count(Outcome::Cancelled) == before + 1).then_some(())).await;
    }
}

#[tokio::test]
async fn a_byte_behind_a_request_does_not_hide_that_its_client_leaves() {
    let (server, mut hand) = Running::start(Setup::default(), PATIENCE).await;
    for stream in [false, true] {
        let mut client = server.request(json!({"prompt": "p", "stream": stream})).await;
        let submission = hand.submission().await;
        client.write_all(b"x").await.unwrap();
        submission.events.send(token(0, ids("a")[0])).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(client);
        assert_eq!(hand.cancelled().await, None);
    }
    wait_for(|| (server.app.count(Outcome::Cancelled) == 2).then_some(())).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cancelled_and_its_place_given_to_others() {
    let timeouts = ConnectionTimeouts { write: taking_within(Duration::from_millis(100)), ..CONNECTIONS.timeouts };
    let (server, mut hand) = Running::start(impatient(ConnectionLimits { timeouts, ..CONNECTIONS }), PATIENCE).await;
    let mut client = slow_client(server.address).await;
    send(&mut client, json!({"prompt": "p", "stream": true, "logprobs": 20})).await;
    let running = hand.submission().await;
    flood(&running, 512);
    assert_eq!(hand.cancelled().await, None);
    wait_for(|| (server.app.count(Outcome::Cancelled) == 1).then_some(())).await;
}

#[tokio::test]
async fn a_whole_answer_counts_as_completed_only_when_its_client_takes_it() {
    let timeouts = ConnectionTimeouts { write: taking_within(Duration::from_millis(200)), ..CONNECTIONS.timeouts };
    let (server, mut hand) = Running::start(impatient(ConnectionLimits { timeouts, ..CONNECTIONS }), PATIENCE).await;
    for takes_it in [true, false] {
        let mut client = slow_client(server.address).await;
        send(&mut client, json!({"prompt": "p", "logprobs": 20})).await;
        let running = hand.submission().await;
        flood(&running, 256);
        finish(&running);
        assert_eq!(hand.cancelled().await, None, "the work is over");
        wait_for(|| (server.app.api.answer_budget.used_bytes() > 1 << 20).then_some(())).await;
        let outcome = if takes_it {
            read_length(&mut client).await;
            Outcome::Completed
        } else {
            Outcome::Cancelled
        };
        wait_for(|| (server.app.count(outcome) == 1).then_some(())).await;
        assert_eq!(server.app.api.answer_budget.used_bytes(), 0);
    }
    assert_eq!((server.app.count(Outcome::Completed), server.app.count(Outcome::Cancelled)), (1, 1));
}
