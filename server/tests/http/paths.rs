//! Behaviour that all paths share: a slash at the end, OPTIONS and HEAD.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;

use crate::app::{Answer, App, completion_request};

const READ: [&str; 6] = ["/v1/models", "/v1/models/org/demo", "/health", "/ready", "/ping", "/version"];

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
    for (path, allow) in
        READ.map(|path| (path, "GET,HEAD,OPTIONS")).into_iter().chain([("/v1/completions/", "POST,OPTIONS")])
    {
        let answer = ask(&app, "OPTIONS", path).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""), "{path}");
        assert_eq!(answer.headers[header::ALLOW], allow);
    }
    for path in READ {
        let (head, whole) = (ask(&app, "HEAD", path).await, app.get(path).await);
        assert_eq!((head.status, head.text.as_str()), (whole.status, ""), "{path}");
        assert_eq!(head.headers[header::CONTENT_LENGTH], whole.text.len().to_string());
    }
    assert_eq!(ask(&app, "HEAD", "/v1/completions").await.status, 405);
    assert_eq!(ask(&app, "OPTIONS", "/nowhere").await.status, 404);
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
