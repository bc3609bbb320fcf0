//! `x-request-id`: echoed when the client gives one, made otherwise.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use super::random::random_name;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer ones are no names, and they end up in logs.
const LONGEST: usize = 128;

/// A request's name; in its extensions.
#[derive(Debug, Clone)]
pub struct RequestName(HeaderValue);

impl RequestName {
    /// Visible characters and blanks.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Puts the request's name on the request and on its answer.
pub async fn name_request(mut request: Request, next: Next) -> Response {
    let given = request.headers().get(X_REQUEST_ID).filter(|name| usable(name)).cloned();
    let name = given.unwrap_or_else(|| {
        HeaderValue::try_from(format!("req-{}", random_name())).expect("hexadecimal digits are a valid header")
    });
    request.extensions_mut().insert(RequestName(name.clone()));
    let mut response = next.run(request).await;
    response.headers_mut().insert(X_REQUEST_ID, name);
    response
}

fn usable(name: &HeaderValue) -> bool {
    !name.is_empty() && name.len() <= LONGEST && name.to_str().is_ok()
}
