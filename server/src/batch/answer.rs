//! A request of a batch, sent to its route until that has room for it.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Extensions, HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::request_line::BatchRequest;
use super::result_line::Outcome;

/// Pause before a request is sent again, and the longest one.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];
/// How often a request is sent again that the server failed at in passing.
const REPEATS: u32 = 5;
/// `code` of the error of a server that is about to end.
const ENDING: &[u8] = b"\"shutting_down\"";
/// `code` of the error of a server whose system has no memory for the request, and may never have.
const NO_MEMORY: &[u8] = b"\"out_of_memory\"";

/// Where requests go.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Their routes.
    pub router: Router,
    /// Extensions that every request carries.
    pub extensions: Extensions,
    /// Headers that every request carries beside that of its content type.
    pub headers: HeaderMap,
}

/// The answer to a request; `None` when the server ends before there is one. Answers that ask to come back later are
/// none, and neither are the first failures of a server that do not say that they last.
pub async fn answer(destination: Destination, request: BatchRequest) -> Option<Outcome> {
    let [mut pause, longest] = PAUSES;
    let mut failures = 0;
    loop {
        let answered: Result<_, Infallible> =
            destination.router.clone().oneshot(http_request(&destination, &request)).await;
        let Ok(response) = answered;
        let (head, body) = response.into_parts();
        let Ok(body) = body.collect().await.map(|body| body.to_bytes().to_vec()) else {
            return Some(Outcome::Refused { code: "internal_error", message: "the answer was cut off".to_owned() });
        };
        let may_pass = head.headers.get("x-should-retry").is_none_or(|value| value != "false");
        let says = |code: &[u8]| body.windows(code.len()).any(|part| part == code);
        let has_failed = head.status == StatusCode::INTERNAL_SERVER_ERROR || says(NO_MEMORY);
        match head.status {
            _ if has_failed && may_pass && failures < REPEATS => {
                failures += 1;
                tokio::time::sleep(pause).await;
                pause = longest.min(2 * pause);
            }
            StatusCode::SERVICE_UNAVAILABLE if says(ENDING) => return None,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS if !has_failed => {
                tokio::time::sleep(pause).await;
                pause = longest.min(2 * pause);
            }
            status => {
                let request_id = head.headers.get("x-request-id").and_then(|name| name.to_str().ok());
                return Some(Outcome::Answered { status, request_id: request_id.unwrap_or_default().to_owned(), body });
            }
        }
    }
}

fn http_request(destination: &Destination, request: &BatchRequest) -> Request<Body> {
    let mut http = Request::post(request.url.clone())
        .body(Body::from(request.body.clone()))
        .expect("a path that was parsed makes a request");
    http.headers_mut().clone_from(&destination.headers);
    http.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *http.extensions_mut() = destination.extensions.clone();
    http
}
