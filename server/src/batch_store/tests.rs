//! Batches over a router that repeats what it is asked: what is kept, in which order it is run, and what is left after
//! an end at any moment.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::access::{KeyName, Keys};
use crate::batch::Pace;
use crate::telemetry::Metrics;

mod keys;
mod room;

const LIMITS: StoreLimits = StoreLimits {
    file_bytes: 100_000,
    total_bytes: 300_000,
    lines: 100,
    files: 20,
    unfinished: 4,
    key_percent: 100,
    keep: Duration::from_secs(1000),
};
const PATIENCE: Duration = Duration::from_secs(10);

/// A route that answers with the body, after the time that it asks for.
#[derive(Debug, Clone, Default)]
struct Route(Arc<AtomicUsize>);

impl Route {
    fn router(&self) -> Router {
        let route = self.clone();
        Router::new().route("/echo", post(move |request| route.clone().answer(request)))
    }

    async fn answer(self, request: Request) -> Response {
        assert_eq!(request.headers()["priority"], "u=7");
        let key = request.extensions().get::<KeyName>().map(ToString::to_string);
        let body: Bytes = request.into_body().collect().await.unwrap().to_bytes();
        let mut asked: Value = serde_json::from_slice(&body).unwrap();
        self.0.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(asked["ms"].as_u64().unwrap_or_default())).await;
        asked["key"] = json!(key);
        axum::Json(asked).into_response()
    }
}

/// A folder, and a server that may be stopped and started over it.
struct Place {
    folder: TempDir,
    route: Route,
    store: BatchStore,
    runner: Option<Runner>,
    keys: Keys,
    withdrawal: Duration,
}

impl Place {
    fn new(limits: StoreLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = BatchStore::open(folder.path(), limits, Metrics::default()).unwrap();
        Self { folder, route: Route::default(), store, runner: None, keys: Keys::default(), withdrawal: Duration::ZERO }
    }

    /// Runs batches from now on.
    fn start(&mut self) {
        let pace = Pace { requests: 2, bytes: 1 << 20, body_bytes: 1000, is_ordered: false };
        let (store, router, keys) = (self.store.clone(), self.route.router(), self.keys.clone());
        let withdrawal = self.withdrawal;
        self.runner = Some(Runner::start(&RunnerParts { store, router, keys, withdrawal, pace, at_once: 2 }).unwrap());
    }

