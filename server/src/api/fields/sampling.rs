//! The fields of a body that say how tokens are drawn.
//!
//! Read by the rooms of generating endpoints.

use kernels::Sampling;

use super::numbers::saturated;
use crate::api::http::ApiError;
use crate::api::json::Fields;
use crate::request::sampling_temperature;

/// OpenAI stops at 2, vLLM nowhere. At 100 every distribution is flat, so larger ones are mistakes.
const TEMPERATURE_MAX: f64 = 100.0;

/// Reads the fields; the seed is not one of them.
///
/// # Errors
/// When one has a value of another type or out of its range.
pub fn read_sampling(fields: &Fields) -> Result<Sampling, ApiError> {
    let temperature =
        fields.number("temperature", 1.0, "between 0 and 100", |number| (0.0..=TEMPERATURE_MAX).contains(&number))?;
    let top_p = fields.number("top_p", 1.0, "between 0 and 1", |number| (0.0..=1.0).contains(&number))?;
    let min_p = fields.number("min_p", 0.0, "between 0 and 1", |number| (0.0..=1.0).contains(&number))?;
    let top_k = fields.integer("top_k", -1, u64::MAX)?.map_or(0, saturated);
    Ok(Sampling {
        // Of no probability mass at all the most probable token is left, as at OpenAI.
        temperature: if top_p == 0.0 { 0.0 } else { sampling_temperature(temperature) },
        top_k,
        // A double that rounds to zero in float32 would be out of range again.
        top_p: (top_p as f32).max(f32::MIN_POSITIVE),
        min_p: min_p as f32,
        seed: 0,
    })
}
