//! The numbers of tokens of an answer.
//!
//! Counted by `answer`, written by the forms.

use serde::Serialize;
use utoipa::ToSchema;

/// Tokens of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Source tokens of all prompts.
    pub prompt_tokens: u64,
    /// Source tokens whose cross K/V was there already.
    pub cached_tokens: u64,
    /// Generated tokens of all choices, end tokens included.
    pub completion_tokens: u64,
    /// Tokens that were drafted.
    pub drafted_tokens: u64,
    /// Tokens that were drafted and right.
    pub accepted_tokens: u64,
}

impl Usage {
    /// The `usage` object of completions and chat completions.
    pub fn message(&self) -> UsageMessage {
        UsageMessage {
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            total_tokens: self.prompt_tokens + self.completion_tokens,
            prompt_tokens_details: PromptTokensDetails { cached_tokens: self.cached_tokens },
            completion_tokens_details: (self.drafted_tokens > 0).then(|| CompletionTokensDetails {
                accepted_prediction_tokens: self.accepted_tokens,
                rejected_prediction_tokens: self.drafted_tokens - self.accepted_tokens,
            }),
        }
    }

    /// The `usage` object of responses.
    pub const fn of_response(&self) -> ResponseUsage {
        let cache_write_tokens = self.prompt_tokens.saturating_sub(self.cached_tokens);
        ResponseUsage {
            input_tokens: self.prompt_tokens,
            input_tokens_details: InputTokensDetails { cached_tokens: self.cached_tokens, cache_write_tokens },
            output_tokens: self.completion_tokens,
            output_tokens_details: OutputTokensDetails { reasoning_tokens: 0 },
            total_tokens: self.prompt_tokens + self.completion_tokens,
        }
    }
}

/// The `usage` object.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Usage)]
pub struct UsageMessage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptTokensDetails,
    /// Absent where no tokens were drafted.
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<CompletionTokensDetails>,
}

/// Drafted tokens by what became of them.
#[derive(Debug, Serialize, ToSchema)]
struct CompletionTokensDetails {
    accepted_prediction_tokens: u64,
    /// They took time and are no part of the text.
    rejected_prediction_tokens: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct PromptTokensDetails {
    cached_tokens: u64,
}

/// The `usage` object of a response.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResponseUsage {
    input_tokens: u64,
    input_tokens_details: InputTokensDetails,
    output_tokens: u64,
    output_tokens_details: OutputTokensDetails,
    total_tokens: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct InputTokensDetails {
    cached_tokens: u64,
    /// Tokens that were encoded for this request; the result is kept for others.
    cache_write_tokens: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct OutputTokensDetails {
    /// Always 0.
    reasoning_tokens: u64,
}
