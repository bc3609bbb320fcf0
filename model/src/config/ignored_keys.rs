//! Keys of `generation_config.json` that ask for something this program does not do.
//!
//! Asked when a model is loaded to write texts; the server names the keys in its log.

use serde_json::{Value, json};

use super::document::ConfigDocument;
use super::wishes::WISHES;

/// Keys that are read here, and keys that have no effect on a text.
const HONOURED: [&str; 12] = [
    "_from_model_config",
    "bos_token_id",
    "cache_implementation",
    "decoder_start_token_id",
    "eos_token_id",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "pad_token_id",
    "return_dict_in_generate",
    "transformers_version",
    "use_cache",
];

/// Whether a key's value asks for nothing, as null does.
fn asks_for_nothing(key: &str, value: &Value) -> bool {
    let neutral = match key {
        "remove_invalid_values" | "renormalize_logits" => json!(false),
        "diversity_penalty" | "encoder_no_repeat_ngram_size" => json!(0),
        "encoder_repetition_penalty" | "num_beam_groups" | "num_return_sequences" => json!(1),
        _ => return false,
    };
    match (value.as_f64(), neutral.as_f64()) {
        (Some(value), Some(neutral)) => value == neutral,
        _ => *value == neutral,
    }
}

impl ConfigDocument {
    /// The keys of `generation_config.json` that have no effect here, in the order of the file.
    pub fn ignored_generation_keys(&self) -> Vec<String> {
        let fields = self.fields().generation;
        let asked = fields.entries().filter(|(key, value)| !value.is_null() && !asks_for_nothing(key, value));
        let is_honoured = |key: &str| HONOURED.contains(&key) || WISHES.contains(&key);
        asked.map(|(key, _)| key.clone()).filter(|key| !is_honoured(key)).collect()
    }
}
