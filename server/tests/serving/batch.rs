//! `server batch` over the demo: results are the answers of the routes, whenever and however often it was ended.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{Extensions, HeaderMap};
use serde_json::{Value, json};
use server::api::batch_router;
use server::batch::{Batch, BatchCounts, Destination, Pace, ResultsFile, Shard, run};
use tempfile::TempDir;

use crate::answer::PATIENCE;
use crate::app::App;
use crate::demo::rows;
use crate::process::{command, end, end_output, terminate};

/// A folder with a file of requests.
struct Place(TempDir);

impl Place {
    fn new(lines: &[Value]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(place.path("requests.jsonl"), text).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The command with results in `results.jsonl`.
    fn command(&self, flags: &[&str]) -> Command {
        let (requests, results) = (self.path("requests.jsonl"), self.path("results.jsonl"));
        let files = ["batch", "--in", requests.to_str().unwrap(), "--out", results.to_str().unwrap()];
        let mut command = command(&[&files[..], &["--dtype", "f32", "--threads", "1"], flags].concat());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, flags: &[&str]) -> Output {
        end_output(self.command(flags))
    }

    fn results(&self) -> Vec<Value> {
        results(&self.path("results.jsonl"))
    }

    /// Waits for so many results of a running command; false when it has ended before.
    fn wait_for(&self, count: usize, child: &mut Child) -> bool {
        let start = Instant::now();
        while std::fs::read_to_string(self.path("results.jsonl")).unwrap_or_default().lines().count() < count {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(start.elapsed() < PATIENCE, "no result comes");
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }
}

fn results(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn line(id: &str, url: &str, body: &Value) -> Value {
    json!({"custom_id": id, "method": "POST", "url": url, "body": body})
}

/// Completions of the demo's descriptions.
fn completions(count: usize) -> Vec<Value> {
    let rows = rows();
    let request = |index: usize| {
        let body = json!({"prompt": rows[index % rows.len()].input, "max_tokens": 24, "temperature": 0});
        line(&format!("r{index}"), "/v1/completions", &body)
    };
    (0..count).map(request).collect()
}

/// The texts by the names of their requests; no name may come twice.
fn texts(results: &[Value]) -> BTreeSet<(String, String)> {
    let text = |result: &Value| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&result["custom_id"]), text(&result["response"]["body"]["choices"][0]["text"]))
    };
    let texts: BTreeSet<_> = results.iter().map(text).collect();
    let names: BTreeSet<_> = texts.iter().map(|(name, _)| name).collect();
    assert_eq!((names.len(), texts.len()), (results.len(), results.len()), "a request has two results");
    texts
}

/// A text of JSON without the values that no two answers share.
fn masked(text: &str) -> String {
    let mut masked = text.to_owned();
    // Which of several requests finds their source in the cache depends on which comes first.
    let cache = ["\"cached_tokens\":", "\"cache_write_tokens\":"];
    for key in ["\"id\":", "\"created\":", "\"created_at\":", "\"completed_at\":"].into_iter().chain(cache) {
        let parts: Vec<_> = masked.split(key).map(str::to_owned).collect();
        let values = parts[1..].iter().map(|part| part[part.find([',', '}']).unwrap()..].to_owned());
        masked = [parts[0].clone()].into_iter().chain(values).collect::<Vec<_>>().join(key);
    }
    masked
}

