//! Files and batches as clients see them, over a scripted engine.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Method, Request, header};
use serde_json::{Value, json};
use server::access::{KeyName, KeySources, Keys, NewKey};
use server::api::{KeyCheck, batch_router};
use server::batch::Pace;
use server::batch_store::{BatchStore, Runner, RunnerParts, StoreLimits, WITHDRAWAL};
use server::config::MetricsAccess;
use server::telemetry::Metrics;
use tempfile::TempDir;

use crate::answer::Answer;
use crate::app::{App, PATIENCE, Setup, ids};
use crate::scripted_engine::generate;

const LIMITS: StoreLimits = StoreLimits {
    file_bytes: 200_000,
    total_bytes: 500_000,
    lines: 100,
    files: 20,
    unfinished: 4,
    key_percent: 100,
    keep: Duration::from_secs(100_000),
};
const BOUNDARY: &str = "--------------------------d74496d66958873e";

/// Files and batches in a folder of their own.
pub fn store() -> (TempDir, BatchStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = BatchStore::open(folder.path(), LIMITS, Metrics::default()).unwrap();
    (folder, store)
}

/// A server that keeps files.
struct Place {
    app: App,
    store: BatchStore,
    _folder: TempDir,
}

impl Place {
    fn new(setup: Setup) -> Self {
        let (folder, store) = store();
        let setup = Setup { batches: Some(store.clone()), ..setup };
        let tokens = ids("a tool");
        let app = App::scripted(setup, move |request| generate(request, &tokens));
        Self { app, store, _folder: folder }
    }

    fn run(&self) -> Runner {
        let pace = Pace { requests: 2, bytes: 1 << 20, body_bytes: 1 << 20, is_ordered: false };
        let (store, router) = (self.store.clone(), batch_router(self.app.api.clone()));
        let (keys, withdrawal) = (Keys::default(), WITHDRAWAL);
        Runner::start(&RunnerParts { store, router, keys, withdrawal, pace, at_once: 1 }).unwrap()
    }

    async fn upload(&self, parts: &[(&str, &str)]) -> Answer {
        Answer::of(self.app.send(form_request(form(parts))).await).await
    }

    async fn ask(&self, method: Method, path: &str, key: Option<&NewKey>) -> Answer {
        Answer::of(self.app.send(request(method, path, key, Body::empty())).await).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }
}

fn request(method: Method, path: &str, key: Option<&NewKey>, body: Body) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(key) = key {
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", key.secret));
    }
    request.body(body).unwrap()
}

/// A form as `curl` writes it; the part `file` is a file.
fn form(parts: &[(&str, &str)]) -> Body {
    let part = |(name, value): &(&str, &str)| {
        let file = if *name == "file" { "; filename=\"requests.jsonl\"\r\nContent-Type: text/plain" } else { "" };
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n")
    };
    Body::from(parts.iter().map(part).collect::<String>() + &format!("--{BOUNDARY}--\r\n"))
}

fn form_request(body: Body) -> Request<Body> {
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    Request::post("/v1/files").header(header::CONTENT_TYPE, kind).body(body).unwrap()
}

fn line(id: &str, url: &str) -> String {
    format!("{}\n", json!({"custom_id": id, "method": "POST", "url": url, "body": {"prompt": "p", "max_tokens": 4}}))
}

fn batch_of(file: &Value) -> Value {
    json!({"input_file_id": file["id"], "endpoint": "/v1/completions", "completion_window": "24h",
        "metadata": {"for": "tests"}})
}

#[tokio::test]
async fn a_server_without_a_folder_says_how_to_give_it_one() {
    let app = App::saying("x");
    for (method, path) in [
        (Method::GET, "/v1/files"),
        (Method::POST, "/v1/files"),
        (Method::GET, "/v1/files/file-1"),
        (Method::DELETE, "/v1/files/file-1"),
        (Method::GET, "/v1/files/file-1/content"),
        (Method::GET, "/v1/batches"),
        (Method::POST, "/v1/batches"),
        (Method::GET, "/v1/batches/batch_1"),
        (Method::POST, "/v1/batches/batch_1/cancel"),
    ] {
        let answer = Answer::of(app.send(request(method, path, None, Body::from("x"))).await).await;
        let message = answer.error(404, None, Some("unknown_url"));
        assert!(message.contains("batches.folder"), "{message}");
    }
}

