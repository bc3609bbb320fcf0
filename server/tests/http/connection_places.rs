//! Places of connections: how long an idle one keeps its place, and who gets one when all are taken.

use std::time::Duration;

use serde_json::json;
use server::client_connection::{ConnectionTimeouts, PlaceLimits};
use server::http_server::{ConnectionLimits, HttpServer, ServerShared};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::app::{App, CONNECTIONS, PATIENCE, Setup, taking_within, wait_for};
use crate::listening::{Running, closed, finish, flood, impatient, read_length, read_until, routes, send, slow_client};

fn timeouts(header: Duration, keep_alive: Duration) -> ConnectionLimits {
    ConnectionLimits {
        timeouts: ConnectionTimeouts { header, keep_alive, write: taking_within(PATIENCE) },
        ..CONNECTIONS
    }
}

fn places(connections: usize, reserved: usize, per_peer: usize) -> Setup {
    impatient(ConnectionLimits { places: PlaceLimits { connections, reserved, per_peer }, ..CONNECTIONS })
}

#[tokio::test]
async fn a_head_that_does_not_come_and_a_connection_left_idle_are_closed() {
    let connections = timeouts(Duration::from_millis(50), Duration::from_millis(200));
    let (server, _hand) = Running::start(impatient(connections), PATIENCE).await;
    for beginning in ["", "POST /v1/completions HTTP/1.1\r\nhost: "] {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(beginning.as_bytes()).await.unwrap();
        closed(&mut client).await;
    }
    for beginning in ["", "GET /health HTTP/1.1\r\n"] {
        let mut kept = TcpStream::connect(server.address).await.unwrap();
        kept.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        read_until(&mut kept, "ok\n").await;
        kept.write_all(beginning.as_bytes()).await.unwrap();
        closed(&mut kept).await;
    }
}

#[tokio::test]
async fn an_answer_may_take_longer_than_a_head() {
    let connections = timeouts(Duration::from_millis(20), Duration::from_millis(20));
    let (server, mut hand) = Running::start(impatient(connections), PATIENCE).await;
    let mut client = server.request(json!({"prompt": "p"})).await;
    let running = hand.submission().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    finish(&running);
    assert!(read_until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_connection_over_the_limit_takes_the_place_of_one_that_is_idle() {
    let (server, _hand) = Running::start(places(1, 0, 64), PATIENCE).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    read_until(&mut idle, "ok\n").await;
    let mut second = TcpStream::connect(server.address).await.unwrap();
    second.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    read_until(&mut second, "ok\n").await;
    closed(&mut idle).await;
}

#[tokio::test]
async fn a_client_that_has_not_taken_its_answer_is_not_idle() {
    let (server, mut hand) = Running::start(places(2, 1, 64), PATIENCE).await;
    let mut taking = slow_client(server.address).await;
    send(&mut taking, json!({"prompt": "p", "logprobs": 20})).await;
    let running = hand.submission().await;
    flood(&running, 256);
    finish(&running);
    assert_eq!(hand.cancelled().await, None);
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    read_until(&mut idle, "ok\n").await;
    let answer = reqwest::get(format!("http://{}/v1/models", server.address)).await.unwrap();
    assert_eq!(answer.status(), 200, "the idle one made room, so it needed no place for probes");
    closed(&mut idle).await;
    read_length(&mut taking).await;
}

#[tokio::test]
async fn when_all_connections_are_busy_probes_are_answered_and_requests_are_told_so() {
    let (server, mut hand) = Running::start(places(1, 1, 64), PATIENCE).await;
    let mut busy = server.request(json!({"prompt": "p"})).await;
    let running = hand.submission().await;
    for path in ["/health", "/ready", "/metrics"] {
        let answer = reqwest::get(format!("http://{}{path}", server.address)).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    let refused = server.post(&json!({"prompt": "p"})).await.unwrap().unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    finish(&running);
    read_until(&mut busy, "\r\n\r\n").await;
}

#[tokio::test]
async fn an_address_for_probes_answers_them_and_nothing_else() {
    let (app, _hand) = App::by_hand(Setup::default());
    let [listener, probes] =
        [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
    let address = probes.local_addr().unwrap();
    let server = HttpServer::start(listener, CONNECTIONS, routes(&app), ServerShared::default());
    server.probe(probes);
    for (path, status) in [("/health", 200), ("/ready", 200), ("/metrics", 200), ("/v1/models", 404)] {
        let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.headers()["connection"], "close", "{path}");
    }
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_is_told_so() {
    let (server, _hand) = Running::start(places(64, 4, 1), PATIENCE).await;
    let first = TcpStream::connect(server.address).await.unwrap();
    // Whoever gets this answer has been accepted before the second one.
    let mut second = TcpStream::connect(server.address).await.unwrap();
    let answer = read_until(&mut second, "connections_per_peer").await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    drop(first);
    let url = format!("http://{}/health", server.address);
    wait_for_ok(&url).await;
}

async fn wait_for_ok(url: &str) {
    let answered = async {
        while !reqwest::get(url).await.is_ok_and(|answer| answer.status() == 200) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, answered).await.expect("an answer");
}

#[tokio::test]
async fn open_connections_and_their_limit_are_in_the_metrics() {
    let (server, _hand) = Running::start(Setup::default(), PATIENCE).await;
    let metrics = server.app.api.entrance.metrics.server();
    let (first, second) = (TcpStream::connect(server.address).await, TcpStream::connect(server.address).await);
    wait_for(|| (metrics.connections_open.get() == 2).then_some(())).await;
    assert_eq!(metrics.connections_limit.get(), 64);
    drop((first, second));
    wait_for(|| (metrics.connections_open.get() == 0).then_some(())).await;
}
