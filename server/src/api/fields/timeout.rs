//! `timeout`: the time within which a client wants its answer.
//!
//! Read by the rooms of endpoints that submit requests.

use std::time::Duration;

use crate::api::http::{ApiError, LONGEST_S, SHORTEST_S};
use crate::api::json::{Field, Fields};

/// The time within which the answer is wanted.
pub const TIMEOUT: Field = Field::number("timeout", SHORTEST_S, LONGEST_S).absent("none").about(
    "Seconds from the request's arrival, 0.001 to 86400, within which the answer has to be whole. See \
     [deadlines](#deadlines).",
);

/// Reads the field.
///
/// # Errors
/// When it is no number, or out of range.
pub fn read_timeout(fields: &Fields) -> Result<Option<Duration>, ApiError> {
    let accepts = |seconds: f64| (SHORTEST_S..=LONGEST_S).contains(&seconds);
    let seconds = fields.number(TIMEOUT.name, f64::INFINITY, "between 0.001 and 86400", accepts)?;
    Ok(seconds.is_finite().then(|| Duration::from_secs_f64(seconds)))
}
