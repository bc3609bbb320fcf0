//! The process while the model is still being loaded, which takes a published shape's random weights seconds.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::process::{command, end, terminate};

/// A server that loads for a while.
struct LoadingProcess {
    child: Child,
    stderr: BufReader<ChildStderr>,
    address: SocketAddr,
}

impl LoadingProcess {
    fn start() -> Self {
        Self::with(&["--shape", "s-s"])
    }

    fn with(arguments: &[&str]) -> Self {
        let mut command = command(&["--port", "0", "--threads", "1", "--log-level", "debug"]);
        command.args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it says where it lives");
            if let Some((_, address)) = line.split_once("address=") {
                break address.trim().parse().unwrap();
            }
        };
        Self { child, stderr, address }
    }
}

impl Drop for LoadingProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn while_the_model_is_loaded_the_server_is_alive_and_says_that_it_is_not_ready() {
    let mut server = LoadingProcess::start();
    let url = format!("http://{}", server.address);
    let client = Client::new();
    let get = async |path: &str| client.get(format!("{url}{path}")).send().await.unwrap();
    assert_eq!(get("/health").await.status(), StatusCode::OK);
    let ready = get("/ready").await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ready.json::<Value>().await.unwrap()["error"]["code"], "loading");
    let completion =
        client.post(format!("{url}/v1/completions")).json(&json!({"prompt": [2, 10, 11], "max_tokens": 1}));
    let early = completion.try_clone().unwrap().send().await.unwrap();
    assert_eq!((early.status().as_u16(), &early.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(early.json::<Value>().await.unwrap()["error"]["code"], "loading");
    for path in ["/v1/chat/completions", "/v1/embeddings", "/v1/encode", "/pooling", "/v1/score", "/rerank"] {
        let early = client.post(format!("{url}{path}")).json(&json!({})).send().await.unwrap();
        assert_eq!(early.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    let metrics = get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("encdec_requests_total{model=\"s-s\",outcome=\"unavailable\"} 7"), "{metrics}");

    let mut lines = server.stderr.by_ref().lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains(&format!(" listens on {url} "))), "it says that requests are taken");
    // The client's connections are the same as before.
    assert_eq!(get("/ready").await.status(), StatusCode::OK);
    assert_eq!(completion.send().await.unwrap().status(), StatusCode::OK);
    let metrics = get("/metrics").await.text().await.unwrap();
    assert!(
        metrics.contains("encdec_requests_total{model=\"s-s\",outcome=\"unavailable\"} 7"),
        "it counts on: {metrics}"
    );
}

#[test]
fn a_server_told_to_end_while_it_loads_exits_0_at_once() {
    let mut server = LoadingProcess::start();
    let began = Instant::now();
    terminate(&server.child);
    assert_eq!(end(&mut server.child).code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_model_that_cannot_be_loaded_ends_the_process_with_one_line_and_1() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokenizer.json");
    std::fs::write(&file, "no tokenizer").unwrap();
    let mut server = LoadingProcess::with(&["--tokenizer", file.to_str().unwrap()]);
    assert_eq!(end(&mut server.child).code(), Some(1));
    let mut rest = String::new();
    server.stderr.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("error: ") && rest.lines().count() == 1, "{rest}");
}
