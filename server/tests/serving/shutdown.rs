//! The real process from its first words to its last stream.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::answer::PATIENCE;
use crate::demo::rows;
use crate::process::{ServerProcess, run};

const LONG: u64 = 1000;
const CHOICES: u64 = 8;

/// A connection that is used for one request after the other.
struct Connection(TcpStream);

impl Connection {
    async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// Status line, headers and body of the answer.
    async fn ask(&mut self, method: &str, path: &str, body: &str) -> String {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len());
        self.0.write_all((head + body).as_bytes()).await.unwrap();
        let mut answer = String::new();
        let mut buffer = [0; 4096];
        let read = async {
            while !is_whole(&answer) {
                let count = self.0.read(&mut buffer).await.unwrap();
                assert!(count > 0, "the connection ended after {answer:?}");
                answer.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("an answer");
        answer
    }
}

fn is_whole(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    body.len() == length.parse::<usize>().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_printed_curl_line_works_as_printed() {
    let server = ServerProcess::start(&[]);
    let line = server.curl_line().to_owned();
    let has_curl = Command::new("curl").arg("--version").output().is_ok();
    let answer: Value = if has_curl {
        let output = Command::new("sh").args(["-c", &line]).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    } else {
        // A machine without curl: the same body to the same place.
        let (url, body) = (line.split(' ').nth(1).unwrap(), line.split('\'').nth(3).unwrap());
        let request = Client::new().post(url).header("content-type", "application/json").body(body.to_owned());
        request.send().await.unwrap().json().await.unwrap()
    };
    let choice = &answer["choices"][0];
    let text = choice["text"].as_str().unwrap();
    assert!(text.split(' ').count() >= 2 && text.is_ascii(), "{text}");
    assert_eq!((&answer["model"], &choice["finish_reason"]), (&json!("demo"), &json!("stop")));
    assert!(server.message.iter().all(|line| line.contains(" server::startup: ")), "{:?}", server.message);
    assert!(
        server.message[0].contains(" model=\"demo\" shape=\"4+4 layers of width 192\" arithmetic=bf16 device=\"cpu ("),
        "{:?}",
        server.message
    );
    server.terminate();
    assert_eq!(server.end().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_server_told_to_end_finishes_its_streams_refuses_new_requests_and_exits_0() {
    let server = ServerProcess::start(&["--threads", "1", "--dtype", "f32"]);
    let (address, row) = (server.address, &rows()[0]);
    let body = json!({"prompt": row.input, "stream": true, "stream_options": {"include_usage": true}, "n": CHOICES,
        "ignore_eos": true, "max_tokens": LONG, "speculation": "off"});
    let request = Client::new().post(format!("http://{address}/v1/completions")).json(&body);
    let mut stream = request.send().await.unwrap();
    let mut text = String::from_utf8(stream.chunk().await.unwrap().unwrap().into()).unwrap();
    let mut kept = Connection::open(address).await;
    assert!(kept.ask("GET", "/ready", "").await.starts_with("HTTP/1.1 200"));
    server.terminate();
    while kept.ask("GET", "/ready", "").await.starts_with("HTTP/1.1 200") {}
    // Each answer is the last one of its connection now.
    let refused = loop {
        let mut new = Connection::open(address).await;
        let answer = new.ask("POST", "/v1/completions", "{\"prompt\": \"late\", \"max_tokens\": 1}").await;
        if !answer.starts_with("HTTP/1.1 200") {
            break answer;
        }
    };
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("\"shutting_down\""), "{refused}");
    assert!(refused.to_lowercase().contains("retry-after: 1"), "{refused}");
    assert!(refused.contains("connection: close"), "{refused}");
    let mut new = Connection::open(address).await;
    assert!(new.ask("GET", "/health", "").await.starts_with("HTTP/1.1 200"), "it still lives");
    while let Some(chunk) = stream.chunk().await.unwrap() {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert!(text.ends_with("data: [DONE]\n\n"), "the stream came to its end");
    assert!(text.contains(&format!("\"completion_tokens\":{}", CHOICES * LONG)));
    assert_eq!(server.end().code(), Some(0));
}

/// A stream that has begun and would run for long, and what came of it.
async fn long_stream(address: SocketAddr) -> (reqwest::Response, String) {
    let body = json!({"prompt": rows()[0].input, "stream": true, "n": 16, "ignore_eos": true, "max_tokens": LONG,
        "speculation": "off"});
    let request = Client::new().post(format!("http://{address}/v1/completions")).json(&body);
    let mut stream = request.send().await.unwrap();
    let text = String::from_utf8(stream.chunk().await.unwrap().unwrap().into()).unwrap();
    (stream, text)
}

async fn assert_cut_off((mut stream, mut text): (reqwest::Response, String)) {
    while let Some(chunk) = stream.chunk().await.expect("the stream ends as a stream does") {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let last = text.trim_end().split("data: ").last().unwrap();
    let error: Value = serde_json::from_str(last).unwrap();
    assert_eq!(error["error"]["code"], "shutting_down", "{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn at_the_drain_timeout_the_process_tells_its_clients_and_exits_0() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("short.toml");
    std::fs::write(&settings, "[server]\ndrain_timeout_s = 0\ndrain_delay_s = 0\n").unwrap();
    let server = ServerProcess::start(&["--threads", "1", "--dtype", "f32", "--config", settings.to_str().unwrap()]);
    let stream = long_stream(server.address).await;
    // One who sends half a head and one who sends half a body hold nothing up.
    let mut half_head = Connection::open(server.address).await;
    half_head.0.write_all(b"POST /v1/completions HTTP/1.1\r\nhost: ").await.unwrap();
    let mut half_body = Connection::open(server.address).await;
    half_body.0.write_all(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{").await.unwrap();
    let began = Instant::now();
    server.terminate();
    assert_cut_off(stream).await;
    assert_eq!(server.end().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_second_signal_cuts_off_at_once() {
    let server = ServerProcess::start(&["--threads", "1", "--dtype", "f32"]);
    let stream = long_stream(server.address).await;
    let mut kept = Connection::open(server.address).await;
    assert!(kept.ask("GET", "/ready", "").await.starts_with("HTTP/1.1 200"));
    server.terminate();
    while kept.ask("GET", "/ready", "").await.starts_with("HTTP/1.1 200") {}
    let began = Instant::now();
    server.terminate();
    assert_cut_off(stream).await;
    assert_eq!(server.end().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn requests_are_taken_while_a_balancer_still_sends_them() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("delay.toml");
    std::fs::write(&settings, "[server]\ndrain_delay_s = 1\n").unwrap();
    let server = ServerProcess::start(&["--threads", "1", "--config", settings.to_str().unwrap()]);
    let address = server.address;
    let checked = || run(&["check", &format!("http://{address}")]);
    let ready = checked();
    assert_eq!((ready.status.code(), &ready.stdout[..]), (Some(0), &b"ready\n"[..]), "{ready:?}");
    let began = Instant::now();
    server.terminate();
    let status = async |method: &str, path: &str, body: &str| {
        let answer = Connection::open(address).await.ask(method, path, body).await;
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    while status("GET", "/ready", "").await == "200" {}
    assert!(began.elapsed() < Duration::from_millis(500), "not ready at once");
    let leaving = checked();
    assert_eq!(leaving.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&leaving.stderr).contains("/ready answers 503: "), "{leaving:?}");
    let short = "{\"prompt\": \"a\", \"max_tokens\": 2}";
    let mut last = Instant::now();
    while status("POST", "/v1/completions", short).await == "200" {
        last = Instant::now();
        if began.elapsed() > Duration::from_millis(800) {
            break;
        }
    }
    assert!(last - began > Duration::from_millis(700), "refused after {:?}", last - began);
    assert_eq!(server.end().code(), Some(0));
    assert!(began.elapsed() > Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_end_of_its_terminal_lets_a_server_finish_its_answers() {
    let server = ServerProcess::start(&["--threads", "1", "--dtype", "f32"]);
    let body = json!({"prompt": rows()[0].input, "stream": true, "ignore_eos": true, "max_tokens": 400,
        "speculation": "off"});
    let request = Client::new().post(format!("http://{}/v1/completions", server.address)).json(&body);
    let stream = request.send().await.unwrap();
    server.signal("HUP");
    assert!(stream.text().await.unwrap().ends_with("data: [DONE]\n\n"));
    assert_eq!(server.end().code(), Some(0));
}
