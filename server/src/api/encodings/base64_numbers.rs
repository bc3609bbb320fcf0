//! Numbers in base64, encoded block by block while an answer is written: they exist as numbers and in the answer, and
//! nowhere else.

use std::fmt::{self, Display, Formatter};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kernels::math::round_bf16;
use serde::{Serialize, Serializer};

/// Numbers that are encoded at once: their bytes are a multiple of three, so blocks need no padding between them.
const BLOCK: usize = 192;
/// Bytes of a block in base64.
const BLOCK_TEXT: usize = BLOCK * size_of::<f32>() / 3 * 4;

/// The type of the numbers in an answer; both are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberType {
    /// The numbers themselves.
    F32,
    /// Numbers rounded to bfloat16, ties to even.
    Bf16,
}

/// Numbers that are written in base64, as one string.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Base64Numbers<'a> {
    /// The numbers.
    pub numbers: &'a [f32],
    /// Zeros that follow them.
    pub zeros: usize,
    /// Their type.
    pub number: NumberType,
}

impl NumberType {
    /// Appends the bytes of a number.
    fn push(self, number: f32, bytes: &mut Vec<u8>) {
        match self {
            Self::F32 => bytes.extend(number.to_le_bytes()),
            Self::Bf16 => bytes.extend(((round_bf16(number).to_bits() >> 16) as u16).to_le_bytes()),
        }
    }
}

impl<'a> Base64Numbers<'a> {
    /// These numbers as float32.
    pub const fn f32(numbers: &'a [f32]) -> Self {
        Self { numbers, zeros: 0, number: NumberType::F32 }
    }
}

impl Display for Base64Numbers<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(BLOCK * size_of::<f32>());
        let mut text = [0; BLOCK_TEXT];
        let mut left = self.numbers.iter().copied().chain(std::iter::repeat_n(0.0, self.zeros));
        loop {
            bytes.clear();
            left.by_ref().take(BLOCK).for_each(|number| self.number.push(number, &mut bytes));
            if bytes.is_empty() {
                return Ok(());
            }
            let written = STANDARD.encode_slice(&bytes, &mut text).expect("a block fits its text");
            formatter.write_str(std::str::from_utf8(&text[..written]).expect("base64 is ASCII"))?;
        }
    }
}

impl Serialize for Base64Numbers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_holds_little_endian_numbers() {
        let bf16 = |numbers| Base64Numbers { numbers, zeros: 0, number: NumberType::Bf16 }.to_string();
        assert_eq!(Base64Numbers::f32(&[1.0, -2.5]).to_string(), "AACAPwAAIMA=");
        assert_eq!(bf16(&[1.0, -2.5]), "gD8gwA==");
        assert_eq!(bf16(&[1.003_906_3]), "gD8=", "a tie goes to the even neighbour");
    }

    /// The most bytes that were written at once.
    #[derive(Default)]
    struct LargestWrite(usize);

    impl std::io::Write for LargestWrite {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.max(bytes.len());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_more_than_a_block_exists_as_text_beside_the_answer() {
        let mut writer = LargestWrite::default();
        serde_json::to_writer(&mut writer, &Base64Numbers::f32(&[0.5; 100 * BLOCK])).unwrap();
        assert_eq!(writer.0, BLOCK_TEXT);
    }

    #[test]
    fn blocks_make_one_text_and_zeros_follow_the_numbers() {
        for count in [0, 1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7] {
            let numbers: Vec<f32> = (0..count).map(|index| index as f32 * 0.37 - 5.0).collect();
            for zeros in [0, 1, BLOCK] {
                let padded = numbers.iter().copied().chain(std::iter::repeat_n(0.0, zeros));
                let bytes: Vec<u8> = padded.flat_map(f32::to_le_bytes).collect();
                let written = Base64Numbers { numbers: &numbers, zeros, number: NumberType::F32 };
                assert_eq!(serde_json::to_value(written).unwrap(), STANDARD.encode(bytes), "{count} and {zeros}");
            }
        }
    }
}
