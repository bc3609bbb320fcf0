//! Over real sockets: clients that go away, bodies that are too large, and shutdown.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use server::api::probe_router;
use server::client_connection::{ConnectionTimeouts, PlaceLimits, Routes};
use server::http_server::{ConnectionLimits, HttpServer, ServerShared};
use server::request::{FinishReason, GenerationEvent};
use server::telemetry::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::app::{App, CONNECTIONS, Events, Hand, PATIENCE, Setup, ids, score, taking_within, token, wait_for};

/// A tenth of what anything here would wait for.
const SOON: Duration = Duration::from_secs(1);

/// A server that listens.
struct Running {
    app: App,
    address: SocketAddr,
    shutdown: oneshot::Sender<()>,
    hurry: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Running {
    async fn start(setup: Setup, drain_timeout: Duration) -> (Self, Hand) {
        let limits = setup.connections;
        let (app, hand) = App::by_hand(setup);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, wanted) = oneshot::channel();
        let (hurry, hurried) = oneshot::channel::<()>();
        let routes = Routes { all: app.router.clone(), probes: probe_router(app.api.clone()) };
        let shared =
            ServerShared { liveness: app.api.entrance.liveness.clone(), metrics: app.api.entrance.metrics.clone() };
        let server = HttpServer::start(listener, limits, routes, shared);
        let api = app.api.clone();
        let served = tokio::spawn(async move {
            let _ = wanted.await;
            let hurried = async {
                let _ = hurried.await;
            };
            server.drain(&api, drain_timeout, hurried).await;
        });
        (Self { app, address, shutdown, hurry, served }, hand)
    }

    /// Sends a completion request and gives the connection.
    async fn request(&self, body: Value) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        send(&mut stream, body).await;
        stream
    }

    fn post(&self, body: &Value) -> JoinHandle<reqwest::Result<reqwest::Response>> {
        let url = format!("http://{}/v1/completions", self.address);
        tokio::spawn(reqwest::Client::new().post(url).json(body).send())
    }
}