#[tokio::test]
async fn a_file_is_kept_listed_given_back_and_deleted() {
    let place = Place::new(Setup::default());
    let text = "line one\r\nline two \u{e9}\n".repeat(5000);
    let answer = place.upload(&[("purpose", "batch"), ("file", &text)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let file = answer.json();
    assert_eq!((&file["object"], &file["bytes"]), (&json!("file"), &json!(text.len())));
    assert_eq!((&file["filename"], &file["purpose"]), (&json!("requests.jsonl"), &json!("batch")));
    assert_eq!(file["expires_at"].as_u64().unwrap() - file["created_at"].as_u64().unwrap(), 100_000);
    let path = format!("/v1/files/{}", file["id"].as_str().unwrap());
    assert_eq!(place.get(&path).await.json(), file);
    let content = place.get(&format!("{path}/content")).await;
    assert!(content.text == text, "the contents are those that were sent");
    assert_eq!(content.headers[header::CONTENT_TYPE], "application/octet-stream");
    let keep = [("expires_after[anchor]", "created_at"), ("expires_after[seconds]", "3600")];
    let second = place.upload(&[&[("file", "x"), ("purpose", "batch")][..], &keep].concat()).await.json();
    assert_eq!(second["expires_at"].as_u64().unwrap() - second["created_at"].as_u64().unwrap(), 3600);
    let list = place.get("/v1/files").await.json();
    assert_eq!((list["data"].as_array().unwrap().len(), &list["has_more"]), (2, &json!(false)));
    let page = place.get("/v1/files?limit=1&order=desc&purpose=batch").await.json();
    assert_eq!((&page["has_more"], &page["last_id"]), (&json!(true), &page["data"][0]["id"]));
    let page = place.get(&format!("/v1/files?limit=1&after={}", page["last_id"].as_str().unwrap())).await.json();
    assert_eq!((page["data"].as_array().unwrap().len(), &page["has_more"]), (1, &json!(false)));
    place.get("/v1/files?limit=0").await.error(400, Some("limit"), None);
    place.get("/v1/files?bogus=1").await.error(400, Some("bogus"), None);
    let deleted = place.ask(Method::DELETE, &path, None).await.json();
    assert_eq!(deleted, json!({"id": file["id"], "object": "file", "deleted": true}));
    for path in [path.clone(), format!("{path}/content")] {
        place.get(&path).await.error(404, None, Some("file_not_found"));
    }
}

#[tokio::test]
async fn a_form_that_cannot_be_used_is_refused_by_name_and_leaves_nothing() {
    let place = Place::new(Setup::default());
    let file = ("file", "x");
    let long = "x".repeat(2000);
    for (parts, param) in [
        (vec![file], "purpose"),
        (vec![("purpose", "batch")], "file"),
        (vec![file, ("purpose", "fine-tune")], "purpose"),
        (vec![file, ("purpose", "batch"), ("bogus", "1")], "bogus"),
        (vec![file, file, ("purpose", "batch")], "file"),
        (vec![("file", ""), ("purpose", "batch")], "file"),
        (vec![("purpose", &long), file], "purpose"),
        (vec![file, ("purpose", "batch"), ("expires_after[seconds]", "3600")], "expires_after"),
    ] {
        place.upload(&parts).await.error(400, Some(param), None);
    }
    let plain = Request::post("/v1/files").body(Body::from("{}")).unwrap();
    let message = Answer::of(place.app.send(plain).await).await.error(400, None, None);
    assert!(message.contains("multipart/form-data"), "{message}");
    let cut =
        form_request(Body::from(format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx")));
    Answer::of(place.app.send(cut).await).await.error(400, None, None);
    let mut packed = form_request(form(&[file]));
    packed.headers_mut().insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
    Answer::of(place.app.send(packed).await).await.error(400, Some("file"), None);
    let large = place.upload(&[("purpose", "batch"), ("file", &"x".repeat(200_001))]).await;
    large.error(413, None, Some("request_too_large"));
    for _ in 0..2 {
        place.upload(&[("purpose", "batch"), ("file", &"x".repeat(200_000))]).await;
    }
    let full = place.upload(&[("purpose", "batch"), ("file", &"x".repeat(200_000))]).await;
    full.error(507, None, Some("storage_full"));
    assert_eq!(full.headers["x-should-retry"], "false");
    assert_eq!(place.get("/v1/files").await.json()["data"].as_array().unwrap().len(), 2);
    assert_eq!(place.app.api.body_budget.used_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_answered_and_its_results_are_files() {
    let place = Place::new(Setup::default());
    let runner = place.run();
    let bad = line("c", "/v1/completions").replace("\"max_tokens\":4", "\"max_tokens\":-1");
    let text = line("a", "/v1/completions") + &line("b", "/v1/completions") + &bad;
    let file = place.upload(&[("purpose", "batch"), ("file", &text)]).await.json();
    let batch = place.app.post("/v1/batches", &batch_of(&file)).await.json();
    assert_eq!((&batch["object"], &batch["metadata"]["for"]), (&json!("batch"), &json!("tests")));
    let path = format!("/v1/batches/{}", batch["id"].as_str().unwrap());
    let start = Instant::now();
    let ended = loop {
        let batch = place.get(&path).await.json();
        if batch["status"] == "completed" {
            break batch;
        }
        assert!(start.elapsed() < PATIENCE, "{batch}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(ended["request_counts"], json!({"total": 3, "completed": 2, "failed": 1}));
    let content = async |name: &str| {
        let text = place.get(&format!("/v1/files/{}/content", ended[name].as_str().unwrap())).await.text;
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let (output, error) = (content("output_file_id").await, content("error_file_id").await);
    assert_eq!((output.len(), error.len()), (2, 1));
    assert!(output.iter().all(|result| result["response"]["body"]["choices"][0]["text"] == "a tool"), "{output:?}");
    assert_eq!((&error[0]["custom_id"], &error[0]["response"]["status_code"]), (&json!("c"), &json!(400)));
    let cancelled = place.ask(Method::POST, &format!("{path}/cancel"), None).await;
    cancelled.error(409, None, Some("batch_ended"));
    place.ask(Method::DELETE, &format!("/v1/files/{}", file["id"].as_str().unwrap()), None).await.json();
    let list = place.get("/v1/batches?limit=1").await.json();
    assert_eq!((&list["data"][0], &list["has_more"]), (&ended, &json!(false)));
    runner.end().await;
}

#[tokio::test]
async fn a_batch_that_waits_is_cancelled_and_keeps_its_file_until_then() {
    let place = Place::new(Setup::default());
    let file = place.upload(&[("purpose", "batch"), ("file", &line("a", "/v1/completions"))]).await.json();
    let batch = place.app.post("/v1/batches", &batch_of(&file)).await.json();
    assert_eq!(batch["status"], "validating");
    let path = format!("/v1/files/{}", file["id"].as_str().unwrap());
    place.ask(Method::DELETE, &path, None).await.error(409, None, Some("file_in_use"));
    for _ in 0..2 {
        let path = format!("/v1/batches/{}/cancel", batch["id"].as_str().unwrap());
        assert_eq!(place.ask(Method::POST, &path, None).await.json()["status"], "cancelling");
    }
    let unknown = json!({"id": "file-none"});
    place.app.post("/v1/batches", &batch_of(&unknown)).await.error(404, None, Some("file_not_found"));
    place.get("/v1/batches/none").await.error(404, None, Some("batch_not_found"));
}

#[tokio::test]
async fn a_key_sees_its_own_files_and_batches_only() {
    let made: Vec<_> = ["a", "b"].iter().map(|name| NewKey::make(&KeyName::new(name).unwrap())).collect();
    let listed = made.iter().map(|key| key.line.clone()).collect();
    let ring = KeySources { listed, ..KeySources::default() }.read().unwrap();
    let keys = KeyCheck { keys: Keys::of(ring), metrics: MetricsAccess::Key };
    let place = Place::new(Setup { keys, ..Setup::default() });
    let mut upload = form_request(form(&[("purpose", "batch"), ("file", "x")]));
    upload.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {}", made[0].secret).parse().unwrap());
    let file = Answer::of(place.app.send(upload).await).await.json();
    let body = Body::from(batch_of(&file).to_string());
    let batch =
        Answer::of(place.app.send(request(Method::POST, "/v1/batches", Some(&made[0]), body)).await).await.json();
    let (file, batch) = (file["id"].as_str().unwrap(), batch["id"].as_str().unwrap());
    for (method, path) in [
        (Method::GET, format!("/v1/files/{file}")),
        (Method::GET, format!("/v1/files/{file}/content")),
        (Method::DELETE, format!("/v1/files/{file}")),
        (Method::GET, format!("/v1/batches/{batch}")),
        (Method::POST, format!("/v1/batches/{batch}/cancel")),
    ] {
        let refused = place.ask(method.clone(), &path, Some(&made[1])).await;
        assert_eq!(refused.status, 404, "{method} {path}");
        let seen = place.ask(method.clone(), &path, Some(&made[0])).await;
        assert_ne!(seen.status, 404, "{method} {path}");
    }
    for path in ["/v1/files", "/v1/batches"] {
        let mut counts = Vec::new();
        for key in &made {
            counts.push(place.ask(Method::GET, path, Some(key)).await.json()["data"].as_array().unwrap().len());
        }
        assert_eq!(counts, [1, 0], "{path}");
    }
}
