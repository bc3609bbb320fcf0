//! The page at `/`, with which a browser tries the server and watches it.
//!
//! Its files are part of the program and name no other server. Everything that it shows comes from the API, which it
//! asks like any other client: the files themselves hold nothing that a key would have to protect.

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;

use super::http::read;

/// Permissions of the page: files and answers of this server, nothing written into the page itself, no frame around it,
/// and no text that becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// A file of the page.
#[derive(Debug, Clone, Copy)]
struct PageFile {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

const FILES: [PageFile; 10] = [
    PageFile { path: "/", content_type: HTML, text: include_str!("index.html") },
    PageFile { path: "/page/style.css", content_type: CSS, text: include_str!("style.css") },
    PageFile { path: "/page/icon.svg", content_type: SVG, text: include_str!("icon.svg") },
    PageFile { path: "/page/main.js", content_type: SCRIPT, text: include_str!("main.js") },
    PageFile { path: "/page/api.js", content_type: SCRIPT, text: include_str!("api.js") },
    PageFile { path: "/page/form.js", content_type: SCRIPT, text: include_str!("form.js") },
    PageFile { path: "/page/hypotheses.js", content_type: SCRIPT, text: include_str!("hypotheses.js") },
    PageFile { path: "/page/choices.js", content_type: SCRIPT, text: include_str!("choices.js") },
    PageFile { path: "/page/alternatives.js", content_type: SCRIPT, text: include_str!("alternatives.js") },
    PageFile { path: "/page/state.js", content_type: SCRIPT, text: include_str!("state.js") },
];

/// Adds the files of the page to `routes`.
pub fn with_page<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    FILES
        .into_iter()
        .fold(routes, |routes, file| routes.route(file.path, read(move || std::future::ready(file.into_response()))))
}

impl IntoResponse for PageFile {
    fn into_response(self) -> axum::response::Response {
        let headers = [
            (header::CONTENT_TYPE, self.content_type),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            // The files change with the program.
            (header::CACHE_CONTROL, "no-cache"),
        ];
        (headers.map(|(name, value)| (name, HeaderValue::from_static(value))), self.text).into_response()
    }
}