async fn send(stream: &mut TcpStream, body: Value) {
    let body = body.to_string();
    let head = format!("POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).await.unwrap();
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

async fn closed(stream: &mut TcpStream) {
    let read = timeout(PATIENCE, stream.read(&mut [0; 64])).await.expect("the connection is closed");
    assert_eq!(read.unwrap(), 0);
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
    let (server, mut hand) = Running::start(Setup { queued_rows: 1, ..Setup::default() }, PATIENCE).await;
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
    submission.events.send(GenerationEvent::Finished { choice: 0, reason: FinishReason::Length }).unwrap();
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
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = socket.connect(server.address).await.unwrap();
    send(&mut client, json!({"prompt": "p", "stream": true, "logprobs": 20})).await;
    let running = hand.submission().await;
    // More than the sockets take in.
    let large = GenerationEvent::Token { choice: 0, id: ids("a")[0], score: Some(score(ids("a")[0], 1000)) };
    for _ in 0..512 {
        running.events.send(large.clone()).unwrap();
    }
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

fn timeouts(header: Duration, keep_alive: Duration) -> ConnectionLimits {
    ConnectionLimits {
        timeouts: ConnectionTimeouts { header, keep_alive, write: taking_within(PATIENCE) },
        ..CONNECTIONS
    }
}

fn places(connections: usize, reserved: usize, per_peer: usize) -> Setup {
    impatient(ConnectionLimits { places: PlaceLimits { connections, reserved, per_peer }, ..CONNECTIONS })
}

fn impatient(connections: ConnectionLimits) -> Setup {
    Setup { connections, ..Setup::default() }
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
    running.events.send(GenerationEvent::Finished { choice: 0, reason: FinishReason::Length }).unwrap();
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
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut taking = socket.connect(server.address).await.unwrap();
    send(&mut taking, json!({"prompt": "p", "logprobs": 20})).await;
    let running = hand.submission().await;
    let large = GenerationEvent::Token { choice: 0, id: ids("a")[0], score: Some(score(ids("a")[0], 1000)) };
    for _ in 0..256 {
        running.events.send(large.clone()).unwrap();
    }
    running.events.send(GenerationEvent::Finished { choice: 0, reason: FinishReason::Length }).unwrap();
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
    running.events.send(GenerationEvent::Finished { choice: 0, reason: FinishReason::Length }).unwrap();
    read_until(&mut busy, "\r\n\r\n").await;
}

#[tokio::test]
async fn an_address_for_probes_answers_them_and_nothing_else() {
    let (app, _hand) = App::by_hand(Setup::default());
    let [listener, probes] =
        [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
    let address = probes.local_addr().unwrap();
    let routes = Routes { all: app.router.clone(), probes: probe_router(app.api.clone()) };
    let server = HttpServer::start(listener, CONNECTIONS, routes, ServerShared::default());
    server.probe(probes);
    for (path, status) in [("/health", 200), ("/ready", 200), ("/metrics", 200), ("/v1/models", 429)] {
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
async fn a_client_that_does_not_read_is_cancelled_and_its_place_given_to_others() {
    let timeouts = ConnectionTimeouts { write: taking_within(Duration::from_millis(100)), ..CONNECTIONS.timeouts };
    let (server, mut hand) = Running::start(impatient(ConnectionLimits { timeouts, ..CONNECTIONS }), PATIENCE).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = socket.connect(server.address).await.unwrap();
    send(&mut client, json!({"prompt": "p", "stream": true, "logprobs": 20})).await;
    let running = hand.submission().await;
    let large = GenerationEvent::Token { choice: 0, id: ids("a")[0], score: Some(score(ids("a")[0], 1000)) };
    for _ in 0..512 {
        running.events.send(large.clone()).unwrap();
    }
    assert_eq!(hand.cancelled().await, None);
    wait_for(|| (server.app.count(Outcome::Cancelled) == 1).then_some(())).await;
}

/// Reads an answer to the end that it declares.
async fn read_length(stream: &mut TcpStream) {
    let head = read_until(stream, "\r\n\r\n").await;
    let (fields, begun) = head.split_once("\r\n\r\n").unwrap();
    let length = fields.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let mut rest = stream.take(length.parse::<u64>().unwrap() - begun.len() as u64);
    let mut nowhere = tokio::io::sink();
    let read = tokio::io::copy(&mut rest, &mut nowhere);
    timeout(PATIENCE, read).await.expect("the whole answer").unwrap();
}

#[tokio::test]
async fn a_whole_answer_counts_as_completed_only_when_its_client_takes_it() {
    let timeouts = ConnectionTimeouts { write: taking_within(Duration::from_millis(200)), ..CONNECTIONS.timeouts };
    let (server, mut hand) = Running::start(impatient(ConnectionLimits { timeouts, ..CONNECTIONS }), PATIENCE).await;
    for takes_it in [true, false] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut client = socket.connect(server.address).await.unwrap();
        send(&mut client, json!({"prompt": "p", "logprobs": 20})).await;
        let running = hand.submission().await;
        let large = GenerationEvent::Token { choice: 0, id: ids("a")[0], score: Some(score(ids("a")[0], 1000)) };
        for _ in 0..256 {
            running.events.send(large.clone()).unwrap();
        }
        running.events.send(GenerationEvent::Finished { choice: 0, reason: FinishReason::Length }).unwrap();
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
async fn requests_sent_ahead_are_answered_one_after_the_other() {
    let (server, mut hand) = Running::start(Setup::default(), PATIENCE).await;
    let mut client = server.request(json!({"prompt": "p"})).await;
    let running = hand.submission().await;
    send(&mut client, json!({"prompt": "q"})).await;
    client.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    running.events.send(GenerationEvent::Finished { choice: 0, reason: FinishReason::Length }).unwrap();
    assert_eq!(hand.cancelled().await, None, "the engine is told that the first is over");
    let next = hand.submission().await;
    next.events.send(GenerationEvent::Finished { choice: 0, reason: FinishReason::Length }).unwrap();
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
    submission.events.send(GenerationEvent::Finished { choice: 0, reason: FinishReason::Length }).unwrap();
    let response = client.await.unwrap().unwrap();
    assert_eq!(response.headers()["cache-control"], "no-cache");
    let events = Events::of(&response.text().await.unwrap());
    assert!(events.done);
    assert_eq!(events.text_of(0), "a fine tool");
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
