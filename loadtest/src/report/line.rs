//! One request as a line of JSON.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Outcome;
use crate::measurement::Record;

/// A record as one line. Times of day count in seconds from the start, latencies in milliseconds from when the request
/// was due.
pub fn record_line(record: &Record, kinds: &[String]) -> String {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let (outcome, detail) = match &record.outcome {
        Outcome::Whole => ("whole".to_owned(), Value::Null),
        Outcome::Left => ("left".to_owned(), Value::Null),
        Outcome::Failed(fault) => (fault.class.to_string(), fault.detail.as_str().into()),
    };
    let line = json!({
        "number": record.number,
        "kind": kinds.get(record.kind),
        "due": record.due.as_secs_f64(),
        "sent": record.sent.as_secs_f64(),
        "end": record.end.as_secs_f64(),
        "ttft_ms": record.ttft().map(milliseconds),
        "tpot_ms": record.tpot().map(milliseconds),
        "e2el_ms": milliseconds(record.e2el()),
        "itl_ms": record.gaps().into_iter().map(milliseconds).collect::<Vec<_>>(),
        "input_tokens": record.source_tokens,
        "output_tokens": record.target_tokens,
        "reads_slowly": record.reads_slowly,
        "outcome": outcome,
        "detail": detail,
    });
    line.to_string()
}
