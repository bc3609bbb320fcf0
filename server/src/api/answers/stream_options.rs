//! Options of a stream of chunks: its contents beside the text.
//!
//! Read by `fields`, followed by the forms.

use super::usage::{Usage, UsageMessage};

/// `stream_options`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamOptions {
    /// Send the usage at the end of the stream.
    pub include_usage: bool,
    /// Send the usage so far with every chunk.
    pub continuous_usage_stats: bool,
    /// Send no chunk for a token that adds nothing to the text yet.
    pub coalesce: bool,
}

impl StreamOptions {
    /// The `usage` field of a chunk with a piece: absent, `null` where the numbers come at the end, or the numbers.
    pub fn usage_of_piece(self, usage: &Usage) -> Option<Option<UsageMessage>> {
        if self.continuous_usage_stats {
            return Some(Some(usage.message()));
        }
        self.include_usage.then_some(None)
    }
}
