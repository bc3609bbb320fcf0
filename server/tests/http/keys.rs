//! API keys: which requests need one, and what becomes of those without.

use axum::body::Body;
use axum::http::{Method, Request, header};
use serde_json::json;
use server::access::{KeyName, KeySources, Keys, NewKey};
use server::api::{Guard, GuardSettings, KeyCheck, admin_router};
use server::config::MetricsAccess;
use server::source_sharing::SourceSharing;
use tower::ServiceExt;

use crate::answer::Answer;
use crate::app::{App, Setup, chunked, completion_request, ids, wait_for};
use crate::scripted_engine::generate;

/// Keys with these names.
fn keys(names: &[&str]) -> (Keys, Vec<NewKey>) {
    let made: Vec<_> = names.iter().map(|name| NewKey::make(&KeyName::new(name).unwrap())).collect();
    let listed = made.iter().map(|key| key.line.clone()).collect();
    let ring = KeySources { listed, ..KeySources::default() }.read().unwrap();
    (Keys::of(ring), made)
}

fn setup(metrics: MetricsAccess) -> (Setup, NewKey) {
    let (keys, mut made) = keys(&["team-a"]);
    (Setup { keys: KeyCheck { keys, metrics }, ..Setup::default() }, made.remove(0))
}

fn app(setup: Setup) -> App {
    App::scripted(setup, |request| generate(request, &ids("a b")))
}

async fn ask(app: &App, method: Method, path: &str, authorization: Option<&str>) -> Answer {
    let mut request = Request::builder().method(&method).uri(path);
    if let Some(value) = authorization {
        request = request.header(header::AUTHORIZATION, value);
    }
    let body = if method == Method::POST { Body::from("{\"prompt\": \"p\"}") } else { Body::empty() };
    Answer::of(app.send(request.body(body).unwrap()).await).await
}

#[tokio::test]
async fn every_path_but_probes_needs_a_key() {
    let (setup, key) = setup(MetricsAccess::Key);
    let app = app(setup);
    for path in ["/health", "/ready", "/ping", "/health/", "/", "/page/main.js"] {
        assert_eq!(ask(&app, Method::GET, path, None).await.status, 200, "{path}");
    }
    let bearer = format!("Bearer {}", key.secret);
    for (method, path) in [
        (Method::POST, "/v1/completions"),
        (Method::GET, "/v1/models"),
        (Method::GET, "/v1/models/org/demo"),
        (Method::GET, "/metrics"),
        (Method::GET, "/version"),
        (Method::HEAD, "/version"),
        (Method::OPTIONS, "/v1/completions"),
    ] {
        let refused = ask(&app, method.clone(), path, None).await;
        assert_eq!(refused.status, 401, "{method} {path}");
        assert_eq!(refused.headers[header::WWW_AUTHENTICATE], "Bearer realm=\"encdec\"");
        let let_in = ask(&app, method.clone(), path, Some(&bearer)).await;
        assert!(let_in.status.is_success(), "{method} {path}: {}", let_in.status);
    }
    ask(&app, Method::GET, "/nowhere", None).await.error(401, None, Some("invalid_api_key"));
    ask(&app, Method::GET, "/nowhere", Some(&bearer)).await.error(404, None, Some("unknown_url"));
}

