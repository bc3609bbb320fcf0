//! Reasons for which the engine takes no request.

use super::shed::Shed;

/// A refused request. Nothing was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It was shed; try again later.
    #[error(transparent)]
    Shed(#[from] Shed),
    /// The server is shutting down.
    #[error("the server is shutting down and takes no new requests")]
    Draining,
    /// The model has no decoder.
    #[error(
        "this model is an encoder without a decoder and cannot generate text; it answers /v1/embeddings, /v1/encode \
         and, with a classification head, /v1/classify"
    )]
    NoDecoder,
    /// The model has no classification head.
    #[error("this model has no classification head; it answers /v1/embeddings and /v1/encode")]
    NoClasses,
    /// The source has no tokens.
    #[error("the source has no tokens")]
    EmptySource,
    /// The source is longer than allowed.
    #[error("This model's maximum context length is {limit} tokens. However, the source has {tokens} tokens")]
    SourceTooLong {
        /// Source tokens.
        tokens: usize,
        /// Allowed.
        limit: usize,
    },
    /// Decoder prompt and `max_tokens` are longer than allowed.
    #[error(
        "This model's maximum context length is {limit} tokens. However, {} of target",
        target_length(*.prompt, *.max_tokens)
    )]
    TargetTooLong {
        /// Decoder prompt tokens.
        prompt: usize,
        /// Tokens asked for.
        max_tokens: usize,
        /// Allowed.
        limit: usize,
    },
    /// A beam search has more branches than sequences run at once.
    #[error("a beam search of {width} beams is wider than the {limit} rows that run at once: ask for fewer beams")]
    TooWide {
        /// Branches asked for.
        width: usize,
        /// Allowed.
        limit: usize,
    },
    /// The page pool is too small for source and target together.
    #[error(
        "the request needs {needed} pages; the whole page pool has {pages}: shorten it or raise limits.page_pool_bytes"
    )]
    NeverFits {
        /// Pages of the source and one full-length choice, or of a whole beam search.
        needed: usize,
        /// Pages there are.
        pages: usize,
    },
}

fn target_length(prompt: usize, max_tokens: usize) -> String {
    if prompt == 0 {
        return format!("max_tokens asks for {max_tokens} tokens");
    }
    let sum = prompt.saturating_add(max_tokens);
    format!("decoder_prompt ({prompt} tokens) and max_tokens ({max_tokens}) make {sum} tokens")
}
