//! The header `Priority` (RFC 9218): whether somebody waits for the answer.
//!
//! Read with the rest of what is known of a request's client.

use axum::http::{HeaderMap, HeaderName};

use crate::request::Priority;

const PRIORITY: HeaderName = HeaderName::from_static("priority");
/// The lowest urgency, which the RFC reserves for work in the background.
const BACKGROUND: &str = "u=7";

/// The priority that headers ask for. A value that cannot be read says nothing, as the RFC wants it.
pub fn asked_priority(headers: &HeaderMap) -> Priority {
    let values = headers.get_all(PRIORITY).iter().filter_map(|value| value.to_str().ok());
    let members = values.flat_map(|value| value.split(','));
    // A member may have parameters; of several urgencies the last one counts.
    let mut names = members.map(|member| member.split(';').next().unwrap_or_default().trim());
    match names.rfind(|name| name.starts_with("u=")) {
        Some(BACKGROUND) => Priority::Idle,
        _ => Priority::Interactive,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn asked(values: &[&'static str]) -> Priority {
        let mut headers = HeaderMap::new();
        values.iter().for_each(|value| _ = headers.append(PRIORITY, HeaderValue::from_static(value)));
        asked_priority(&headers)
    }

    #[test]
    fn only_the_lowest_urgency_gives_way() {
        for values in [&["u=7"][..], &["i, u=7"], &["u=1, u=7;x"], &["u=3", "u=7"]] {
            assert_eq!(asked(values), Priority::Idle, "{values:?}");
        }
        for values in [&[][..], &["u=3"], &["u=1, i"], &["u=7, u=0"], &["u=7", "u=2"], &["i"], &["U=7"], &["u=77"]] {
            assert_eq!(asked(values), Priority::Interactive, "{values:?}");
        }
    }
}
