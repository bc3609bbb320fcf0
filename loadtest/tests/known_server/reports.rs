//! The files that a run leaves.

use std::time::Duration;

use serde_json::Value;

use crate::mock::{Mock, Script};
use crate::program::{output, run};

/// Keys that `vllm bench serve` writes for a run without details, with a percentile of 99.
const VLLM_KEYS: [&str; 35] = [
    "date",
    "backend",
    "model_id",
    "tokenizer_id",
    "num_prompts",
    "request_rate",
    "burstiness",
    "max_concurrency",
    "duration",
    "completed",
    "failed",
    "total_input_tokens",
    "total_output_tokens",
    "request_throughput",
    "request_goodput",
    "output_throughput",
    "total_token_throughput",
    "max_output_tokens_per_s",
    "max_concurrent_requests",
    "mean_ttft_ms",
    "median_ttft_ms",
    "std_ttft_ms",
    "p99_ttft_ms",
    "mean_tpot_ms",
    "median_tpot_ms",
    "std_tpot_ms",
    "p99_tpot_ms",
    "mean_itl_ms",
    "median_itl_ms",
    "std_itl_ms",
    "p99_itl_ms",
    "mean_e2el_ms",
    "median_e2el_ms",
    "std_e2el_ms",
    "p99_e2el_ms",
];

#[test]
fn the_json_has_vllm_s_keys() {
    let mock = Mock::start(Script::default());
    let ran = run(&["--url", &mock.url(), "--rate", "50", "--duration", "0.2"]);
    let figures = ran.figures.as_object().unwrap();
    let missing: Vec<_> = VLLM_KEYS.iter().filter(|key| !figures.contains_key(**key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!((figures["completed"].as_u64(), figures["request_goodput"].clone()), (Some(10), Value::Null));
}

#[test]
fn each_request_has_its_line_and_the_page_the_server_s_own_figures() {
    let mock = Mock::start(Script { gap: Duration::from_millis(5), ..Script::default() });
    let folder = tempfile::tempdir().unwrap();
    let [lines, page] = ["lines.jsonl", "page.html"].map(|name| folder.path().join(name));
    let flags = ["--rate", "20", "--duration", "0.5", "--arrivals", "constant", "--jsonl", lines.to_str().unwrap()];
    let ran = run(&[&["--url", &mock.url(), "--html", page.to_str().unwrap()][..], &flags].concat());
    assert_eq!(ran.code, 0, "{}", ran.errors);
    let lines = std::fs::read_to_string(lines).unwrap();
    let mut lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(|line| line["number"].as_u64());
    assert_eq!(lines.len(), 10);
    for (index, line) in lines.iter().enumerate() {
        assert_eq!((line["due"].as_f64(), line["outcome"].as_str()), (Some(index as f64 / 20.0), Some("whole")));
        assert_eq!((line["itl_ms"].as_array().unwrap().len(), line["output_tokens"].as_u64()), (3, Some(4)));
    }
    assert_eq!(ran.figures["server"][0]["queue"], 3.0);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("The server's pages") && page.contains("Latency against offered load"), "{page}");
}

#[test]
fn two_runs_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, ttft: f64| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{{\"p99_ttft_ms\": {ttft}, \"request_throughput\": 5.0}}")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (before, after) = (write("before.json", 20.0), write("after.json", 30.0));
    let compared = |extra: &[&str]| {
        let output = output(&[&["compare", &before, &after][..], extra].concat());
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = compared(&[]);
    assert!(code == 0 && text.contains("+50.0 %"), "{text}");
    assert_eq!((compared(&["--worse-by", "10"]).0, compared(&["--worse-by", "60"]).0), (1, 0));
}

#[test]
fn a_report_that_cannot_be_written_is_said_before_the_load() {
    let mock = Mock::start(Script::default());
    let output = output(&["--url", &mock.url(), "--rate", "5", "--html", "/nowhere/page.html"]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && errors.contains("/nowhere/page.html"), "{errors}");
    assert!(mock.seen().posts.is_empty());
}
