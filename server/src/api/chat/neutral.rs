//! Fields of chat that OpenAI or vLLM know and this server does not support, with the values that change nothing.
//!
//! Used by `parse` and `draft`. A field that gets supported leaves its table.

use crate::api::fields::{GENERATION_NEUTRAL, NO_TEMPLATES, NO_TOOLS, NeutralFields};
use crate::api::json::Neutral;

/// Fields of the request itself: those of every generating endpoint, and its own.
pub const REQUEST: [NeutralFields; 2] = [GENERATION_NEUTRAL, OWN];

const OWN: NeutralFields = NeutralFields {
    prefix: "",
    table: &[
        // OpenAI.
        ("audio", Neutral::Null),
        ("function_call", Neutral::Text("none")),
        ("functions", Neutral::EmptyBecause(NO_TOOLS)),
        ("metadata", Neutral::Anything),
        ("modalities", Neutral::ListOf("text")),
        ("parallel_tool_calls", Neutral::Anything),
        ("prediction", Neutral::Null),
        ("prompt_cache_key", Neutral::Anything),
        ("prompt_cache_retention", Neutral::Anything),
        ("reasoning_effort", Neutral::Text("none")),
        ("safety_identifier", Neutral::Anything),
        ("service_tier", Neutral::Text("auto")),
        ("store", Neutral::Boolean(false)),
        ("tool_choice", Neutral::Text("none")),
        ("tools", Neutral::EmptyBecause(NO_TOOLS)),
        ("user", Neutral::Anything),
        ("verbosity", Neutral::Text("medium")),
        ("web_search_options", Neutral::Null),
        // vLLM.
        ("chat_template", Neutral::Never(NO_TEMPLATES)),
        ("documents", Neutral::EmptyList),
        ("include_reasoning", Neutral::Anything),
        ("media_io_kwargs", Neutral::Null),
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
        let (_, section) = page.split_once("\n## Fields that chat does not support\n").unwrap();
        let section = section.split("\n## ").next().unwrap();
        for (name, _) in REQUEST.iter().chain([&MESSAGE]).flat_map(|fields| fields.table) {
            assert!(section.contains(&format!("`{name}`")), "{name}");
        }
    }
}
