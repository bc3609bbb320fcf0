//! Asks requests for an API key, where the server has any, before anything is done for them.
//!
//! Stands behind the guard and before all routes. A request that is let in carries the name of its key.

use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::entrance::Entrance;
use super::error::ApiError;
use super::priority_header::asked_priority;
use super::visit::Visit;
use crate::access::{KeyName, Keys};
use crate::config::MetricsAccess;
use crate::source_sharing::Client;

/// Paths that are open to everybody: probes, which have no keys, and the page, into which a person types one.
const OPEN_PATHS: [&str; 4] = ["/", "/health", "/ready", "/ping"];
/// Beginning of the paths of the page's other files.
const PAGE_FILES: &str = "/page/";
const METRICS: &str = "/metrics";
/// Bytes of a secret that is looked at, at most: no key of this server is longer.
const SECRET_BYTES: usize = 512;

/// Which requests need a key, and which keys there are.
#[derive(Debug, Clone, Default)]
pub struct KeyCheck {
    /// The keys.
    pub keys: Keys,
    /// Who may read metrics.
    pub metrics: MetricsAccess,
}

/// Lets a request through, or answers it with 401.
pub async fn check_key(State(entrance): State<Entrance>, mut request: Request, next: Next) -> Response {
    match entrance.keys.admit(&request) {
        Ok(None) => next.run(request).await,
        Ok(Some(name)) => {
            if let Some(visit) = request.extensions().get::<Visit>() {
                visit.identify(name.clone());
            }
            request.extensions_mut().insert(name);
            next.run(request).await
        }
        Err(error) => entrance.refuse_unread(request, error).await.into_response(),
    }
}

/// Who sent a request.
pub fn client_of(head: &Parts) -> Client {
    let Parts { extensions, headers, .. } = head;
    Client { peer: extensions.get().copied(), key: extensions.get().cloned(), priority: asked_priority(headers) }
}

impl KeyCheck {
    /// The name of the request's key; `None` where it needs none.
    fn admit(&self, request: &Request) -> Result<Option<KeyName>, ApiError> {
        let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        let is = |known: &str| path.is_some_and(|path| path == known || path.strip_suffix('/') == Some(known));
        if is(METRICS) && self.metrics == MetricsAccess::ProbeAddress {
            let method = request.method().to_string();
            return Err(ApiError::UnknownPath { method, path: METRICS.to_owned() });
        }
        let is_of_page = path.is_some_and(|path| path.starts_with(PAGE_FILES));
        let is_open = is_of_page
            || OPEN_PATHS.iter().any(|path| is(path))
            || (is(METRICS) && self.metrics == MetricsAccess::Open);
        let Some(ring) = self.keys.present().filter(|_| !is_open) else { return Ok(None) };
        let secret = bearer(request.headers())?;
        ring.find(secret).cloned().map(Some).ok_or(ApiError::WrongKey)
    }
}

/// The secret of `Authorization: Bearer SECRET`.
fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return Err(ApiError::NoKey) };
    let text = value.to_str().map_err(|_| ApiError::WrongKey)?;
    let (scheme, secret) = text.split_once(' ').ok_or(ApiError::NoKey)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(ApiError::NoKey);
    }
    let secret = secret.trim();
    if secret.len() > SECRET_BYTES { Err(ApiError::WrongKey) } else { Ok(secret) }
}
