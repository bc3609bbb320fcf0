//! Working memory of words that begins with a line of the cache.
//!
//! Used for operands of products and for packed keys and values. Loads of 64 bytes that lie in two lines take twice as
//! long, and those of AMX's tiles four times.

use bytemuck::{Pod, Zeroable};

/// Words of a line.
const LINE_WORDS: usize = 16;

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u32; LINE_WORDS]);

/// Words that are kept between calls. They hold anything.
#[derive(Debug, Default)]
pub(super) struct Words(Vec<Line>);

impl Words {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The first words, of which there are at least `count` now.
    pub fn at_least(&mut self, count: usize) -> &mut [u32] {
        let lines = count.div_ceil(LINE_WORDS);
        if self.0.len() < lines {
            self.0.resize(lines, Line::zeroed());
        }
        bytemuck::cast_slice_mut(&mut self.0)
    }

    /// All words there are.
    pub fn all(&self) -> &[u32] {
        bytemuck::cast_slice(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_begin_with_a_line_and_keep_what_they_hold() {
        let mut words = Words::new();
        words.at_least(3)[2] = 7;
        let more = words.at_least(1000);
        assert!(more.len() >= 1000 && more.as_ptr().addr().is_multiple_of(64));
        assert_eq!(words.all()[2], 7);
        assert!(words.at_least(5).len() >= 1000, "it never shrinks");
    }
}
