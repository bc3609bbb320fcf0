//! Processor time of an idle server.

use std::thread::sleep;
use std::time::Duration;

use reqwest::Client;
use serde_json::json;

use crate::process::ServerProcess;

/// Time that is watched: 100 ticks of the clock that Linux counts processor time with.
const WATCHED: Duration = Duration::from_secs(1);
/// 5 % of one core.
const TICKS: u64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_server_that_has_answered_and_is_idle_uses_no_processor_time() {
    let server = ServerProcess::start(&["--threads", "2"]);
    let url = format!("http://{}/v1/completions", server.address);
    let body = json!({ "prompt": "A desktop theme.", "max_tokens": 20, "ignore_eos": true });
    let answer = Client::new().post(url).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    let worked = server.processor_ticks();
    // The workers' last spinning is over long before.
    sleep(WATCHED / 10);
    let before = server.processor_ticks();
    sleep(WATCHED);
    let used = server.processor_ticks() - before;
    assert!(worked > 0 && used <= TICKS, "{worked} ticks for loading and an answer, {used} in an idle second");
}
