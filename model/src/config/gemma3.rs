//! From the configuration of a Gemma 3 with images to that of its text model.
//!
//! Called when `config.json` is parsed. A published file nests the fields of the text model and leaves out those that
//! have the value of transformers' class.

use serde_json::{Map, Value, json};

use super::document::GEMMA3_TEXT;

/// `model_type` of a Gemma 3 with images.
const GEMMA3: &str = "gemma3";
/// Fields of the text model.
const TEXT: &str = "text_config";
/// Fields of the whole model that its text model keeps.
const KEPT: [&str; 9] = [
    "bos_token_id",
    "dtype",
    "eoi_token_index",
    "eos_token_id",
    "pad_token_id",
    "quantization_config",
    "tie_word_embeddings",
    "torch_dtype",
    "transformers_version",
];

/// The configuration of the text model of a Gemma 3 with images; any other configuration as it is.
pub(super) fn text_model(config: Value) -> Value {
    if config["model_type"] != GEMMA3 {
        return config;
    }
    let Some(text) = config[TEXT].as_object() else { return config };
    let mut flat = defaults(text);
    let written = |(name, value): (&String, &Value)| (!value.is_null()).then(|| (name.clone(), value.clone()));
    flat.extend(text.iter().filter_map(written));
    flat.extend(KEPT.into_iter().filter_map(|name| written((&name.to_owned(), config.get(name)?))));
    flat.insert("architectures".to_owned(), json!(["Gemma3ForCausalLM"]));
    flat.insert("model_type".to_owned(), json!(GEMMA3_TEXT));
    Value::Object(flat)
}

/// The values of transformers' class that a file may leave out.
fn defaults(text: &Map<String, Value>) -> Map<String, Value> {
    let mut fields = json!({
        "bos_token_id": 2,
        "eos_token_id": 1,
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "max_position_embeddings": 131_072,
        "num_attention_heads": 8,
        "num_hidden_layers": 26,
        "num_key_value_heads": 4,
        "pad_token_id": 0,
        "query_pre_attn_scalar": 256,
        "rms_norm_eps": 1e-6,
        "sliding_window": 4096,
        "vocab_size": 262_208,
    });
    if text.get("rope_parameters").is_none_or(Value::is_null) {
        fields["rope_theta"] = json!(1_000_000.0);
        fields["rope_local_base_freq"] = json!(10_000.0);
    }
    match fields {
        Value::Object(fields) => fields,
        _ => unreachable!("the defaults are an object"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_a_published_file_leaves_out_are_those_of_the_class() {
        let published = json!({
            "architectures": ["Gemma3ForConditionalGeneration"],
            "boi_token_index": 255_999,
            "eos_token_id": [1, 106],
            "model_type": "gemma3",
            "text_config": {
                "hidden_size": 2560,
                "intermediate_size": 10_240,
                "model_type": "gemma3_text",
                "num_hidden_layers": 34,
                "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
                "sliding_window": 1024,
            },
            "torch_dtype": "bfloat16",
            "vision_config": {"hidden_size": 1152},
        });
        let text = text_model(published);
        assert_eq!((&text["hidden_size"], &text["num_hidden_layers"]), (&json!(2560), &json!(34)));
        assert_eq!((&text["num_attention_heads"], &text["head_dim"]), (&json!(8), &json!(256)));
        assert_eq!((&text["eos_token_id"], &text["bos_token_id"]), (&json!([1, 106]), &json!(2)));
        assert_eq!((&text["vocab_size"], &text["torch_dtype"]), (&json!(262_208), &json!("bfloat16")));
        assert_eq!((&text["rope_theta"], &text["rope_scaling"]["factor"]), (&json!(1_000_000.0), &json!(8.0)));
        assert_eq!((&text["model_type"], text.get("vision_config")), (&json!("gemma3_text"), None));
    }

    #[test]
    fn other_configurations_stay_as_they_are() {
        for config in [json!({"model_type": "gemma2"}), json!({"model_type": "gemma3"}), json!({"text_config": {}})] {
            assert_eq!(text_model(config.clone()), config);
        }
    }
}
