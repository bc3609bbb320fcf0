//! How much memory a server takes under load, and what can be done when that is too much.

use std::fmt;

/// Memory that a server takes at most, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryNeed {
    /// The process with its weights.
    pub weights: u64,
    /// Working memory of steps.
    pub workspace: u64,
    /// Bodies that are not parsed and answers that are not taken yet.
    pub requests: u64,
    /// The page pool.
    pub pool: u64,
}

impl MemoryNeed {
    /// All together.
    pub const fn total(&self) -> u64 {
        self.weights.saturating_add(self.workspace).saturating_add(self.requests).saturating_add(self.pool)
    }
}

impl fmt::Display for MemoryNeed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [total, weights, workspace, requests, pool] =
            [self.total(), self.weights, self.workspace, self.requests, self.pool].map(|bytes| bytes.div_ceil(1 << 20));
        write!(
            formatter,
            "{total} MiB (weights {weights}, page pool {pool}, working memory {workspace}, \
             bodies and answers {requests})"
        )
    }
}

/// Remedy for a need above the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remedy {
    /// Bytes that the page pools of all models may have; 0 if the smallest ones are too large.
    pub pool: u64,
    /// Models that have a page pool.
    pub models: usize,
}

impl fmt::Display for Remedy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, models } = self;
        match (pool, models) {
            (0, 0 | 1) => write!(formatter, "allow more, serve a smaller model, or quantise it"),
            (0, _) => write!(formatter, "allow more, serve fewer or smaller models, or quantise them"),
            (_, 0 | 1) => write!(
                formatter,
                "allow more, set limits.page_pool_bytes to {pool} or less, or limits.page_pool_fit to \"shrink\""
            ),
            _ => write!(
                formatter,
                "allow more, set limits.page_pool_bytes of the {models} models to {pool} or less in all, or \
                 limits.page_pool_fit to \"shrink\""
            ),
        }
    }
}
