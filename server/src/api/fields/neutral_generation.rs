//! Fields of every generating endpoint that OpenAI or vLLM know and this server does not support.
//!
//! Part of the tables of single endpoints. A field that gets supported leaves this table.

use super::neutral::NeutralFields;
use crate::api::json::Neutral;

/// Fields of the request itself.
pub const GENERATION_NEUTRAL: NeutralFields = NeutralFields {
    prefix: "",
    table: &[
        // vLLM: choosing tokens.
        ("logits_processors", Neutral::EmptyList),
        // vLLM: constrained output.
        ("guided_decoding_backend", Neutral::Null),
        // vLLM: how text is read and written.
        ("detokenize", Neutral::Boolean(true)),
        ("mm_processor_kwargs", Neutral::Null),
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

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use serde_json::{Value, json};

    use super::*;
    use crate::api::http::ApiError;
    use crate::api::json::{Fields, Known};

    static KNOWN: LazyLock<Known> = LazyLock::new(|| GENERATION_NEUTRAL.names().collect());

    fn check(name: &'static str, value: Value) -> Result<(), ApiError> {
        let mut fields = Fields::new(&KNOWN, "");
        fields.set(name, serde_json::from_value(value).unwrap());
        GENERATION_NEUTRAL.check(&fields)
    }

    #[test]
    fn neutral_values_pass_and_others_are_refused_by_name() {
        for (name, neutral, other) in [
            ("guided_decoding_backend", Value::Null, json!("guidance")),
            ("priority", json!(0), json!(1)),
            ("detokenize", json!(true), json!("true")),
        ] {
            assert_eq!(check(name, neutral), Ok(()), "{name}");
            assert_eq!(check(name, Value::Null), Ok(()), "{name} null");
            match check(name, other) {
                Err(ApiError::Unsupported { param, .. }) => assert_eq!(param, name),
                answer => panic!("{name}: {answer:?}"),
            }
        }
    }
}