#[tokio::test]
async fn results_are_the_answers_of_the_routes_byte_for_byte() {
    let app = App::start("");
    let text = "A small library that reads and writes calendar files.";
    let chat = json!({"messages": [{"role": "user", "content": text}], "max_tokens": 8, "temperature": 0});
    let asked = [
        ("/v1/completions", json!({"prompt": text, "max_tokens": 8, "temperature": 0, "logprobs": 2, "n": 1})),
        ("/v1/completions", json!({"prompt": [text, "a game"], "max_tokens": 4, "temperature": 1, "seed": 7, "n": 2})),
        ("/v1/chat/completions", chat),
        ("/v1/responses", json!({"input": text, "max_output_tokens": 8, "temperature": 0})),
        ("/v1/embeddings", json!({"input": [text, "a game"]})),
        ("/v1/embeddings", json!({"input": text, "encoding_format": "base64"})),
        ("/v1/score", json!({"text_1": text, "text_2": ["a game", "library to read files"]})),
        ("/v1/rerank", json!({"query": text, "documents": ["a game", "library to read files"]})),
        ("/v1/encode", json!({"input": "a game"})),
        ("/tokenize", json!({"prompt": text})),
        ("/v1/completions", json!({"prompt": text, "max_tokens": -1})),
        ("/v1/completions", json!({"prompt": text, "bogus": 1})),
        ("/v1/nowhere", json!({})),
        ("/v1/completions", json!([])),
    ];
    let lines: Vec<_> =
        asked.iter().enumerate().map(|(index, (url, body))| line(&index.to_string(), url, body)).collect();
    let place = Place::new(&lines);
    let (requests, results) = (place.path("requests.jsonl"), place.path("results.jsonl"));
    let batch = Batch {
        results: ResultsFile::open(&results, &requests).unwrap(),
        requests,
        shard: Shard::ALL,
        destination: Destination {
            router: batch_router(Arc::clone(&app.api)),
            extensions: Extensions::new(),
            headers: HeaderMap::new(),
        },
        pace: Pace { requests: 16, bytes: 1 << 20, body_bytes: 1 << 20, is_ordered: true },
        is_ending: Arc::default(),
    };
    let counts = run(batch, |_| {}).await.unwrap();
    assert_eq!(counts, BatchCounts { completed: 10, failed: 4 });
    let text = std::fs::read_to_string(&results).unwrap();
    for ((url, body), result) in asked.iter().zip(text.lines()) {
        let answer = app.post_to(url, body).await;
        let response = &serde_json::from_str::<Value>(result).unwrap()["response"];
        assert_eq!(response["status_code"], answer.status.as_u16(), "{url}: {result}");
        assert!(response["request_id"].as_str().unwrap().starts_with("req-"), "{result}");
        let (_, body) = result.split_once("\"body\":").unwrap();
        assert_eq!(masked(body.strip_suffix("},\"error\":null}").unwrap()), masked(&answer.text), "{url}");
    }
    app.idle().await;
}

#[test]
fn a_run_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing() {
    let place = Place::new(&completions(24));
    let mut kills = 0;
    loop {
        let mut child = place.command(&[]).spawn().unwrap();
        // Two rows of results more than were there, or none at all.
        let had = std::fs::read_to_string(place.path("results.jsonl")).unwrap_or_default().lines().count();
        let runs_on = place.wait_for((had + 3).min(24), &mut child);
        child.kill().unwrap();
        let status = end(&mut child);
        if !runs_on || had + 3 >= 24 {
            assert!(runs_on || status.code() == Some(0), "{status}");
            break;
        }
        kills += 1;
        // As if it had been killed in the middle of a line.
        let text = std::fs::read(place.path("results.jsonl")).unwrap();
        if kills == 2 {
            std::fs::write(place.path("results.jsonl"), &text[..text.len() - 9]).unwrap();
        }
    }
    assert!(kills >= 2, "it was too quick to be killed");
    let output = place.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let whole = Place::new(&completions(24));
    let output = whole.run(&["--ordered"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(texts(&place.results()), texts(&whole.results()));
    let names: Vec<_> = whole.results().iter().map(|result| result["custom_id"].clone()).collect();
    assert_eq!(names, (0..24).map(|index| json!(format!("r{index}"))).collect::<Vec<_>>());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("24 requests have their results in") && said.contains("0 failed"), "{said}");
}

#[test]
fn a_run_that_is_asked_to_end_finishes_what_it_began_and_the_next_one_goes_on() {
    let place = Place::new(&completions(600));
    let mut child = place.command(&[]).spawn().unwrap();
    assert!(place.wait_for(1, &mut child));
    terminate(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let finished = place.results().len();
    assert!(said.contains(&format!("ended early, after {finished} finished requests")), "{said}");
    assert!((1..600).contains(&finished), "{finished}");
    let mut next = place.command(&["--shard", "1/300"]).spawn().unwrap();
    assert_eq!(end(&mut next).code(), Some(0));
    let names: Vec<_> = place.results().iter().map(|result| result["custom_id"].clone()).collect();
    assert!(names.contains(&json!("r1")) && names.contains(&json!("r301")), "{names:?}");
    texts(&place.results());
}

/// A limit on file size stands in for a full disk.
#[test]
fn a_full_disk_is_an_error_that_leaves_a_file_to_go_on_from() {
    let place = Place::new(&completions(12));
    let command = place.command(&[]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 4; exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
    limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = end_output(limited);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("make room and repeat the command"), "{said}");
    let kept = place.results().len();
    assert!((1..12).contains(&kept), "{kept} whole results");
    let output = place.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(texts(&place.results()).len(), 12);
}

#[test]
fn files_that_cannot_be_used_are_one_line_before_any_model_is_loaded() {
    let place = Place::new(&completions(1));
    let said = |flags: &[&str]| {
        let output = place.run(flags);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    std::fs::write(place.path("results.jsonl"), "something else\n").unwrap();
    assert!(said(&["--model", "/nowhere"]).contains("is not a result of a batch"));
    std::fs::remove_file(place.path("requests.jsonl")).unwrap();
    assert!(said(&["--model", "/nowhere"]).contains("requests.jsonl"));
}
