//! Runs over a router that repeats what it is asked: which requests are run, in which order, and what the file holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{Extensions, HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// A route that answers with the body, after the time that it asks for, and counts what is under way.
#[derive(Debug, Clone, Default)]
struct Route {
    asked: Arc<AtomicUsize>,
    under_way: Arc<AtomicUsize>,
    most_under_way: Arc<AtomicUsize>,
}

impl Route {
    fn router(&self) -> Router {
        let route = self.clone();
        Router::new().route("/echo", post(move |body: Bytes| route.clone().answer(body)))
    }

    async fn answer(self, body: Bytes) -> Response {
        let asked: Value = serde_json::from_slice(&body).unwrap();
        let before = self.asked.fetch_add(1, Ordering::SeqCst);
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_under_way.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(asked["ms"].as_u64().unwrap_or_default())).await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        match asked["busy"].as_u64() {
            Some(times) if before < times as usize => StatusCode::TOO_MANY_REQUESTS.into_response(),
            Some(_) | None if asked["failing"].as_u64().is_some_and(|times| before < times as usize) => {
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
            _ if asked["lasting"] == true => {
                (StatusCode::INTERNAL_SERVER_ERROR, [("x-should-retry", "false")]).into_response()
            }
            _ if asked["starved"] == true => (StatusCode::SERVICE_UNAVAILABLE, "\"out_of_memory\"").into_response(),
            _ if asked["ending"] == true => (StatusCode::SERVICE_UNAVAILABLE, "\"shutting_down\"").into_response(),
            _ => body.into_response(),
        }
    }
}

/// A folder with a file of requests.
struct Place {
    folder: TempDir,
    route: Route,
    requests: usize,
    bytes: usize,
    is_ordered: bool,
}

impl Place {
    fn new(lines: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("requests.jsonl"), lines.concat()).unwrap();
        Self { folder, route: Route::default(), requests: 8, bytes: 1 << 20, is_ordered: false }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, shard: Shard) -> Result<BatchCounts, BatchError> {
        let (requests, results) = (self.path("requests.jsonl"), self.path("results.jsonl"));
        let results = ResultsFile::open(&results, &requests)?;
        let pace =
            Pace { requests: self.requests, bytes: self.bytes, body_bytes: 1 << 10, is_ordered: self.is_ordered };
        let destination =
            Destination { router: self.route.router(), extensions: Extensions::new(), headers: HeaderMap::new() };
        let is_ending = Arc::new(AtomicBool::new(false));
        let batch = Batch { requests, shard, results, destination, pace, is_ending };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        runtime.block_on(run(batch, |_| {}))
    }

    fn results(&self) -> Vec<Value> {
        lines_of(&self.path("results.jsonl")).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn ids(&self) -> Vec<String> {
        self.results().iter().map(|result| result["custom_id"].as_str().unwrap_or("none").to_owned()).collect()
    }
}

