//! Checkpoints by their ids on a hub, through the program: a hub on this machine has the demo.

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::routing::get;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::demo::folder;
use crate::process::{ServerProcess, command, end_output};
use crate::small_disk::SmallDisk;

const FILES: [&str; 4] = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"];
/// Other variables that say something about the way to a hub.
const OTHER_VARIABLES: [&str; 9] = [
    "HF_TOKEN",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
];
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub with one repository, `org/tiny`, and a folder for what is fetched from it.
struct Hub {
    address: SocketAddr,
    home: TempDir,
}

impl Hub {
    async fn start() -> Self {
        let siblings = FILES.map(|name| json!({ "rfilename": name }));
        let list = json!({ "sha": COMMIT, "siblings": siblings }).to_string();
        let routes = Router::new()
            .route("/api/models/org/tiny/revision/main", get(async || list))
            .route("/org/tiny/resolve/{commit}/{name}", get(file));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { address, home: tempfile::tempdir().unwrap() }
    }

    /// The program with these arguments, in an environment that names this hub.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.env("HF_ENDPOINT", format!("http://{}", self.address)).env("HF_HOME", self.home.path());
        for name in OTHER_VARIABLES {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output().unwrap()).await.unwrap()
    }
}

async fn file(Path((commit, name)): Path<(String, String)>) -> Result<(HeaderMap, Vec<u8>), StatusCode> {
    assert_eq!(commit, COMMIT);
    let contents = std::fs::read(folder().join(&name)).map_err(|_| StatusCode::NOT_FOUND)?;
    let mut headers = HeaderMap::new();
    headers.insert(header::ETAG, format!("\"tag-of-{name}\"").parse().unwrap());
    headers.insert(HeaderName::from_static("x-linked-size"), contents.len().into());
    Ok((headers, contents))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pull_prints_the_folder_and_the_id_serves_it_offline_under_its_name() {
    let hub = Hub::start().await;
    let pulled = hub.run(&["pull", "org/tiny", "--log-level", "warn"]).await;
    assert_eq!(pulled.status.code(), Some(0), "{pulled:?}");
    let printed = String::from_utf8(pulled.stdout).unwrap();
    let snapshot = hub.home.path().join("hub/models--org--tiny/snapshots").join(COMMIT);
    assert_eq!(printed, format!("{}\n", snapshot.display()));
    assert!(pulled.stderr.is_empty(), "no bar is drawn where there is no terminal");
    for name in FILES {
        assert_eq!(std::fs::read(snapshot.join(name)).unwrap(), std::fs::read(folder().join(name)).unwrap(), "{name}");
    }
    let mut command = hub.command(&["--model", "org/tiny", "--threads", "1", "--port", "0"]);
    let server = ServerProcess::spawn(command.env("HF_HUB_OFFLINE", "1"));
    let list: Value = reqwest::get(format!("http://{}/v1/models", server.address)).await.unwrap().json().await.unwrap();
    assert_eq!(list["data"][0]["id"], "org/tiny");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_takes_an_id_and_says_what_to_do_when_there_is_no_such_repository() {
    let hub = Hub::start().await;
    let generated =
        hub.run(&["generate", "a tool", "--model", "org/tiny", "--max-tokens", "2", "--log-level", "warn"]).await;
    assert_eq!(generated.status.code(), Some(0), "{generated:?}");
    let (out, rows) = (hub.home.path().join("quantized"), hub.home.path().join("rows.jsonl"));
    std::fs::write(&rows, json!({"input": "a tool", "target": "a tool"}).to_string()).unwrap();
    let (out, rows) = (out.to_str().unwrap(), rows.to_str().unwrap());
    for arguments in [
        &["quantize", "--model", "org/tiny", "--scheme", "int8", "--out", out][..],
        &["eval", "--model", "org/tiny", "--data", rows, "--max-tokens", "2"],
        &["bench", "--model", "org/tiny", "--source", "8", "--target", "2", "--batch", "1"],
    ] {
        let done = hub.run(arguments).await;
        assert_eq!(done.status.code(), Some(0), "{done:?}");
    }
    for arguments in [&["pull", "org/none"][..], &["generate", "x", "--model", "org/none"]] {
        let failed = hub.run(arguments).await;
        assert_eq!(failed.status.code(), Some(1));
        let said = String::from_utf8(failed.stderr).unwrap();
        assert!(said.starts_with(&format!("error: http://{} has no repository `org/none`, or", hub.address)), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_onto_a_full_disk_names_the_folder_and_goes_on_when_there_is_room() {
    let (hub, disk) = (Hub::start().await, SmallDisk::new(16));
    let home = disk.inside("home");
    let pull = async || {
        let mut command = hub.command(&["pull", "org/tiny", "--log-level", "warn"]);
        let command = disk.give_to(command.env("HF_HOME", &home));
        tokio::task::spawn_blocking(move || end_output(command)).await.unwrap()
    };
    let snapshot = disk.seen("home/hub/models--org--tiny/snapshots").join(COMMIT);
    for pages in [0, 8] {
        disk.fill(pages);
        let failed = pull().await;
        assert_eq!(failed.status.code(), Some(1), "{failed:?}");
        let said = String::from_utf8(failed.stderr).unwrap();
        assert!(said.lines().count() == 1 && said.contains(&home), "{said}");
        assert!(!disk.is_real() || said.contains("free"), "{said}");
        assert!(!snapshot.join("model.safetensors").exists(), "no name for half a file");
    }
    disk.make_room();
    let pulled = pull().await;
    assert_eq!(pulled.status.code(), Some(0), "{pulled:?}");
    for name in FILES {
        assert!(std::fs::read(snapshot.join(name)).unwrap() == std::fs::read(folder().join(name)).unwrap(), "{name}");
    }
}
