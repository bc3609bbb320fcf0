//! Fields of completions that OpenAI or vLLM know and this server does not support, with the values that change
//! nothing.
//!
//! Used by `parse` and `fields`. A field that gets supported leaves its table.

use crate::api::fields::{GENERATION_NEUTRAL, NeutralFields};
use crate::api::json::Neutral;

/// Fields of the request itself: those of every generating endpoint, and its own.
pub const REQUEST: [NeutralFields; 2] = [GENERATION_NEUTRAL, OWN];

const OWN: NeutralFields = NeutralFields {
    prefix: "",
    table: &[
        // OpenAI.
        ("user", Neutral::Anything),
        // vLLM.
        ("prompt_embeds", Neutral::Null),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_tables_is_documented() {
        let page = include_str!("../../../../docs/api.md");
        let (_, section) = page.split_once("\n## Where it differs from OpenAI and vLLM\n").unwrap();
        for (name, _) in REQUEST.iter().flat_map(|fields| fields.table) {
            assert!(section.contains(&format!("`{name}`")), "{name}");
        }
    }
}
