//! Pages in browsers, and names that are not this server's.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;
use server::api::{Guard, GuardSettings, admin_router};
use tower::ServiceExt;

use crate::answer::Answer;
use crate::app::{App, Setup, ids};
use crate::scripted_engine::generate;

const COMPLETION: &str = "{\"prompt\": \"p\", \"max_tokens\": 3}";
const LOOPBACK: &str = "127.0.0.1";
const NETWORK: &str = "0.0.0.0";

fn owned(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

/// A server on an address whose settings allow these hosts and origins.
fn app(bound: &str, allowed_hosts: &[&str], allowed_origins: &[&str]) -> App {
    let bound: IpAddr = bound.parse().unwrap();
    let (allowed_hosts, allowed_origins) = (&owned(allowed_hosts), &owned(allowed_origins));
    let guard = Guard::new(GuardSettings {
        bound,
        name: "localhost",
        allowed_hosts,
        allowed_origins,
        allowed_methods: &owned(&["GET", "POST"]),
        allowed_headers: &owned(&["authorization", "content-type"]),
    });
    App::scripted(Setup { guard, ..Setup::default() }, |request| generate(request, &ids("a b")))
}

async fn ask(app: &App, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(&method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if method == Method::POST { Body::from(COMPLETION) } else { Body::empty() };
    Answer::of(app.send(request.body(body).unwrap()).await).await
}

async fn complete(app: &App, headers: &[(&str, &str)]) -> Answer {
    ask(app, Method::POST, "/v1/completions", headers).await
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused_on_every_path_and_told_nothing() {
    for bound in [LOOPBACK, NETWORK] {
        let app = app(bound, &[], &["https://app.example"]);
        for origin in
            ["https://evil.example", "https://app.example:444", "http://app.example", "null", "http://localhost"]
        {
            let headers = [("host", "localhost:8080"), ("origin", origin)];
            let answer = complete(&app, &headers).await;
            let message = answer.error(403, None, Some("origin_not_allowed"));
            assert!(message.contains("server.allowed_origins"), "{message}");
            assert!(answer.headers.contains_key("x-request-id"));
            assert!(!answer.headers.contains_key("access-control-allow-origin"), "{answer:?}");
            for path in ["/v1/models", "/metrics", "/health", "/nowhere"] {
                ask(&app, Method::GET, path, &headers).await.error(403, None, Some("origin_not_allowed"));
            }
            let asked = [&headers[..], &[("access-control-request-method", "POST")]].concat();
            ask(&app, Method::OPTIONS, "/v1/completions", &asked).await.error(403, None, Some("origin_not_allowed"));
        }
        let several = [("host", "localhost"), ("origin", "https://app.example"), ("origin", "https://evil.example")];
        complete(&app, &several).await.error(403, None, Some("origin_not_allowed"));
        assert_eq!(app.metrics().generated_tokens.get(), 0, "nothing was computed for them");
    }
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_ask_and_read() {
    let app = app(LOOPBACK, &[], &["https://App.example/"]);
    let headers = [("host", "127.0.0.1:8080"), ("origin", "https://app.example")];
    let answer = complete(&app, &headers).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.headers["access-control-allow-origin"], "https://app.example");
    assert_eq!(answer.headers["vary"], "origin");
    assert!(answer.headers["access-control-expose-headers"].to_str().unwrap().contains("x-request-id"));
    let unknown = ask(&app, Method::GET, "/nowhere", &headers).await;
    unknown.error(404, None, Some("unknown_url"));
    assert_eq!(unknown.headers["access-control-allow-origin"], "https://app.example", "errors are read as well");
    let asked = [
        &headers[..],
        &[
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,x-stainless-os"),
        ],
    ]
    .concat();
    for path in ["/v1/completions", "/v1/responses/resp_1"] {
        let allowed = ask(&app, Method::OPTIONS, path, &asked).await;
        assert_eq!((allowed.status.as_u16(), allowed.text.as_str()), (204, ""));
        assert_eq!(allowed.headers["access-control-allow-origin"], "https://app.example");
        assert_eq!(allowed.headers["access-control-allow-headers"], "authorization", "the other one is not listed");
        assert_eq!(allowed.headers["access-control-allow-methods"], "GET, POST");
    }
}

#[tokio::test]
async fn any_origin_may_be_allowed() {
    let app = app(LOOPBACK, &[], &["*"]);
    for origin in ["https://any.example", "null"] {
        let answer = complete(&app, &[("host", "localhost"), ("origin", origin)]).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers["access-control-allow-origin"]),
            (200, &"*".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn clients_that_are_no_browsers_and_pages_of_this_server_are_let_in() {
    let app = app(LOOPBACK, &[], &[]);
    for headers in [
        &[("host", "localhost:8080")][..],
        &[("host", "127.0.0.1:8080")],
        &[("host", "[::1]:8080")],
        &[],
        &[("host", "localhost:8080"), ("origin", "http://localhost:8080")],
    ] {
        let answer = complete(&app, headers).await;
        assert_eq!(answer.status, 200, "{headers:?}: {}", answer.text);
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn a_name_made_to_stand_for_loopback_is_refused_by_default() {
    let rebound = [("host", "evil.example:8080")];
    let closed = app(LOOPBACK, &[], &[]);
    let message = complete(&closed, &rebound).await.error(403, None, Some("host_not_allowed"));
    assert!(message.contains("evil.example:8080") && message.contains("server.allowed_hosts"), "{message}");
    let own_page = [rebound[0], ("origin", "http://evil.example:8080")];
    complete(&closed, &own_page).await.error(403, None, Some("host_not_allowed"));
    ask(&closed, Method::GET, "/v1/models", &rebound).await.error(403, None, Some("host_not_allowed"));
    let absolute = ask(&closed, Method::GET, "http://evil.example/v1/models", &[("host", "localhost")]).await;
    absolute.error(403, None, Some("host_not_allowed"));
    let text = closed.metrics_text();
    assert!(text.contains("encdec_refusals_total{model=\"org/demo\",reason=\"host_not_allowed\"} 4\n"), "{text}");
    for allowed in [app(LOOPBACK, &["evil.example"], &[]), app(LOOPBACK, &["*"], &[]), app(NETWORK, &[], &[])] {
        assert_eq!(complete(&allowed, &rebound).await.status, 200);
    }
    complete(&app(NETWORK, &["api.example"], &[]), &rebound).await.error(403, None, Some("host_not_allowed"));
}

#[tokio::test]
async fn a_refused_request_is_read_so_that_its_client_sees_the_answer() {
    let app = app(LOOPBACK, &[], &[]);
    let request = Request::post("/v1/completions").header("host", "evil.example");
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let mut sender = Some(sender);
    let pieces = futures_util::stream::iter((0..8).map(move |index| {
        if index == 7 {
            sender.take().unwrap().send(()).unwrap();
        }
        Ok::<_, std::io::Error>(vec![b' '; 1 << 16])
    }));
    let answer = app.send(request.body(Body::from_stream(pieces)).unwrap()).await;
    assert_eq!(answer.status(), 403);
    receiver.await.expect("the body was read to its end");
    assert!(Answer::of(answer).await.json()["error"] != json!(null));
}

#[tokio::test]
async fn the_address_for_probes_is_asked_by_names_of_its_own() {
    let app = app(LOOPBACK, &[], &[]);
    let host = [("host", "10.0.0.5:9090")];
    ask(&app, Method::GET, "/health", &host).await.error(403, None, Some("host_not_allowed"));
    let request = Request::get("/health").header("host", "10.0.0.5:9090").body(Body::empty()).unwrap();
    assert_eq!(admin_router(app.api.clone()).oneshot(request).await.unwrap().status(), 200);
}
