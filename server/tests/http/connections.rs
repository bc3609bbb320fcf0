//! Over real sockets: clients that go away, bodies that are too large, and shutdown.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use server::engine::{FinishReason, GenerationEvent};
use server::serve::serve;
use server::telemetry::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::app::{App, Events, Hand, PATIENCE, Setup, ids, token, wait_for};

/// A server that listens.
struct Running {
    app: App,
    address: SocketAddr,
    shutdown: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
}

impl Running {
    async fn start(setup: Setup, drain_timeout: Duration) -> (Self, Hand) {
        let (app, hand) = App::by_hand(setup);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, wanted) = oneshot::channel();
        let shut = async move {
            let _ = wanted.await;
        };
        let served = tokio::spawn(serve(listener, app.api.clone(), drain_timeout, shut));
        (Self { app, address, shutdown, served }, hand)
    }

    /// Sends a completion request and gives the connection.
    async fn request(&self, body: Value) -> TcpStream {
        let body = body.to_string();
        let head = format!("POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        stream
    }

    fn post(&self, body: &Value) -> JoinHandle<reqwest::Result<reqwest::Response>> {
        let url = format!("http://{}/v1/completions", self.address);
        tokio::spawn(reqwest::Client::new().post(url).json(body).send())
    }
}

async fn read_until(stream: &mut TcpStream, words: &str) -> String {
    let mut seen = Vec::new();
    let read = async {
        loop {
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).await.unwrap();
            seen.extend_from_slice(&buffer[..count]);
            let text = String::from_utf8_lossy(&seen).into_owned();
            if text.contains(words) {
                return text;
            }
            assert!(count > 0, "the connection ended after {text}");
        }
    };
    timeout(PATIENCE, read).await.expect("the words")
}

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
async fn the_client_of_a_body_that_is_too_large_can_read_the_answer() {
    let (server, _hand) = Running::start(Setup::default(), PATIENCE).await;
    // Declared, and far more than sockets buffer: the server has to take the rest in.
    let body = json!({"prompt": "a".repeat(3 << 20)});
    let response = server.post(&body).await.unwrap().expect("an answer, not a reset connection");
    assert_eq!(response.status(), 413);
    assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], "request_too_large");

    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    let chunk = [b"10000\r\n", vec![b' '; 0x10000].as_slice(), b"\r\n"].concat();
    for _ in 0..40 {
        client.write_all(&chunk).await.unwrap();
    }
    client.write_all(b"0\r\n\r\n").await.unwrap();
    let answer = read_until(&mut client, "request_too_large").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn the_client_of_a_large_body_that_is_not_wanted_can_read_the_answer() {
    let (server, mut hand) = Running::start(Setup { queued_requests: 1, ..Setup::default() }, PATIENCE).await;
    let body = json!({"prompt": "a".repeat(3 << 20)}).to_string();
    let full = json!({"prompt": "a".repeat(1 << 19)}).to_string();
    let _waiting = server.request(json!({"prompt": "p"})).await;
    let _queued = hand.submission().await;
    for (path, body, status, code) in [
        ("/v1/chat/completions", &body, 404, "unknown_url"),
        ("/v1/models", &body, 405, "method_not_supported"),
        ("/v1/completions", &full, 429, "overloaded"),
    ] {
        let url = format!("http://{}{path}", server.address);
        let answer = reqwest::Client::new().post(url).body(body.clone()).send().await.expect("an answer");
        assert_eq!(answer.status(), status);
        assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], code);
    }
}

#[tokio::test]
async fn what_is_no_http_request_is_answered_by_a_status_alone() {
    let (server, _hand) = Running::start(Setup::default(), PATIENCE).await;
    let fields = "x: y\r\n".repeat(101);
    for (request, status) in [
        ("no request\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
        ("GET /health HTTP/1.1\r\nno field\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 16)), "HTTP/1.1 414 "),
        (format!("GET /health HTTP/1.1\r\n{fields}\r\n"), "HTTP/1.1 431 "),
    ] {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = read_until(&mut client, "\r\n\r\n").await;
        assert!(answer.starts_with(status), "{answer}");
        assert!(answer.contains("content-length: 0") && answer.ends_with("\r\n\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_permission_to_send_too_much_is_told_no() {
    let (server, _hand) = Running::start(Setup::default(), PATIENCE).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\nexpect: 100-continue\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let answer = read_until(&mut client, "request_too_large").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn shutdown_lets_streams_finish_refuses_new_requests_and_then_closes() {
    let (server, mut hand) = Running::start(Setup::default(), PATIENCE).await;
    let mut client = server.request(json!({"prompt": "p", "stream": true})).await;
    let submission = hand.submission().await;
    submission.events.send(token(0, ids("a")[0])).unwrap();
    read_until(&mut client, "\"text\":\"a\"").await;
    // A connection that only stands there must not delay anything.
    let _idle = TcpStream::connect(server.address).await.unwrap();

    server.shutdown.send(()).unwrap();
    wait_for(|| server.app.api.engine.is_draining().then_some(())).await;
    let url = format!("http://{}/v1/completions", server.address);
    let refused = reqwest::Client::new().post(url).json(&json!({"prompt": "p"})).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(!server.served.is_finished());

    submission.events.send(token(0, ids("b")[0])).unwrap();
    submission.events.send(GenerationEvent::Finished { choice: 0, reason: FinishReason::Length }).unwrap();
    read_until(&mut client, "data: [DONE]").await;
    timeout(PATIENCE, server.served).await.expect("the server ends").unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
    assert_eq!(server.app.count(Outcome::Completed), 1);
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let (server, mut hand) = Running::start(Setup::default(), Duration::from_millis(50)).await;
    let _client = server.request(json!({"prompt": "p", "stream": true})).await;
    let _running = hand.submission().await;
    server.shutdown.send(()).unwrap();
    timeout(PATIENCE, server.served).await.expect("the server ends").unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_is_framed_for_real_clients_too() {
    let (server, mut hand) = Running::start(Setup::default(), PATIENCE).await;
    let client = server.post(&json!({"prompt": "p", "stream": true}));
    let submission = hand.submission().await;
    for id in ids("a fine tool") {
        submission.events.send(token(0, id)).unwrap();
    }
    submission.events.send(GenerationEvent::Finished { choice: 0, reason: FinishReason::Length }).unwrap();
    let response = client.await.unwrap().unwrap();
    assert_eq!(response.headers()["cache-control"], "no-cache");
    let events = Events::of(&response.text().await.unwrap());
    assert!(events.done);
    assert_eq!(events.text_of(0), "a fine tool");
}
