//! The fields of a body that say how tokens are drawn.
//!
//! Read by the rooms of generating endpoints.

use kernels::Sampling;

use super::numbers::{saturated, seed_bits};
use crate::api::http::ApiError;
use crate::api::json::{Field, Fields, Most};
use crate::request::sampling_temperature;

/// Sharpness of the distribution that tokens are drawn from.
pub const TEMPERATURE: Field = Field::number("temperature", 0.0, 100.0).or("1").about(
    "0 to 100. 0 always takes the most probable token; so does anything below 0.00001. OpenAI stops at 2; beyond 100 \
     any distribution is flat, so a larger value can only be a mistake.",
);
const TOP_K: Field = Field::integer("top_k", -1, Most::Number(u64::MAX))
    .or("0")
    .about("Keep the `top_k` most probable tokens; 0 or -1 keeps all.");
/// Share of the probability that tokens are drawn from.
pub const TOP_P: Field = Field::number("top_p", 0.0, 1.0).or("1").about(
    "Keep the smallest set of tokens whose probabilities reach `top_p`, 0 to 1. 0 always takes the most probable \
     token.",
);
const MIN_P: Field = Field::number("min_p", 0.0, 1.0)
    .or("0")
    .about("Keep tokens at least `min_p` times as probable as the most probable one; 0 to 1.");
const SEED: Field = Field::integer("seed", i64::MIN, Most::Number(u64::MAX)).absent("random").about(
    "Any 64-bit integer. The same seed with the same request gives the same text, whatever else the server is doing.",
);

/// The fields.
pub const SAMPLING: [Field; 5] = [TEMPERATURE, TOP_K, TOP_P, MIN_P, SEED];

/// Reads the fields but the seed, over those of a request that says nothing.
///
/// # Errors
/// When one has a value of another type or out of its range.
pub fn read_sampling(fields: &Fields, defaults: Sampling) -> Result<Sampling, ApiError> {
    let given = |field: &Field| fields.get(field.name).is_some();
    let real = |field: &Field, default: f32| if given(field) { fields.real(field) } else { Ok(default.into()) };
    let temperature = real(&TEMPERATURE, defaults.temperature)?;
    let (top_p, min_p) = (real(&TOP_P, defaults.top_p)?, real(&MIN_P, defaults.min_p)?);
    let top_k = if given(&TOP_K) { fields.whole(&TOP_K)?.map_or(0, saturated) } else { defaults.top_k };
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

/// Reads the seed, if there is one.
///
/// # Errors
/// When it is no integer of 64 bits.
pub fn read_seed(fields: &Fields) -> Result<Option<u64>, ApiError> {
    Ok(fields.whole(&SEED)?.map(seed_bits))
}
