//! The headers that say within which time a client wants its answer.

use std::time::Duration;

use axum::http::HeaderMap;

use super::error::ApiError;

/// Longest time that may be given, a day.
pub const LONGEST_S: f64 = 86_400.0;
/// Shortest time that may be given.
pub const SHORTEST_S: f64 = 0.001;

/// A header, and how many of its units make a second.
struct TimeHeader {
    name: &'static str,
    per_second: f64,
    /// Why a value is refused; `None` where one that cannot be read is no fault of the client.
    problem: Option<&'static str>,
}

/// The server's own header has the unit of the field `timeout`; Envoy adds the other one to requests of which it knows
/// how long it will wait for them. A client knows nothing of that one, so its request is answered whatever is there.
const HEADERS: [TimeHeader; 2] = [
    TimeHeader {
        name: "x-request-timeout",
        per_second: 1.0,
        problem: Some("must be a number of seconds from 0.001 to 86400"),
    },
    TimeHeader { name: "x-envoy-expected-rq-timeout-ms", per_second: 1000.0, problem: None },
];

/// The shortest time that headers ask for.
///
/// # Errors
/// When the client's own cannot be read.
pub fn asked_timeout(headers: &HeaderMap) -> Result<Option<Duration>, ApiError> {
    let mut shortest: Option<f64> = None;
    for TimeHeader { name, per_second, problem } in &HEADERS {
        for value in headers.get_all(*name) {
            let seconds = value.to_str().ok().and_then(|text| text.trim().parse::<f64>().ok());
            let seconds = seconds.map(|number| number / per_second);
            let asked = seconds.filter(|seconds| (SHORTEST_S..=LONGEST_S).contains(seconds));
            match (asked, problem) {
                (Some(asked), _) => shortest = Some(shortest.map_or(asked, |before| before.min(asked))),
                (None, Some(problem)) => return Err(ApiError::Invalid { param: (*name).to_owned(), problem }),
                (None, None) => {}
            }
        }
    }
    Ok(shortest.map(Duration::from_secs_f64))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn asked(values: &[(&'static str, &'static str)]) -> Result<Option<Duration>, ApiError> {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        asked_timeout(&headers)
    }

    #[test]
    fn the_shortest_time_of_all_headers_counts() {
        let [own, envoy] = ["x-request-timeout", "x-envoy-expected-rq-timeout-ms"];
        assert_eq!(asked(&[]), Ok(None));
        assert_eq!(asked(&[(own, "2.5")]), Ok(Some(Duration::from_millis(2500))));
        assert_eq!(asked(&[(envoy, "15000"), (own, "20")]), Ok(Some(Duration::from_secs(15))));
        assert_eq!(asked(&[(own, "3"), (own, " 2 ")]), Ok(Some(Duration::from_secs(2))));
        for unreadable in ["0", "soon", "-1", "1e12"] {
            assert_eq!(asked(&[(envoy, unreadable)]), Ok(None), "a proxy has put it there");
            assert_eq!(asked(&[(envoy, unreadable), (own, "3")]), Ok(Some(Duration::from_secs(3))));
        }
    }

    #[test]
    fn a_time_that_is_none_is_refused_by_its_header() {
        for (name, value) in [
            ("x-request-timeout", "soon"),
            ("x-request-timeout", "0"),
            ("x-request-timeout", "-1"),
            ("x-request-timeout", "NaN"),
            ("x-request-timeout", "86401"),
        ] {
            let Err(ApiError::Invalid { param, .. }) = asked(&[(name, value)]) else { panic!("{name}: {value}") };
            assert_eq!(param, name);
        }
    }
}
