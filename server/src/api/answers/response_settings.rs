//! Settings of a request that its response repeats.
//!
//! Read by `responses`, written by `response_form`.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::json::json_bytes;
use crate::api::structure::TextFormat;

/// Settings of a response. Those that no request can change have one value.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ResponseSettings {
    /// The first message of the conversation, if it was given apart.
    pub instructions: Option<String>,
    /// Most tokens to generate; as many as fit when absent.
    pub max_output_tokens: Option<u64>,
    /// Sharpness of the distribution that tokens are drawn from.
    pub temperature: f64,
    /// Share of the probability that tokens are drawn from.
    pub top_p: f64,
    /// Alternatives of each token.
    pub top_logprobs: u32,
    /// `auto` or `none`; no tool is called with either.
    #[schema(value_type = String)]
    pub tool_choice: &'static str,
    /// Without meaning where no tool is called.
    pub parallel_tool_calls: bool,
    /// Without meaning where no tool is called.
    pub max_tool_calls: Option<u64>,
    /// How the model reasons, which it does not.
    pub reasoning: ReasoningSettings,
    /// Names of the client's own for its user and its requests.
    #[serde(flatten)]
    pub labels: ResponseLabels,
    /// Names and values of the client's own.
    pub metadata: BTreeMap<String, String>,
    /// The form of the text.
    pub text: TextSettings,
    /// Settings that all responses have.
    #[serde(flatten)]
    pub fixed: FixedSettings,
}

/// How a model reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReasoningSettings {
    /// `none`, if it was given.
    pub effort: Option<String>,
    /// Always null.
    #[schema(value_type = Option<String>)]
    pub summary: Option<()>,
}

/// Texts of a request that change nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ResponseLabels {
    /// The client's name of its user.
    pub user: Option<String>,
    /// The client's newer name of its user.
    pub safety_identifier: Option<String>,
    /// The client's name of requests that share a beginning.
    pub prompt_cache_key: Option<String>,
    /// How long encoded sources are wanted to be kept.
    pub prompt_cache_retention: Option<String>,
}

/// Settings that all responses have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FixedSettings {
    background: bool,
    #[schema(value_type = Option<String>)]
    previous_response_id: Option<()>,
    #[schema(value_type = String)]
    service_tier: &'static str,
    store: bool,
    #[schema(value_type = Vec<Object>)]
    tools: [(); 0],
    #[schema(value_type = String)]
    truncation: &'static str,
}

/// The form of a text.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TextSettings {
    format: TextFormat,
    #[schema(value_type = String)]
    verbosity: &'static str,
}

impl Default for FixedSettings {
    fn default() -> Self {
        Self {
            background: false,
            previous_response_id: None,
            service_tier: "default",
            store: false,
            tools: [],
            truncation: "disabled",
        }
    }
}

impl TextSettings {
    /// Text of this format.
    pub const fn new(format: TextFormat) -> Self {
        Self { format, verbosity: "medium" }
    }
}

impl ResponseSettings {
    /// Bytes of the settings as JSON, as far as a request decides them.
    pub fn json_bytes(&self) -> usize {
        let metadata = self.metadata.iter().flat_map(|(name, value)| [name, value]);
        let ResponseLabels { user, safety_identifier, prompt_cache_key, prompt_cache_retention } = &self.labels;
        let labels = [user, safety_identifier, prompt_cache_key, prompt_cache_retention].into_iter().flatten();
        self.instructions.iter().chain(metadata).chain(labels).map(|text| json_bytes(text)).sum::<usize>()
            + self.text.format.json_bytes()
    }
}