#[tokio::test]
async fn what_is_no_key_is_refused_and_never_repeated() {
    let (setup, key) = setup(MetricsAccess::Key);
    let app = app(setup);
    let NewKey { secret, line } = &key;
    for given in [
        format!("Bearer {}x", secret),
        format!("Bearer {}", secret.to_uppercase()),
        format!("Bearer {}", &secret[1..]),
        format!("Bearer {line}"),
        format!("Basic {secret}"),
        format!("Bearer {}", "x".repeat(4000)),
        secret.clone(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
    ] {
        let answer = ask(&app, Method::POST, "/v1/completions", Some(&given)).await;
        let message = answer.error(401, None, Some("invalid_api_key"));
        assert!(!answer.text.contains(&secret[10..]) && message.len() < 100, "{message}");
        assert!(answer.headers.contains_key(header::WWW_AUTHENTICATE));
    }
    assert_eq!(app.metrics().generated_tokens.get(), 0, "nothing was computed for them");
    assert_eq!(ask(&app, Method::POST, "/v1/completions", Some(&format!("bearer  {secret}"))).await.status, 200);
}

#[tokio::test]
async fn the_body_of_a_request_without_a_key_is_thrown_away() {
    let (setup, _) = setup(MetricsAccess::Key);
    let app = app(setup);
    let mut request = completion_request(&json!({}));
    *request.body_mut() = chunked(&[b'x'; 1 << 10], 512);
    Answer::of(app.send(request).await).await.error(401, None, Some("invalid_api_key"));
    assert_eq!(app.api.body_budget.used_bytes(), 0);
    let mut waiting = completion_request(&json!({}));
    waiting.headers_mut().insert(header::EXPECT, "100-continue".parse().unwrap());
    *waiting.body_mut() = Body::from_stream(futures_util::stream::pending::<Result<&[u8], std::io::Error>>());
    Answer::of(app.send(waiting).await).await.error(401, None, Some("invalid_api_key"));
}

#[tokio::test]
async fn keys_that_were_read_anew_are_the_only_ones() {
    let (setup, old) = setup(MetricsAccess::Key);
    let present = setup.keys.keys.clone();
    let app = app(setup);
    let status = async |key: &NewKey| {
        let bearer = format!("Bearer {}", key.secret);
        ask(&app, Method::GET, "/v1/models", Some(&bearer)).await.status.as_u16()
    };
    let new = NewKey::make(&KeyName::new("new").unwrap());
    assert_eq!((status(&old).await, status(&new).await), (200, 401));
    let sources = KeySources { listed: vec![new.line.clone()], ..KeySources::default() };
    present.replace(sources.read().unwrap());
    assert_eq!((status(&old).await, status(&new).await), (401, 200));
}

#[tokio::test]
async fn metrics_are_open_or_at_an_address_of_their_own_by_choice() {
    let get = async |app: &App| ask(app, Method::GET, "/metrics", None).await;
    let app_with = |metrics| app(setup(metrics).0);
    assert_eq!(get(&app_with(MetricsAccess::Open)).await.status, 200);
    assert_eq!(get(&app_with(MetricsAccess::Key)).await.status, 401);
    let (setup, key) = setup(MetricsAccess::ProbeAddress);
    let app = app(setup);
    get(&app).await.error(404, None, Some("unknown_url"));
    let bearer = format!("Bearer {}", key.secret);
    ask(&app, Method::GET, "/metrics", Some(&bearer)).await.error(404, None, Some("unknown_url"));
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    assert_eq!(admin_router(app.api.clone()).oneshot(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn metrics_count_by_the_key_s_name() {
    let (setup, key) = setup(MetricsAccess::Key);
    let app = app(setup);
    let bearer = format!("Bearer {}", key.secret);
    let answer = ask(&app, Method::POST, "/v1/completions", Some(&bearer)).await;
    let generated = answer.json()["usage"]["completion_tokens"].as_u64().unwrap();
    ask(&app, Method::GET, "/nowhere", Some(&bearer)).await;
    for line in [
        "encdec_key_requests_total{key=\"team-a\",outcome=\"completed\"} 1".to_owned(),
        "encdec_key_requests_total{key=\"team-a\",outcome=\"refused\"} 1".to_owned(),
        format!("encdec_key_generated_tokens_total{{key=\"team-a\"}} {generated}"),
    ] {
        wait_for(|| app.metrics_text().contains(&line).then_some(())).await;
    }
    assert!(!app.metrics_text().contains(&key.secret));
}

#[tokio::test]
async fn keys_do_not_share_sources_with_each_other() {
    let (keys, made) = keys(&["a", "b"]);
    let check = KeyCheck { keys, metrics: MetricsAccess::Key };
    let setup = Setup { keys: check, source_sharing: SourceSharing::Key, ..Setup::default() };
    let (app, mut hand) = App::by_hand(setup);
    let (mut salts, mut asked) = (Vec::new(), Vec::new());
    for key in [&made[0], &made[1], &made[0]] {
        let mut request = completion_request(&json!({"prompt": "p"}));
        request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {}", key.secret).parse().unwrap());
        let asking = tokio::spawn({
            let app = app.clone();
            async move { app.send(request).await }
        });
        let submission = hand.submission().await;
        salts.push(submission.slot.caller().salt.clone());
        // Either of them cancels when it goes away.
        asked.push((asking, submission));
    }
    assert_ne!(salts[0], salts[1]);
    assert_eq!(salts[0], salts[2]);
}

#[tokio::test]
async fn a_browser_s_question_before_a_request_needs_no_key() {
    let (mut setup, _) = setup(MetricsAccess::Key);
    setup.guard = Guard::new(GuardSettings {
        bound: "127.0.0.1".parse().unwrap(),
        name: "localhost",
        allowed_hosts: &[],
        allowed_origins: &["https://app.example".to_owned()],
        allowed_methods: &["POST".to_owned()],
        allowed_headers: &["*".to_owned()],
    });
    let app = app(setup);
    let preflight = Request::options("/v1/completions")
        .header("host", "localhost")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization");
    let answer = Answer::of(app.send(preflight.body(Body::empty()).unwrap()).await).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    assert_eq!(answer.headers["access-control-allow-headers"], "authorization");
}
