//! Numbers of an answer: normalised, and written as JSON numbers or as base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kernels::math::round_bf16;
use serde::Serialize;
use utoipa::ToSchema;

/// How a list of numbers is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorFormat {
    /// A JSON list.
    Float,
    /// The bytes of little-endian float32 in base64.
    Base64,
}

impl VectorFormat {
    /// Most bytes that a number takes in JSON.
    pub const fn json_bytes(self) -> usize {
        match self {
            // Such as `-1.1754944e-38,`.
            Self::Float => 16,
            // Four bytes in sixths of a byte more, and the padding.
            Self::Base64 => 6,
        }
    }

    /// The numbers as they are written.
    pub fn write(self, numbers: &[f32]) -> Vector<'_> {
        match self {
            Self::Float => Vector::Numbers(numbers),
            Self::Base64 => Vector::Base64(base64_f32(numbers)),
        }
    }
}

/// A list of numbers in an answer.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Vector<'a> {
    /// A JSON list of numbers.
    #[schema(value_type = Vec<f32>)]
    Numbers(&'a [f32]),
    /// A string in base64.
    Base64(String),
}

/// The numbers as little-endian float32 in base64.
pub fn base64_f32(numbers: &[f32]) -> String {
    STANDARD.encode(numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>())
}

/// The numbers, rounded to bfloat16, little-endian in base64.
pub fn base64_bf16(numbers: &[f32]) -> String {
    let half = |number: &f32| ((round_bf16(*number).to_bits() >> 16) as u16).to_le_bytes();
    STANDARD.encode(numbers.iter().flat_map(half).collect::<Vec<u8>>())
}

/// Scales a vector to length 1; one without length stays as it is.
pub fn normalise(numbers: &mut [f32]) {
    let length = numbers.iter().map(|&number| f64::from(number).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        numbers.iter_mut().for_each(|number| *number = (f64::from(*number) / length) as f32);
    }
}

/// Probabilities of scores.
pub fn softmax(scores: &mut [f32]) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = scores.iter().map(|&score| f64::from(score - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    scores.iter_mut().zip(powers).for_each(|(score, power)| *score = (power / sum) as f32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_holds_little_endian_numbers() {
        assert_eq!(base64_f32(&[1.0, -2.5]), "AACAPwAAIMA=");
        assert_eq!(base64_bf16(&[1.0, -2.5]), "gD8gwA==");
        assert_eq!(base64_bf16(&[1.003_906_3]), "gD8=", "a tie goes to the even neighbour");
    }

    #[test]
    fn a_vector_gets_length_one_and_none_stays_none() {
        let mut numbers = [3.0, -4.0];
        normalise(&mut numbers);
        assert_eq!(numbers, [0.6, -0.8]);
        let mut nothing = [0.0; 3];
        normalise(&mut nothing);
        assert_eq!(nothing, [0.0; 3]);
    }

    #[test]
    fn probabilities_follow_the_scores_however_large_they_are() {
        let mut scores = [1000.0, 1000.0 + 3.0_f32.ln()];
        softmax(&mut scores);
        assert!((scores[0] - 0.25).abs() < 1e-4 && (scores[1] - 0.75).abs() < 1e-4, "{scores:?}");
    }

    #[test]
    fn no_number_is_longer_in_json_than_is_reckoned() {
        for number in
            [f32::MIN_POSITIVE, -f32::MIN_POSITIVE, f32::MIN, f32::from_bits(1), -1.175_494_4e-38, 0.123_456_79]
        {
            let text = serde_json::to_string(&[number]).unwrap();
            assert!(text.len() - 1 <= VectorFormat::Float.json_bytes(), "{text}");
        }
    }
}