fn lines_of(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn request(id: &str, body: &Value) -> String {
    format!("{}\n", json!({"custom_id": id, "method": "POST", "url": "/echo", "body": body}))
}

fn requests(count: usize) -> Vec<String> {
    (0..count).map(|index| request(&format!("r{index}"), &json!({"text": "é".repeat(index % 7)}))).collect()
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

#[test]
fn every_request_has_one_result_with_its_answer() {
    let place = Place::new(&requests(20));
    assert_eq!(place.run(Shard::ALL).unwrap(), BatchCounts { completed: 20, failed: 0 });
    for result in place.results() {
        let index: usize = result["custom_id"].as_str().unwrap()[1..].parse().unwrap();
        assert_eq!(result["response"]["body"]["text"], "é".repeat(index % 7));
        assert_eq!(result["response"]["status_code"], 200);
    }
    assert_eq!(sorted(place.ids()).len(), 20);
    let text = std::fs::read_to_string(place.path("results.jsonl")).unwrap();
    place.run(Shard::ALL).unwrap();
    assert_eq!(text, std::fs::read_to_string(place.path("results.jsonl")).unwrap(), "nothing is run again");
    assert_eq!(place.route.asked.load(Ordering::SeqCst), 20);
}

#[test]
fn results_come_in_the_order_of_the_lines_if_that_is_asked_for() {
    let lines: Vec<_> = (0..12).map(|index| request(&format!("{index:02}"), &json!({"ms": 40 - 3 * index}))).collect();
    let ordered = Place { is_ordered: true, ..Place::new(&lines) };
    ordered.run(Shard::ALL).unwrap();
    assert_eq!(ordered.ids(), sorted(ordered.ids()));
    let free = Place { requests: 12, ..Place::new(&lines) };
    free.run(Shard::ALL).unwrap();
    assert_ne!(free.ids(), sorted(free.ids()), "the first request takes longest");
    assert_eq!(sorted(free.ids()), ordered.ids());
}

#[test]
fn shards_answer_every_line_once_and_may_share_a_file() {
    let place = Place::new(&requests(23));
    for index in 0..4 {
        place.run(format!("{index}/4").parse().unwrap()).unwrap();
        assert_eq!(place.results().len(), [6, 12, 18, 23][index]);
    }
    let mut ids = sorted(place.ids());
    ids.dedup();
    assert_eq!(ids.len(), 23);
}

#[test]
fn lines_that_are_no_requests_have_results_once_and_end_nothing() {
    let long = request("long", &json!({"text": "a".repeat(70 << 10)}));
    let get = request("get", &json!({})).replace("POST", "GET");
    let place = Place::new(&[
        request("a", &json!({})),
        "no JSON\n".to_owned(),
        request("a", &json!({"again": true})),
        get,
        "\n".to_owned(),
        long,
        request("missing", &json!({})).replace("/echo", "/other"),
        request("b", &json!({})),
    ]);
    let counts = BatchCounts { completed: 2, failed: 5 };
    assert_eq!(place.run(Shard::ALL).unwrap(), counts);
    let results = place.results();
    let errors: Vec<_> = results.iter().filter(|result| result["error"].is_object()).collect();
    let of_line = |line: u64| errors.iter().find(|result| result["error"]["line"] == line).unwrap();
    for (line, id, said) in [
        (2, Value::Null, "not a request"),
        (3, Value::Null, "earlier line: \"a\""),
        (4, json!("get"), "POST"),
        (6, Value::Null, "more than"),
    ] {
        assert_eq!(of_line(line)["custom_id"], id);
        let message = of_line(line)["error"]["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("line {line}: ")) && message.contains(said), "{message}");
    }
    let missing = results.iter().find(|result| result["custom_id"] == "missing").unwrap();
    assert_eq!(missing["response"]["status_code"], 404);
    assert_eq!(place.run(Shard::ALL).unwrap(), counts, "they are not reported again");
    assert_eq!(place.results().len(), 7);
}

#[test]
fn a_route_without_room_is_asked_again_until_it_has() {
    let place = Place { requests: 2, ..Place::new(&[request("a", &json!({"busy": 3})), request("b", &json!({}))]) };
    assert_eq!(place.run(Shard::ALL).unwrap(), BatchCounts { completed: 2, failed: 0 });
    assert!(place.route.asked.load(Ordering::SeqCst) >= 4);
}

#[test]
fn what_failed_in_passing_is_asked_again_some_times() {
    for (body, asked, counts) in [
        (json!({"failing": 2}), 3, BatchCounts { completed: 1, failed: 0 }),
        (json!({"failing": 99}), 6, BatchCounts { completed: 0, failed: 1 }),
        (json!({"starved": true}), 6, BatchCounts { completed: 0, failed: 1 }),
        (json!({"lasting": true}), 1, BatchCounts { completed: 0, failed: 1 }),
    ] {
        let place = Place::new(&[request("a", &body)]);
        assert_eq!(place.run(Shard::ALL).unwrap(), counts);
        assert_eq!(place.route.asked.load(Ordering::SeqCst), asked);
    }
}

#[test]
fn a_server_that_ends_leaves_its_requests_to_the_next_run() {
    let place = Place::new(&[request("a", &json!({"ending": true})), request("b", &json!({}))]);
    assert!(matches!(place.run(Shard::ALL), Err(BatchError::Interrupted { finished: 1 })));
    assert_eq!(place.ids(), ["b"]);
}

#[test]
fn requests_under_way_are_bounded_in_number_and_in_bytes() {
    let slow = |id: usize| request(&format!("r{id}"), &json!({"ms": 5, "text": "a".repeat(200)}));
    let lines: Vec<_> = (0..16).map(slow).collect();
    let most = |place: Place| {
        place.run(Shard::ALL).unwrap();
        place.route.most_under_way.load(Ordering::SeqCst)
    };
    assert_eq!(most(Place { requests: 3, ..Place::new(&lines) }), 3);
    assert_eq!(most(Place { bytes: 500, ..Place::new(&lines) }), 2);
    assert_eq!(most(Place { bytes: 1, ..Place::new(&lines) }), 1, "a longer body is sent alone");
}

#[test]
fn files_that_cannot_be_used_are_refused_and_stay_as_they_are() {
    let place = Place::new(&requests(2));
    let (requests, results) = (place.path("requests.jsonl"), place.path("results.jsonl"));
    assert!(matches!(ResultsFile::open(&requests, &requests), Err(BatchError::SameFile { .. })));
    let elsewhere = place.path("other.jsonl");
    assert!(matches!(ResultsFile::open(&requests, &elsewhere), Err(BatchError::NotResults { line: 1, .. })));
    assert_eq!(lines_of(&requests).len(), 2);
    let notes = place.path("notes");
    for text in ["one line without an end", "{}", "{\"id\": 1}\n", "\n"] {
        std::fs::write(&notes, text).unwrap();
        assert!(matches!(ResultsFile::open(&notes, &requests), Err(BatchError::NotResults { line: 1, .. })), "{text}");
        assert_eq!(std::fs::read_to_string(&notes).unwrap(), text);
    }
    assert!(matches!(ResultsFile::open(place.folder.path(), &requests), Err(BatchError::NotRegular { .. })));
    let held = ResultsFile::open(&results, &requests).unwrap();
    assert!(matches!(ResultsFile::open(&results, &requests), Err(BatchError::Busy { .. })));
    drop(held);
    std::fs::remove_file(&requests).unwrap();
    assert!(matches!(place.run(Shard::ALL), Err(BatchError::Open { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_run_goes_on_wherever_the_results_were_cut(at in 0.0..=1.0_f64, is_ordered: bool, bad in 0..6_usize) {
        let mut lines = requests(6);
        lines.insert(bad, "bad\n".to_owned());
        let place = Place { is_ordered, ..Place::new(&lines) };
        place.run(Shard::ALL).unwrap();
        let results = place.path("results.jsonl");
        let whole = std::fs::read(&results).unwrap();
        let cut = (at * whole.len() as f64) as usize;
        std::fs::write(&results, &whole[..cut]).unwrap();
        let kept = whole[..cut].iter().filter(|byte| **byte == b'\n').count();
        let asked = place.route.asked.load(Ordering::SeqCst);
        place.run(Shard::ALL).unwrap();
        let again = std::fs::read(&results).unwrap();
        let kept_bytes = whole[..cut].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        prop_assert_eq!(&again[..kept_bytes], &whole[..kept_bytes]);
        let lines = String::from_utf8(whole).unwrap().lines().map(str::to_owned).collect();
        prop_assert_eq!(sorted(lines_of(&results)), sorted(lines));
        prop_assert!(place.route.asked.load(Ordering::SeqCst) - asked <= 7 - kept);
    }
}
