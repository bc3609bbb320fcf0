//! `x-request-id`: echoed when the client gives one, made otherwise. Whatever is logged for a request stands in a span
//! with its name.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument, field};

use super::random::random_name;
use super::spanned_body::spanned;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Field of the span that has the id of the request's trace.
pub const TRACE_ID: &str = "trace_id";
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
    let name = RequestName(name);
    // As severe as any line, so that no level leaves the span out of a line that is written.
    let span = tracing::error_span!("request", id = name.as_str(), { TRACE_ID } = field::Empty);
    request.extensions_mut().insert(name.clone());
    let mut response = next.run(request).instrument(span.clone()).await;
    response.headers_mut().insert(X_REQUEST_ID, name.0);
    response.map(|body| spanned(body, span))
}

fn usable(name: &HeaderValue) -> bool {
    !name.is_empty() && name.len() <= LONGEST && name.to_str().is_ok()
}
