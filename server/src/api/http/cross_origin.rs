//! Lets requests through the guard, and tells browsers which pages may read the answers (CORS).

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, VARY,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::entrance::Entrance;
use super::guard::{Guard, Page};

/// Lets a request through, or answers it with 403.
pub async fn guard(State(entrance): State<Entrance>, request: Request, next: Next) -> Response {
    let page = match entrance.guard.admit(&request) {
        Ok(page) => page,
        Err(error) => return entrance.refuse_unread(request, error).await.into_response(),
    };
    let Page::Allowed(origin) = page else { return next.run(request).await };
    let mut response =
        if is_preflight(&request) { preflight(&entrance.guard, &request) } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(VARY, HeaderValue::from_static("origin"));
    let exposed = HeaderValue::from_static("x-request-id, retry-after, retry-after-ms, x-should-retry");
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    response
}

/// Whether a browser asks if the page may ask.
fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight(guard: &Guard, request: &Request) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let asked = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS).and_then(|asked| asked.to_str().ok());
    let allowed = [
        (ACCESS_CONTROL_ALLOW_METHODS, guard.allowed_methods().to_owned()),
        (ACCESS_CONTROL_ALLOW_HEADERS, asked.map(|asked| guard.allowed_headers(asked)).unwrap_or_default()),
    ];
    for (name, list) in allowed {
        // Settings that cannot stand in a header allow nothing.
        if let Some(value) = HeaderValue::try_from(list).ok().filter(|list| !list.is_empty()) {
            headers.insert(name, value);
        }
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}