    /// The server ends, and another one opens the folder.
    async fn restart(self) -> Self {
        let Self { folder, route, store, runner, keys, withdrawal } = self;
        let limits = store.limits();
        if let Some(runner) = runner {
            runner.end().await;
        }
        drop(store);
        // The threads have a moment to let go of the folder.
        let start = Instant::now();
        let store = loop {
            match BatchStore::open(folder.path(), limits, Metrics::default()) {
                Ok(store) => break store,
                Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        Self { folder, route, store, runner: None, keys, withdrawal }
    }

    fn upload(&self, owner: &Owner, text: &str) -> FileRecord {
        let mut upload = Upload::begin(&self.store, owner).unwrap();
        upload.write(text.as_bytes()).unwrap();
        upload.finish(UploadName { filename: "a.jsonl".to_owned(), keep_s: None }).unwrap()
    }

    fn batch(&self, owner: &Owner, text: &str, window_s: u64) -> BatchRecord {
        let file = self.upload(owner, text);
        self.store.create(owner, asked(&file.id, window_s)).unwrap()
    }

    /// Waits until a batch is so.
    async fn until(&self, id: &str, is_so: impl Fn(&BatchRecord) -> bool) -> BatchRecord {
        let start = Instant::now();
        loop {
            let batch = self.store.lock().batches[id].clone();
            if is_so(&batch) {
                return batch;
            }
            assert!(start.elapsed() < PATIENCE, "{batch:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn ended(&self, id: &str) -> BatchRecord {
        self.until(id, |batch| !batch.status.is_open()).await
    }

    fn lines(&self, id: Option<&String>) -> Vec<Value> {
        let Some(id) = id else { return Vec::new() };
        lines(&self.store.folder().contents(id))
    }

    /// Names in the files of results, which must be those of so many requests, each once.
    fn check_names(&self, batch: &BatchRecord, count: usize) {
        let files = [batch.output_file_id.as_ref(), batch.error_file_id.as_ref()];
        let results = files.map(|file| self.lines(file)).concat();
        let mut names: Vec<_> = results.iter().map(|result| result["custom_id"].as_str().unwrap().to_owned()).collect();
        names.sort();
        let mut expected: Vec<_> = (0..count).map(|index| format!("r{index}")).collect();
        expected.sort();
        assert_eq!(names, expected);
        assert_eq!(batch.counts.completed + batch.counts.failed, count as u64);
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn owner(name: &str) -> Owner {
    Owner(Some(name.to_owned()))
}

fn asked(file: &str, window_s: u64) -> NewBatch {
    NewBatch {
        input_file_id: file.to_owned(),
        endpoint: "/echo".to_owned(),
        completion_window: format!("{window_s}s"),
        window_s,
        metadata: None,
        output_s: None,
    }
}

/// Requests that take so long each.
fn requests(count: usize, ms: u64) -> String {
    let line = |index| json!({"custom_id": format!("r{index}"), "method": "POST", "url": "/echo", "body": {"ms": ms}});
    (0..count).map(|index| format!("{}\n", line(index))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_checked_run_and_put_together_for_its_owner() {
    let mut place = Place::new(LIMITS);
    let (a, b) = (owner("a"), owner("b"));
    place.start();
    let batch = place.batch(&a, &requests(3, 1), 60);
    let ended = place.ended(&batch.id).await;
    assert_eq!((ended.status, ended.counts.total, ended.error_file_id.clone()), (BatchStatus::Completed, 3, None));
    place.check_names(&ended, 3);
    let results = place.lines(ended.output_file_id.as_ref());
    assert_eq!(results[0]["response"]["body"]["key"], "a");
    assert!(place.store.batch(&b, &batch.id).is_err() && place.store.file(&b, &batch.input_file_id).is_err());
    assert_eq!((place.store.files(&a).len(), place.store.files(&b).len(), place.store.batches(&b).len()), (2, 0, 0));
    let wrong = place.store.create(&b, asked(&batch.input_file_id, 60));
    assert!(matches!(wrong, Err(StoreError::NoFile { .. })));
    let wrong = place.store.create(&a, asked(ended.output_file_id.as_ref().unwrap(), 60));
    assert!(matches!(wrong, Err(StoreError::NoRequests { .. })));
    assert!(matches!(place.store.cancel(&a, &batch.id), Err(StoreError::NotCancellable { .. })));
    let total: u64 = place.store.files(&a).iter().map(|file| file.bytes).sum();
    // Results are deleted once the record says where they are.
    place.until(&batch.id, |_| !place.store.folder().results(&batch.id).exists()).await;
    place.until(&batch.id, |_| place.store.lock().bytes == total).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_a_bad_line_is_refused_with_the_lines_at_fault() {
    let mut place = Place::new(LIMITS);
    place.start();
    let everybody = Owner::default();
    for (text, code, line) in [
        (requests(2, 0) + "no JSON\n", "invalid_line", Some(3)),
        (requests(2, 0) + &requests(1, 0), "invalid_line", Some(3)),
        (requests(2, 0).replace("/echo", "/other"), "mismatched_endpoint", Some(1)),
        ("\n\n".to_owned(), "empty_file", None),
        (requests(101, 0), "too_many_requests", None),
    ] {
        let batch = place.batch(&everybody, &text, 60);
        let ended = place.ended(&batch.id).await;
        assert_eq!((ended.status, ended.in_progress_at, ended.output_file_id), (BatchStatus::Failed, None, None));
        assert_eq!((ended.errors[0].code.as_str(), ended.errors[0].line), (code, line), "{:?}", ended.errors);
    }
    assert_eq!(place.route.0.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_started_again_goes_on_and_repeats_no_request_with_a_result() {
    let mut place = Place::new(LIMITS);
    place.start();
    let batch = place.batch(&Owner::default(), &requests(12, 20), 60);
    for finished in [2, 6] {
        place.until(&batch.id, |batch| batch.counts.completed >= finished).await;
        place = place.restart().await;
        place.start();
    }
    let ended = place.ended(&batch.id).await;
    assert_eq!((ended.status, ended.counts.completed), (BatchStatus::Completed, 12));
    place.check_names(&ended, 12);
    assert!(place.route.0.load(Ordering::SeqCst) <= 12 + 2 * 2, "two were under way at each end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_cancelled_or_late_ends_at_once_with_a_result_for_every_request() {
    let mut place = Place::new(LIMITS);
    place.start();
    let everybody = Owner::default();
    let text =
        requests(2, 0) + &requests(10, 60_000).lines().skip(2).map(|line| format!("{line}\n")).collect::<String>();
    let cancelled = place.batch(&everybody, &text, 60);
    let late = place.batch(&everybody, &text, 2);
    place.until(&cancelled.id, |batch| batch.counts.completed == 2).await;
    place.store.cancel(&everybody, &cancelled.id).unwrap();
    for (id, status, code) in
        [(cancelled.id, BatchStatus::Cancelled, "batch_cancelled"), (late.id, BatchStatus::Expired, "batch_expired")]
    {
        let ended = place.ended(&id).await;
        assert_eq!((ended.status, ended.counts.completed, ended.counts.failed), (status, 2, 8));
        place.check_names(&ended, 10);
        let errors = place.lines(ended.error_file_id.as_ref());
        assert!(errors.iter().all(|error| error["error"]["code"] == code), "{errors:?}");
    }
    let waiting = place.batch(&everybody, "not checked\n", 60);
    place
        .store
        .cancel(&everybody, &waiting.id)
        .map(|_| ())
        .or_else(|error| if matches!(error, StoreError::NotCancellable { .. }) { Ok(()) } else { Err(error) })
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_in_the_middle_of_putting_together_is_made_good() {
    let mut place = Place::new(LIMITS);
    place.start();
    let batch = place.batch(&Owner::default(), &requests(3, 0), 60);
    let ended = place.ended(&batch.id).await;
    let mut place = place.restart().await;
    // As if the process had ended just before the last record was written, with a line that is not whole.
    let output = ended.output_file_id.clone().unwrap();
    let results = place.store.folder().results(&batch.id);
    let mut text = std::fs::read(place.store.folder().contents(&output)).unwrap();
    text.extend_from_slice(b"{\"id\":\"batch_req_");
    std::fs::write(&results, text).unwrap();
    let before =
        BatchRecord { status: BatchStatus::Finalizing, output_file_id: None, completed_at: None, ..ended.clone() };
    place.store.folder().write(folder::Kind::Batch, &batch.id, &before).unwrap();
    place = place.restart().await;
    let bytes = place.store.lock().bytes;
    place.start();
    let again = place.ended(&batch.id).await;
    assert_eq!((again.output_file_id.as_ref(), again.counts), (Some(&output), ended.counts));
    place.check_names(&again, 3);
    place.until(&batch.id, |_| !results.exists()).await;
    assert!(place.store.lock().bytes < bytes);
}

/// A power cut may leave bytes in a file of results that nobody wrote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_of_results_is_used_up_to_the_damage_and_the_rest_is_run_again() {
    let mut place = Place::new(LIMITS);
    place.start();
    let batch = place.batch(&Owner::default(), &requests(6, 20), 60);
    place.until(&batch.id, |batch| batch.counts.completed >= 3).await;
    let place = place.restart().await;
    let results = place.store.folder().results(&batch.id);
    let text = std::fs::read(&results).unwrap();
    let second = 1 + text.iter().position(|byte| *byte == b'\n').unwrap();
    let damaged = [&text[..second], &[0; 4096], &text[second..]].concat();
    std::fs::write(&results, damaged).unwrap();
    let before = place.route.0.load(Ordering::SeqCst);
    let mut place = place.restart().await;
    place.start();
    let ended = place.ended(&batch.id).await;
    assert_eq!((ended.status, ended.counts.completed), (BatchStatus::Completed, 6));
    place.check_names(&ended, 6);
    assert_eq!(place.route.0.load(Ordering::SeqCst) - before, 5, "the first result was whole");
}

#[test]
fn what_is_too_old_is_deleted_but_for_files_that_are_needed() {
    let place = Place::new(StoreLimits { keep: Duration::ZERO, ..LIMITS });
    let everybody = Owner::default();
    let needed = place.batch(&everybody, "x\n", 60);
    let ended = place.batch(&everybody, "x\n", 60);
    place.store.update(&ended.id, |batch| (batch.status, batch.failed_at) = (BatchStatus::Failed, Some(1))).unwrap();
    place.store.forget_old();
    let state = place.store.lock();
    assert_eq!((state.files.len(), state.batches.len(), state.bytes), (1, 1, 2));
    assert!(state.files.contains_key(&needed.input_file_id) && state.batches.contains_key(&needed.id));
}

#[test]
fn a_folder_has_one_server_and_nothing_unfinished_is_left_in_it() {
    let place = Place::new(LIMITS);
    let refused = BatchStore::open(place.folder.path(), LIMITS, Metrics::default()).unwrap_err();
    assert!(refused.to_string().contains("folder of its own"), "{refused}");
    let file = place.upload(&Owner::default(), "x\n");
    let Place { folder, store, .. } = place;
    for name in ["files/file-1.part", "files/file-2.jsonl", "files/file-3.json.partial", "batches/batch_1.jsonl"] {
        std::fs::write(folder.path().join(name), "left").unwrap();
    }
    drop(store);
    let store = BatchStore::open(folder.path(), LIMITS, Metrics::default()).unwrap();
    assert_eq!((store.files(&Owner::default()), store.lock().bytes), (vec![file], 2));
    let names = |part| std::fs::read_dir(folder.path().join(part)).unwrap().count();
    assert_eq!((names("files"), names("batches")), (2, 0));
}

#[test]
fn batches_take_turns_by_owner() {
    let place = Place::new(StoreLimits { unfinished: 9, ..LIMITS });
    let [a, b] = ["a", "b"].map(owner);
    for owner in [&a, &a, &a, &b] {
        let batch = place.batch(owner, "x\n", 60);
        place.store.update(&batch.id, |batch| batch.status = BatchStatus::InProgress).unwrap();
    }
    let take = || place.store.take(state::Work::Run, Duration::ZERO).unwrap();
    let (first, second, third) = (take(), take(), take());
    let owners = [&first, &second, &third].map(|taken| taken.batch.owner.clone());
    assert!(owners[..2].contains(&a.0) && owners[..2].contains(&b.0), "{owners:?}");
    assert_eq!(owners[2], a.0);
    let ids = [first.batch.id.clone(), second.batch.id.clone(), third.batch.id.clone()];
    assert!(ids[0] != ids[2] && ids[1] != ids[2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_file_is_gone_fails_with_the_results_that_are_there() {
    let mut place = Place::new(LIMITS);
    place.start();
    let everybody = Owner::default();
    let batch = place.batch(&everybody, &requests(12, 20), 60);
    place.until(&batch.id, |batch| batch.counts.completed >= 2).await;
    let mut place = place.restart().await;
    let unread = place.batch(&everybody, &requests(2, 0), 60);
    for batch in [&batch, &unread] {
        std::fs::remove_file(place.store.folder().contents(&batch.input_file_id)).unwrap();
    }
    place.start();
    for (id, fewest) in [(&batch.id, 2), (&unread.id, 0)] {
        let ended = place.ended(id).await;
        assert_eq!((ended.status, ended.errors[0].code.as_str()), (BatchStatus::Failed, "file_lost"));
        assert!(ended.counts.completed >= fewest && ended.failed_at.is_some(), "{ended:?}");
        place.check_names(&ended, ended.counts.completed as usize);
    }
}
