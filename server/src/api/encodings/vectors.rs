//! Vectors of an answer: normalised, and written as JSON numbers or in base64.

use serde::Serialize;
use utoipa::ToSchema;

use super::base64_numbers::Base64Numbers;

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
            Self::Base64 => Vector::Base64(Base64Numbers::f32(numbers)),
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
    #[schema(value_type = String)]
    Base64(Base64Numbers<'a>),
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
