//! Mutations of inputs: bytes that change, and values that are replaced by ones that parsers get wrong.
//!
//! Used by the bounded run, which has no coverage to go by: so it knows JSON's numbers, strings and brackets, and what
//! a header's length field may say.

/// Replacements of a JSON value, or of any run of characters.
const VALUES: [&str; 32] = [
    "0",
    "-1",
    "1",
    "-0",
    "0.5",
    "1e999",
    "-1e999",
    "1e-999",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e19",
    "null",
    "true",
    "false",
    "{}",
    "[]",
    "[[]]",
    "[null]",
    "\"\"",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "\"\\ufeff\\u202e\"",
    "\"<eos>\"",
    "\"\u{2581}\"",
    "{\"\":\"\"}",
    "NaN",
    "[1,2,3]",
    "\"a\"",
];
/// Pieces that are inserted anywhere.
const PIECES: [&[u8]; 16] = [
    b"\0",
    b"\xff",
    b"\xc3",
    b"\xf0\x9f",
    b"\r\n",
    b"\r\n\r\n",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\xef\xbb\xbf",
    b" ",
];
/// Levels of brackets that are inserted at once.
const DEPTHS: [usize; 3] = [64, 130, 20_000];
/// Changes of one input at most.
const CHANGES: u64 = 4;

/// A source of mutated inputs; equal numbers give equal inputs.
#[derive(Debug, Clone)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// A mutator that begins with this number.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A mutation of one of `seeds`, of which there is at least one.
    pub fn mutate(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.next() % CHANGES {
            self.change(&mut input, seeds);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        match self.next() % 10 {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = self.next() as u8;
                }
            }
            1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << (self.next() % 8);
                }
            }
            2 => insert(input, at, PIECES[self.below(PIECES.len())]),
            3 => {
                let end = at + self.below(input.len() - at + 1);
                input.drain(at..end);
            }
            4 => {
                let end = (at + self.below(64)).min(input.len());
                let copy = input[at..end].to_vec();
                insert(input, at, &copy);
            }
            5 => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            6 => {
                let bracket = [b"[".as_slice(), b"{\"a\":"][self.below(2)];
                let depth = DEPTHS[self.below(DEPTHS.len())];
                insert(input, at, &bracket.repeat(depth));
            }
            // Most inputs are JSON, whose values are the interesting part.
            _ => self.replace_value(input, at),
        }
    }

    /// Replaces the number, word or string at or after `at`.
    fn replace_value(&mut self, input: &mut Vec<u8>, at: usize) {
        let Some(start) = (at..input.len()).find(|&at| is_value(input[at]) || input[at] == b'"') else { return };
        let rest = &input[start + 1..];
        let length = if input[start] == b'"' {
            rest.iter().position(|byte| *byte == b'"').map_or(rest.len(), |end| end + 1)
        } else {
            rest.iter().position(|byte| !is_value(*byte)).unwrap_or(rest.len())
        };
        let value = VALUES[self.below(VALUES.len())].bytes();
        input.splice(start..start + 1 + length, value);
    }

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014).
    const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    input.splice(at..at, piece.iter().copied());
}

const fn is_value(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}
