//! Batches that the server keeps, over the demo: whenever it is killed, and beside other requests.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::{Client, Response};
use serde_json::{Value, json};
use server::access::Keys;
use server::api::batch_router;
use server::batch::Pace;
use server::batch_store::{
    BatchRecord, BatchStatus, BatchStore, NewBatch, Owner, Runner, RunnerParts, StoreLimits, Upload, UploadName,
    WITHDRAWAL,
};

use crate::answer::PATIENCE;
use crate::app::{App, wait_until};
use crate::demo::rows;
use crate::process::{ServerProcess, complaint};

const LIMITS: StoreLimits = StoreLimits {
    file_bytes: 1 << 20,
    total_bytes: 1 << 22,
    lines: 1000,
    files: 100,
    unfinished: 10,
    key_percent: 100,
    keep: Duration::from_secs(1000),
};

/// Completions of the demo's descriptions.
pub fn completions(count: usize, max_tokens: u32) -> String {
    let rows = rows();
    let line = |index: usize| {
        let prompt = &rows[index % rows.len()].input;
        let body = json!({"prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "ignore_eos": true});
        json!({"custom_id": format!("r{index}"), "method": "POST", "url": "/v1/completions", "body": body})
    };
    (0..count).map(|index| format!("{}\n", line(index))).collect()
}

fn create(store: &BatchStore, text: &str) -> BatchRecord {
    let owner = Owner::default();
    let mut upload = Upload::begin(store, &owner).unwrap();
    upload.write(text.as_bytes()).unwrap();
    let file = upload.finish(UploadName { filename: "a.jsonl".to_owned(), keep_s: None }).unwrap();
    let (endpoint, completion_window) = ("/v1/completions".to_owned(), "1h".to_owned());
    let (input_file_id, window_s) = (file.id, 3600);
    let asked = NewBatch { input_file_id, endpoint, completion_window, window_s, metadata: None, output_s: None };
    store.create(&owner, asked).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_leaves_rows_to_interactive_requests_and_goes_on_after_them() {
    let app = App::start("[limits]\nrunning_rows = 1\n");
    let folder = tempfile::tempdir().unwrap();
    let store = BatchStore::open(folder.path(), LIMITS, app.api.entrance.metrics.clone()).unwrap();
    let batch = create(&store, &completions(2, 300));
    let pace = Pace { requests: 2, bytes: 1 << 20, body_bytes: 1 << 20, is_ordered: false };
    let (router, keys) = (batch_router(app.api.clone()), Keys::default());
    let parts = RunnerParts { store: store.clone(), router, keys, withdrawal: WITHDRAWAL, pace, at_once: 1 };
    let runner = Runner::start(&parts).unwrap();
    let short = json!({"prompt": "A game of cards for the terminal.", "max_tokens": 4, "temperature": 0});
    let state = || store.batch(&Owner::default(), &batch.id).unwrap();
    wait_until(|| app.engine_metrics().running_rows.get() == 1).await;
    let finished = state().counts.completed;
    assert_eq!(app.post(&short).await.status, 200);
    assert!(finished < 2 && state().counts.completed <= finished + 1, "it did not wait for the batch");
    assert!(app.engine_metrics().preemptions.get() >= 1, "the only row was given up");
    wait_until(|| state().status == BatchStatus::Completed).await;
    assert_eq!(state().counts.completed, 2);
    runner.end().await;
    app.idle().await;
}

/// A server of the demo that keeps files in a folder.
fn start(folder: &Path) -> ServerProcess {
    let settings = format!(
        "[server]\ndrain_delay_s = 0\n[model]\ndtype = \"f32\"\nthreads = 1\n[limits]\npage_pool_bytes = 33_554_432\n\
         [batches]\nfolder = {:?}\n",
        folder.join("kept")
    );
    let config = folder.join("config.toml");
    std::fs::write(&config, settings).unwrap();
    ServerProcess::start(&["--config", config.to_str().unwrap()])
}

pub async fn get(server: &ServerProcess, path: &str) -> Value {
    let text =
        Client::new().get(format!("http://{}{path}", server.address)).send().await.unwrap().text().await.unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Uploads a file of requests; the answer is not read yet.
pub async fn upload_form(server: &ServerProcess, text: &str) -> Response {
    let part =
        |name: &str, value: &str| format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let body = part("purpose", "batch") + &part("file", text) + "--X--\r\n";
    let request = Client::new().post(format!("http://{}/v1/files", server.address));
    let request = request.header("content-type", "multipart/form-data; boundary=X").body(body);
    request.send().await.unwrap()
}

pub async fn wait_for(server: &ServerProcess, id: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let batch = get(server, &format!("/v1/batches/{id}")).await;
        if is_so(&batch) {
            return batch;
        }
        assert!(start.elapsed() < PATIENCE, "{batch}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_goes_on_with_its_batch_and_loses_and_repeats_nothing() {
    const REQUESTS: u64 = 300;
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path());
    let file: Value = upload_form(&server, &completions(REQUESTS as usize, 16)).await.json().await.unwrap();
    let asked = json!({"input_file_id": file["id"], "endpoint": "/v1/completions", "completion_window": "1h"});
    let batch = Client::new().post(format!("http://{}/v1/batches", server.address)).json(&asked);
    let batch: Value = batch.send().await.unwrap().json().await.unwrap();
    let id = batch["id"].as_str().unwrap_or_else(|| panic!("{batch}")).to_owned();
    let config = folder.path().join("config.toml");
    let second = complaint(&["serve", "--config", config.to_str().unwrap(), "--port", "0"]);
    assert!(second.contains("batches.folder") && second.contains("folder of its own"), "{second}");
    for (signal, finished) in [("KILL", 10), ("TERM", 60)] {
        let found =
            wait_for(&server, &id, |batch| batch["request_counts"]["completed"].as_u64() >= Some(finished)).await;
        assert_eq!(found["status"], "in_progress", "it was too quick to be ended: {found}");
        server.signal(signal);
        server.end_with_log();
        server = start(folder.path());
    }
    let ended = wait_for(&server, &id, |batch| batch["status"] == "completed").await;
    assert_eq!(ended["request_counts"], json!({"total": REQUESTS, "completed": REQUESTS, "failed": 0}));
    let output = format!("http://{}/v1/files/{}/content", server.address, ended["output_file_id"].as_str().unwrap());
    let text = reqwest::get(output).await.unwrap().text().await.unwrap();
    let name = |line: &str| serde_json::from_str::<Value>(line).unwrap()["custom_id"].as_str().unwrap().to_owned();
    let mut names: Vec<_> = text.lines().map(name).collect();
    names.sort();
    names.dedup();
    assert_eq!((names.len() as u64, text.lines().count() as u64), (REQUESTS, REQUESTS));
}
