//! The reasons for which a `tokenizer.json` cannot be used.
//!
//! Found by `tokenizer`.

/// A problem of a `tokenizer.json`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerProblem {
    /// Not JSON, or not in the expected form.
    #[error("it is not a tokenizer.json ({source})")]
    Json {
        /// Where and why.
        source: serde_json::Error,
    },
    /// The decoder is not Gemma's, so streamed text would differ from the whole.
    #[error(
        "its decoder is not Gemma's (Replace U+2581 by a space, ByteFallback, Fuse), the only one that can be streamed"
    )]
    Decoder,
    /// It is not Gemma's, or the tokenizers library refused it.
    #[error("{reason}")]
    Refused {
        /// The reason, or the message of the library.
        reason: String,
    },
}

impl TokenizerProblem {
    /// A refusal with its reason.
    pub(crate) fn refused(reason: impl ToString) -> Self {
        Self::Refused { reason: reason.to_string() }
    }
}
