//! Behaviour that all paths share: a slash at the end, OPTIONS and HEAD.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;

use crate::answer::Answer;
use crate::app::{ALIAS, App, MODEL, completion_request};

const READ: [&str; 9] = [
    "/v1/models",
    "/v1/models/org/demo",
    "/health",
    "/ready",
    "/ping",
    "/version",
    "/load",
    "/tokenizer_info",
    "/openapi.json",
];

async fn ask(app: &App, method: &str, path: &str) -> Answer {
    Answer::of(app.send(Request::builder().method(method).uri(path).body(Body::empty()).unwrap()).await).await
}

#[tokio::test]
async fn a_slash_at_the_end_of_a_path_changes_nothing() {
    let app = App::saying("a tool");
    for path in READ {
        let (plain, slashed) = (app.get(path).await, app.get(&format!("{path}/")).await);
        assert_eq!((plain.status.as_u16(), &plain.text), (200, &slashed.text), "{path}");
    }
    let mut request = completion_request(&json!({"prompt": "p"}));
    *request.uri_mut() = "/v1/completions/".parse().unwrap();
    assert_eq!(Answer::of(app.send(request).await).await.json()["choices"][0]["text"], "a tool");
}

#[tokio::test]
async fn options_names_the_methods_and_head_is_get_without_a_body() {
    let app = App::saying("x");
    let described = app.get("/openapi.json").await.json();
    let described = described["paths"].as_object().unwrap();
    assert!(described.len() > READ.len(), "{described:?}");
    for (path, methods) in described {
        let path = path.replace("{name}", MODEL).replace("{file_id}", "file-x").replace("{batch_id}", "batch_x");
        let has = |method: &str| methods.get(method).is_some();
        let (allow, other) = match (has("get"), has("post"), has("delete")) {
            (true, true, _) => ("GET,HEAD,POST,OPTIONS", "PUT"),
            (true, false, true) => ("GET,HEAD,DELETE,OPTIONS", "POST"),
            (true, false, false) => ("GET,HEAD,OPTIONS", "POST"),
            (false, ..) => ("POST,OPTIONS", "HEAD"),
        };
        for path in [path.clone(), format!("{path}/")] {
            let answer = ask(&app, "OPTIONS", &path).await;
            assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""), "{path}");
            assert_eq!(answer.headers[header::ALLOW], allow, "{path}");
            let answer = ask(&app, other, &path).await;
            assert_eq!(answer.status, 405, "{other} {path}");
            assert_eq!(answer.headers[header::ALLOW], allow, "{path}");
        }
    }
    for path in READ {
        let (head, whole) = (ask(&app, "HEAD", path).await, app.get(path).await);
        assert_eq!((head.status, head.text.as_str()), (whole.status, ""), "{path}");
        assert_eq!(head.headers[header::CONTENT_LENGTH], whole.text.len().to_string());
    }
    assert_eq!(ask(&app, "OPTIONS", "/nowhere").await.status, 404);
    for path in ["/v1/responses/resp_1", "/v1/responses/resp_1/input_items", "/v1/responses/input_tokens"] {
        let answer = ask(&app, "OPTIONS", path).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""), "{path}");
        assert_eq!(answer.headers[header::ALLOW], "OPTIONS", "{path}");
    }
}

#[tokio::test]
async fn the_version_is_the_programs() {
    let app = App::saying("x");
    assert_eq!(app.get("/version").await.json(), json!({"version": env!("CARGO_PKG_VERSION")}));
}

#[tokio::test]
async fn ping_says_whether_requests_are_taken() {
    let app = App::saying("x");
    assert_eq!(app.get("/ping").await.status, 200);
    app.engine().drain();
    app.get("/ping").await.error(503, None, Some("shutting_down"));
}

#[tokio::test]
async fn unknown_models_and_paths_and_wrong_methods_are_told_apart() {
    let app = App::saying("x");
    let answer = app.complete(json!({"prompt": "p", "model": "gpt-4"})).await;
    let message = answer.error(404, Some("model"), Some("model_not_found"));
    assert_eq!(message, "The model `gpt-4` does not exist; this server serves `org/demo`");
    app.get("/v1/models/gpt-4").await.error(404, Some("model"), Some("model_not_found"));
    let message = app.get("/v1/models/%ff").await.error(404, Some("model"), Some("model_not_found"));
    assert_eq!(message, "The model `%ff` does not exist; this server serves `org/demo`");
    for path in ["/v1", "/v1/chat", "/v1/completions//", "/health/x"] {
        let message = app.get(path).await.error(404, None, Some("unknown_url"));
        let words = format!("Invalid URL (GET {path}): GET /openapi.json describes the paths of this server");
        assert_eq!(message, words);
    }
    for (method, path, allow) in [
        ("GET", "/v1/completions", "POST,OPTIONS"),
        ("GET", "/v1/completions/", "POST,OPTIONS"),
        ("DELETE", "/v1/models", "GET,HEAD,OPTIONS"),
        ("POST", "/health", "GET,HEAD,OPTIONS"),
    ] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let answer = Answer::of(app.send(request).await).await;
        answer.error(405, None, Some("method_not_supported"));
        assert_eq!(answer.headers[header::ALLOW], allow);
    }
}

#[tokio::test]
async fn the_models_list_names_the_model_and_its_limits() {
    let app = App::saying("x");
    let model = json!({
        "id": MODEL, "object": "model", "created": 1_700_000_000, "owned_by": "encdec", "root": MODEL, "parent": null,
        "max_model_len": 256, "max_source_tokens": 256, "max_target_tokens": 128, "aliases": [ALIAS],
        "capabilities": ["generate", "chat", "embeddings", "encode", "score"], "defaults": {},
    });
    assert_eq!(app.get("/v1/models").await.json(), json!({"object": "list", "data": [model]}));
    assert_eq!(app.get("/v1/models/org/demo").await.json(), model);
    assert_eq!(app.get("/v1/models/org%2Fdemo").await.json(), model);
    assert_eq!(app.get("/v1/models/org/demo/").await.json(), model);
    assert_eq!(app.get(&format!("/v1/models/{ALIAS}")).await.json(), model);
}

#[tokio::test]
async fn a_request_may_give_an_alias_and_is_answered_under_the_models_name() {
    let answer = App::saying("x").completed(json!({"prompt": "p", "model": ALIAS})).await;
    assert_eq!(answer["model"], MODEL);
}

#[tokio::test]
async fn every_answer_carries_a_request_id_the_clients_own_if_it_has_one() {
    let app = App::saying("x");
    let named = Request::get("/health").header("x-request-id", "abc-1").body(Body::empty()).unwrap();
    assert_eq!(app.send(named).await.headers()["x-request-id"], "abc-1");
    let long = Request::get("/nowhere").header("x-request-id", "x".repeat(500)).body(Body::empty()).unwrap();
    let made = app.send(long).await.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert!(made.starts_with("req-"), "{made}");
    assert_ne!(made, app.get("/nowhere").await.headers["x-request-id"]);
}
