//! Fields of chat that OpenAI or vLLM know and this server does not support, with the values that change nothing.
//!
//! Used by `parse` and `draft`. A field that gets supported leaves its table.

use crate::api::fields::NeutralFields;
use crate::api::json::Neutral;

const NO_TOOLS: &str = "is not supported: this server's models call no tools. Describe the form of the answer that you \
                        want in a message, and leave it out";
const NO_TEMPLATES: &str = "is not taken from requests, because templates are programs: the server's operator sets one \
                            with --chat-template FILE";

/// Fields of the request itself.
pub const REQUEST: NeutralFields = NeutralFields {
    prefix: "",
    table: &[
        // OpenAI.
        ("audio", Neutral::Null),
        ("frequency_penalty", Neutral::Number(0.0)),
        ("function_call", Neutral::Text("none")),
        ("functions", Neutral::EmptyBecause(NO_TOOLS)),
        ("logit_bias", Neutral::EmptyObject),
        ("metadata", Neutral::Anything),
        ("modalities", Neutral::ListOf("text")),
        ("parallel_tool_calls", Neutral::Anything),
        ("prediction", Neutral::Null),
        ("presence_penalty", Neutral::Number(0.0)),
        ("prompt_cache_key", Neutral::Anything),
        ("prompt_cache_retention", Neutral::Anything),
        ("reasoning_effort", Neutral::Text("none")),
        ("response_format", Neutral::PlainText),
        ("safety_identifier", Neutral::Anything),
        ("service_tier", Neutral::Text("auto")),
        ("store", Neutral::Boolean(false)),
        ("tool_choice", Neutral::Text("none")),
        ("tools", Neutral::EmptyBecause(NO_TOOLS)),
        ("user", Neutral::Anything),
        ("verbosity", Neutral::Text("medium")),
        ("web_search_options", Neutral::Null),
        // vLLM: choosing tokens.
        ("allowed_token_ids", Neutral::Null),
        ("bad_words", Neutral::EmptyList),
        ("best_of", Neutral::Choices),
        ("early_stopping", Neutral::Boolean(false)),
        ("length_penalty", Neutral::Number(1.0)),
        ("logits_processors", Neutral::EmptyList),
        ("repetition_penalty", Neutral::Number(1.0)),
        ("stop_token_ids", Neutral::EmptyList),
        ("use_beam_search", Neutral::Boolean(false)),
        // vLLM: constrained output.
        ("guided_choice", Neutral::Null),
        ("guided_decoding_backend", Neutral::Null),
        ("guided_grammar", Neutral::Null),
        ("guided_json", Neutral::Null),
        ("guided_regex", Neutral::Null),
        ("guided_whitespace_pattern", Neutral::Null),
        ("structured_outputs", Neutral::Null),
        // vLLM: how messages are read and text is written.
        ("chat_template", Neutral::Never(NO_TEMPLATES)),
        ("detokenize", Neutral::Boolean(true)),
        ("documents", Neutral::EmptyList),
        ("include_reasoning", Neutral::Anything),
        ("include_stop_str_in_output", Neutral::Boolean(false)),
        ("media_io_kwargs", Neutral::Null),
        ("mm_processor_kwargs", Neutral::Null),
        ("prompt_logprobs", Neutral::Null),
        ("return_tokens_as_token_ids", Neutral::Boolean(false)),
        ("skip_special_tokens", Neutral::Boolean(true)),
        ("spaces_between_special_tokens", Neutral::Boolean(true)),
        ("truncate_prompt_tokens", Neutral::Null),
        // vLLM: how the request is run.
        ("data_parallel_rank", Neutral::Null),
        ("kv_transfer_params", Neutral::Null),
        ("priority", Neutral::Number(0.0)),
        ("request_id", Neutral::Null),
        ("vllm_xargs", Neutral::Null),
    ],
};

/// Fields of a message. Those of an answer may come back as they were sent.
pub const MESSAGE: NeutralFields = NeutralFields {
    prefix: "messages[].",
    table: &[
        ("messages[].annotations", Neutral::EmptyList),
        ("messages[].audio", Neutral::Null),
        ("messages[].function_call", Neutral::Null),
        ("messages[].reasoning", Neutral::Null),
        ("messages[].reasoning_content", Neutral::Null),
        ("messages[].refusal", Neutral::Null),
        ("messages[].tool_call_id", Neutral::Null),
        ("messages[].tool_calls", Neutral::EmptyBecause(NO_TOOLS)),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_tables_is_documented() {
        let page = include_str!("../../../../docs/api.md");
        for (name, _) in REQUEST.table.iter().chain(MESSAGE.table) {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
    }
}
