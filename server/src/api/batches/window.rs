//! `completion_window`: the time that a batch is given, as a number with a unit.

use utoipa::openapi::Schema;

use crate::api::http::ApiError;
use crate::api::json::{LimitValues, text_schema};

/// Name of the field.
pub const COMPLETION_WINDOW: &str = "completion_window";
/// Longest time, in seconds: 30 days.
const MOST_S: u64 = 30 * 86_400;
/// Units, in seconds.
const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];

/// The schema of the field.
pub fn window_schema(_: &LimitValues) -> Schema {
    text_schema().pattern(Some("^[1-9][0-9]{0,6}[smhd]$")).into()
}

/// Seconds of a window.
///
/// # Errors
/// When it is no number with a unit, or longer than 30 days.
pub fn window_seconds(text: &str) -> Result<u64, ApiError> {
    let seconds = || {
        let unit = text.chars().next_back()?;
        let (_, length) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        let number = text.strip_suffix(unit)?;
        let number = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse::<u64>().ok())??;
        number.checked_mul(length).filter(|seconds| (1..=MOST_S).contains(seconds))
    };
    seconds().ok_or_else(|| ApiError::OutOfRange {
        param: COMPLETION_WINDOW,
        value: format!("{text:?}"),
        range: "a number with the unit s, m, h or d, such as \"24h\", of at most 30 days".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_a_number_with_a_unit() {
        for (text, seconds) in [("24h", 86_400), ("1s", 1), ("90m", 5400), ("30d", MOST_S)] {
            assert_eq!(window_seconds(text), Ok(seconds));
        }
        for text in ["", "h", "24", "0h", "-1h", "+1h", "1.5h", "31d", "24 h", "24H", "99999999999999999999s", "é"] {
            assert!(window_seconds(text).is_err(), "{text}");
        }
    }
}
