//! W3C trace context: the trace that a request is part of, as its client says in `traceparent` and `tracestate`.
//!
//! <https://www.w3.org/TR/trace-context/>

use axum::http::{HeaderMap, HeaderName};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Bytes of a `traceparent` of version 00.
const LENGTH: usize = 55;
/// Longest `tracestate`, all of its headers together; a longer one is dropped, as the recommendation allows.
const LONGEST_STATE: usize = 512;

/// The trace of a client, and the span of it that the request is part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// Id of the trace, not all zeros.
    pub trace_id: [u8; 16],
    /// Id of the client's span, not all zeros.
    pub span_id: [u8; 8],
    /// Whether the client records the trace.
    pub is_sampled: bool,
    /// Data of tracing systems, which spans carry on.
    pub state: String,
}

impl TraceContext {
    /// The context that a request came with, if it is valid.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let parent = parents.next()?.to_str().ok()?;
        if parents.next().is_some() {
            return None;
        }
        let (trace_id, span_id, flags) = parse(parent)?;
        let states: Vec<_> = headers.get_all(TRACESTATE).iter().filter_map(|state| state.to_str().ok()).collect();
        let state = Some(states.join(",")).filter(|state| state.len() <= LONGEST_STATE).unwrap_or_default();
        Some(Self { trace_id, span_id, is_sampled: flags & 1 == 1, state })
    }
}

/// Trace, span and flags of a `traceparent`. What follows them in later versions is ignored.
fn parse(text: &str) -> Option<([u8; 16], [u8; 8], u8)> {
    let (known, rest) = text.split_at_checked(LENGTH)?;
    let mut fields = known.split('-');
    let [version] = bytes(fields.next()?)?;
    let (trace_id, span_id, [flags]) = (bytes(fields.next()?)?, bytes(fields.next()?)?, bytes(fields.next()?)?);
    let may_end_so = if version == 0 { rest.is_empty() } else { rest.is_empty() || rest.starts_with('-') };
    let is_valid = version != 0xff && may_end_so && trace_id != [0; 16] && span_id != [0; 8];
    is_valid.then_some((trace_id, span_id, flags))
}

/// The bytes that lower-case hexadecimal digits stand for.
fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let digits = digits.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn context(parents: &[&str], states: &[&str]) -> Option<TraceContext> {
        let mut headers = HeaderMap::new();
        parents.iter().for_each(|parent| _ = headers.append(TRACEPARENT, parent.parse().unwrap()));
        states.iter().for_each(|state| _ = headers.append(TRACESTATE, state.parse().unwrap()));
        TraceContext::of(&headers)
    }

    #[test]
    fn the_recommendation_s_example_is_read() {
        let found = context(&[VALID], &["congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7"]).unwrap();
        assert_eq!(u128::from_be_bytes(found.trace_id), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(u64::from_be_bytes(found.span_id), 0x00f0_67aa_0ba9_02b7);
        assert!(found.is_sampled);
        assert_eq!(found.state, "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7");
        let unsampled = VALID.replace("-01", "-00");
        assert!(!context(&[&unsampled], &[]).unwrap().is_sampled);
    }

    #[test]
    fn later_versions_may_have_more_and_broken_contexts_are_none() {
        let later = VALID.replacen("00", "cc", 1);
        assert!(context(&[&later], &[]).is_some());
        assert!(context(&[&format!("{later}-what-comes")], &[]).is_some());
        for broken in [
            &format!("{later}.what"),
            &format!("{VALID}-more"),
            &VALID.replacen("00", "ff", 1),
            &VALID.to_uppercase(),
            &VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            &VALID.replace("00f067aa0ba902b7", "0000000000000000"),
            &VALID.replace('-', "_"),
            &VALID[..54].to_owned(),
            &"é".repeat(30),
        ] {
            assert_eq!(context(&[broken], &[]), None, "{broken}");
        }
        assert_eq!(context(&[VALID, VALID], &[]), None, "one trace at most");
    }

    #[test]
    fn a_state_that_is_too_long_is_dropped_and_the_trace_goes_on() {
        let found = context(&[VALID], &[&format!("a={}", "b".repeat(LONGEST_STATE))]).unwrap();
        assert_eq!(found.state, "");
    }
}
