//! The token ids that a model gives a meaning.
//!
//! Made from the configurations of each architecture; read by training and evaluation.

/// Token ids with a meaning of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialTokens {
    /// First token that a decoder reads.
    pub start: u32,
    /// Token that opens a text.
    pub bos: u32,
    /// Token that fills padded batches in other programs; never produced here.
    pub pad: u32,
    /// Tokens that end a text; never empty.
    pub end: Vec<u32>,
}
