//! Size of the page pool, and the pages that sources and targets take.

use kernels::PAGE_TOKENS;
use model::PagePieces;

use crate::request::RequestLengths;

/// Pages that `positions` positions of a target take. [`PoolSize::source_pages`] counts those of a source.
pub const fn target_pages(positions: usize) -> usize {
    positions.div_ceil(PAGE_TOKENS)
}

/// Size of the page pool. [`kernels::PAGE_TOKENS`] positions of a target fill a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSize {
    /// Number of pages.
    pub pages: usize,
    /// Number of source positions that fill a page.
    pub source_page_tokens: usize,
    /// The pieces of each page.
    pub pieces: PagePieces,
}

impl PoolSize {
    /// Pages that a source of `tokens` tokens takes. An empty one takes a page too, by which its holders are counted.
    pub const fn source_pages(&self, tokens: usize) -> usize {
        if tokens == 0 { 1 } else { tokens.div_ceil(self.source_page_tokens) }
    }

    /// Tokens of the longest source that leaves a page for its target.
    pub const fn longest_source(&self) -> usize {
        self.pages.saturating_sub(1).saturating_mul(self.source_page_tokens)
    }

    /// Most pages that a request's source and one of its sequences take, if its branches share none.
    pub fn request_pages(&self, lengths: RequestLengths) -> usize {
        // The start token is read even if nothing is generated.
        self.source_pages(lengths.source) + lengths.branches * target_pages(lengths.target_positions().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_takes_pages_for_its_source_and_for_what_its_longest_choice_reads() {
        let pool = PoolSize { pages: 9, source_page_tokens: 32, pieces: PagePieces::ONE };
        let pages = |source, decoder_prompt, max_tokens| {
            pool.request_pages(RequestLengths { branches: 1, source, decoder_prompt, max_tokens })
        };
        assert_eq!([pages(32, 0, 0), pages(33, 0, 16), pages(1, 1, 16)], [2, 3, 3]);
        assert_eq!(pages(0, 0, 0), pages(1, 0, 0));
        assert_eq!([pages(pool.longest_source(), 0, 16), pages(pool.longest_source() + 1, 0, 16)], [9, 10]);
        let beams = RequestLengths { branches: 3, source: 33, decoder_prompt: 1, max_tokens: 16 };
        assert_eq!(pool.request_pages(beams), 2 + 3 * 2);
    }
}
