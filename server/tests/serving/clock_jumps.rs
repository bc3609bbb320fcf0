//! The wall clock is set, by days, while the program answers: timestamps follow it, and nothing else does.

use std::time::{Duration, SystemTime};

use reqwest::Client;
use serde_json::{Value, json};

use crate::batches::{completions, get, upload_form, wait_for};
use crate::demo::rows;
use crate::preload::World;
use crate::process::ServerProcess;

const DAY_S: i64 = 86_400;
/// More than the time for which files are kept, and than that of any batch.
const FAR_DAYS: i64 = 40;
/// Enough to outlast the jumps on few rows.
const REQUESTS: usize = 100;

async fn post(server: &ServerProcess, path: &str, body: &Value) -> reqwest::Response {
    Client::new().post(format!("http://{}{path}", server.address)).json(body).send().await.unwrap()
}

/// Days between the true time and a time that the server gives something.
async fn days_off(server: &ServerProcess) -> i64 {
    let short = json!({"prompt": "a game", "max_tokens": 1});
    let answer: Value = post(server, "/v1/completions", &short).await.json().await.unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    (answer["created"].as_i64().unwrap() - now + DAY_S / 2).div_euclid(DAY_S)
}

/// The text of a stream.
fn text(stream: &str) -> String {
    let data = stream.split("data: ").filter_map(|data| serde_json::from_str::<Value>(data.trim()).ok());
    data.map(|data| data["choices"][0]["text"].as_str().unwrap().to_owned()).collect()
}

/// The sum of a histogram over all its series.
fn seconds(metrics: &str, name: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with(&format!("{name}_sum")));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_clock_that_is_set_by_days_changes_timestamps_only() {
    let (world, place) = (World::new(), tempfile::tempdir().unwrap());
    let config = place.path().join("config.toml");
    // Quotas and deadlines count time as well.
    let settings = format!(
        "[server]\ndrain_delay_s = 0\n[batches]\nfolder = {:?}\n[limits]\nrunning_rows = 4\n\
         client_tokens_per_minute = 10_000_000\n",
        place.path().join("kept")
    );
    std::fs::write(&config, settings).unwrap();
    let arguments = ["serve", "--port", "0", "--threads", "1", "--dtype", "f32", "--config", config.to_str().unwrap()];
    let server = ServerProcess::spawn(&mut world.command(&arguments));
    let long = json!({"prompt": rows()[0].input, "stream": true, "temperature": 0, "ignore_eos": true,
        "max_tokens": 500, "speculation": "off", "timeout": 600});
    let expected = text(&post(&server, "/v1/completions", &long).await.text().await.unwrap());

    let file: Value = upload_form(&server, &completions(REQUESTS, 20)).await.json().await.unwrap();
    let asked = json!({"input_file_id": file["id"], "endpoint": "/v1/completions", "completion_window": "1h"});
    let batch: Value = post(&server, "/v1/batches", &asked).await.json().await.unwrap();
    let id = batch["id"].as_str().unwrap();
    wait_for(&server, id, |batch| batch["request_counts"]["completed"].as_u64() > Some(0)).await;
    let mut stream = post(&server, "/v1/completions", &long).await;
    let mut told = String::from_utf8(stream.chunk().await.unwrap().unwrap().into()).unwrap();
    world.set_clock(FAR_DAYS * DAY_S);
    assert_eq!(days_off(&server).await, FAR_DAYS);
    // Several looks at whether the batch is late.
    tokio::time::sleep(Duration::from_millis(120)).await;
    world.set_clock(-DAY_S);
    assert_eq!(days_off(&server).await, -1);
    let running = get(&server, &format!("/v1/batches/{id}")).await;
    // Where this test was held up for long, the batch may have been answered by now.
    let lives = ["in_progress", "finalizing", "completed"].iter().any(|status| running["status"] == *status);
    assert!(lives, "it has lived through both: {running}");
    while let Some(piece) = stream.chunk().await.unwrap() {
        told += std::str::from_utf8(&piece).unwrap();
    }
    assert!(told.ends_with("data: [DONE]\n\n"));
    assert_eq!(text(&told), expected);
    let ended = wait_for(&server, id, |batch| batch["status"] == "completed").await;
    assert_eq!(ended["request_counts"], json!({"total": REQUESTS, "completed": REQUESTS, "failed": 0}));

    // One that is asked for after a jump has its whole hour, though its times lie before those of the first. Old files
    // are looked for once a second.
    let other: Value = upload_form(&server, &completions(2, 4)).await.json().await.unwrap();
    let asked = json!({"input_file_id": other["id"], "endpoint": "/v1/completions", "completion_window": "1h"});
    let later: Value = post(&server, "/v1/batches", &asked).await.json().await.unwrap();
    assert!(later["expires_at"].as_i64() < batch["created_at"].as_i64(), "{later}");
    wait_for(&server, later["id"].as_str().unwrap(), |batch| batch["status"] == "completed").await;
    world.set_clock(FAR_DAYS * DAY_S);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let files = get(&server, "/v1/files").await;
    assert_eq!(files["data"].as_array().unwrap().len(), 4, "requests and results of both batches: {files}");

    let url = format!("http://{}", server.address);
    assert_eq!(reqwest::get(format!("{url}/ready")).await.unwrap().status(), 200);
    let metrics = reqwest::get(format!("{url}/metrics")).await.unwrap().text().await.unwrap();
    for name in ["encdec_request_seconds", "encdec_first_token_seconds", "encdec_token_gap_seconds"] {
        let sum = seconds(&metrics, name);
        assert!(sum > 0.0 && sum < 3600.0, "{name}: {sum}");
    }
    server.terminate();
    let (status, log) = server.end_with_log();
    assert!(status.success());
    let took = log.last().unwrap().split_once("took_ms=").expect("the last word").1;
    assert!(took.split(' ').next().unwrap().parse::<u64>().unwrap() < 60_000, "{took}");
}
