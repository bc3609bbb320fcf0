//! A server on a real socket, and clients that write and read bytes as a test says.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use server::access::Certificate;
use server::api::{Entrance, admin_router, probe_router};
use server::client_connection::Routes;
use server::engine::Submission;
use server::http_server::{ConnectionLimits, HttpServer, ServerShared};
use server::request::{FinishReason, GenerationEvent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::app::ids;
use crate::app::{App, PATIENCE, Setup};
use crate::scripted_engine::{Hand, score};

/// A tenth of what anything here would wait for.
pub const SOON: Duration = Duration::from_secs(1);

/// The routes of a server that serves.
pub fn routes(app: &App) -> Routes {
    let api = || app.api.clone();
    Routes { all: app.router.clone(), probes: probe_router(api()), admin: admin_router(api()) }
}

/// A server that listens.
pub struct Running {
    pub app: App,
    pub address: SocketAddr,
    pub shutdown: oneshot::Sender<()>,
    pub hurry: oneshot::Sender<()>,
    pub served: JoinHandle<()>,
}

impl Running {
    pub async fn start(setup: Setup, drain_timeout: Duration) -> (Self, Hand) {
        Self::start_with(setup, drain_timeout, None).await
    }

    /// A server that speaks TLS if it has a certificate.
    pub async fn start_with(setup: Setup, drain_timeout: Duration, certificate: Option<Certificate>) -> (Self, Hand) {
        let limits = setup.connections;
        let (app, hand) = App::by_hand(setup);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, wanted) = oneshot::channel();
        let (hurry, hurried) = oneshot::channel::<()>();
        let Entrance { liveness, metrics, .. } = app.api.entrance.clone();
        let shared = ServerShared { liveness, metrics, certificate };
        let server = HttpServer::start(listener, limits, routes(&app), shared);
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
    pub async fn request(&self, body: Value) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        send(&mut stream, body).await;
        stream
    }

    pub fn post(&self, body: &Value) -> JoinHandle<reqwest::Result<reqwest::Response>> {
        let url = format!("http://{}/v1/completions", self.address);
        tokio::spawn(reqwest::Client::new().post(url).json(body).send())
    }
}

pub async fn send(stream: &mut TcpStream, body: Value) {
    let body = body.to_string();
    let head = format!("POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).await.unwrap();
}

pub async fn read_until(stream: &mut TcpStream, words: &str) -> String {
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

pub async fn closed(stream: &mut TcpStream) {
    let read = timeout(PATIENCE, stream.read(&mut [0; 64])).await.expect("the connection is closed");
    assert_eq!(read.unwrap(), 0);
}

/// Reads an answer to the end that it declares.
pub async fn read_length(stream: &mut TcpStream) {
    let head = read_until(stream, "\r\n\r\n").await;
    let (fields, begun) = head.split_once("\r\n\r\n").unwrap();
    let length = fields.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let mut rest = stream.take(length.parse::<u64>().unwrap() - begun.len() as u64);
    let mut nowhere = tokio::io::sink();
    let read = tokio::io::copy(&mut rest, &mut nowhere);
    timeout(PATIENCE, read).await.expect("the whole answer").unwrap();
}

/// A client whose socket takes in little before it is read.
pub async fn slow_client(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(address).await.unwrap()
}

/// Sends so many events of the first choice, each with a thousand log-probabilities: a few hundred are more than the
/// sockets of a slow client take in.
pub fn flood(submission: &Submission, count: usize) {
    let large = GenerationEvent::Token { choice: 0, id: ids("a")[0], score: Some(score(ids("a")[0], 1000)) };
    for _ in 0..count {
        submission.events.send(large.clone()).unwrap();
    }
}

/// Ends the first choice.
pub fn finish(submission: &Submission) {
    submission.events.send(GenerationEvent::Finished { choice: 0, reason: FinishReason::Length }).unwrap();
}

/// The usual setup with these limits of connections.
pub fn impatient(connections: ConnectionLimits) -> Setup {
    Setup { connections, ..Setup::default() }
}
