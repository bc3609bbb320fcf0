//! The text of `config.json` as it is saved beside changed weights.
//!
//! Called by the writers of quantised and of trained checkpoints. Keys that this program does not know are kept.

use kernels::{DType, Scheme};
use serde_json::{Value, json};

use super::document::ConfigDocument;
use super::edits::CROSS_ATTENTION_FIELD;
use super::encoder_decoder::ModelConfig;
use super::quantization;

/// Keys under which `config.json` gives the type of the weights: that of transformers 5, and the one before.
const TYPE_KEYS: [&str; 2] = ["dtype", "torch_dtype"];

impl ConfigDocument {
    /// The text for the weights of `model`, quantised to `scheme`.
    pub(crate) fn quantized_text(&self, scheme: Scheme, model: &ModelConfig) -> String {
        let mut config = self.config.clone();
        config[quantization::FIELD] = quantization::written(scheme);
        if !model.tie_word_embeddings {
            config["tie_word_embeddings"] = json!(false);
        }
        text(&config)
    }

    /// The text for trained weights that are stored as `dtype`; trained cross-attention is no longer marked as random.
    pub(crate) fn trained_text(&self, dtype: DType) -> String {
        let dtype = dtype_name(dtype);
        let mut config = self.config.clone();
        if let Some(fields) = config.as_object_mut() {
            fields.shift_remove(CROSS_ATTENTION_FIELD);
            if TYPE_KEYS.iter().all(|key| fields.get(*key).is_none_or(Value::is_null)) {
                fields.insert(TYPE_KEYS[0].to_owned(), dtype.into());
            }
        }
        rename_dtype(&mut config, dtype);
        text(&config)
    }
}

/// The name of a number type in `config.json`.
pub(super) const fn dtype_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float32",
        DType::Bf16 => "bfloat16",
        DType::F16 => "float16",
    }
}

/// Replaces the type of the weights wherever it is named. A part whose type is `null` has that of the whole; if it were
/// named, transformers could not open the weights in another type, because it changes the type of the outer parts only.
fn rename_dtype(config: &mut Value, dtype: &str) {
    let Some(fields) = config.as_object_mut() else { return };
    for (key, value) in fields {
        if TYPE_KEYS.contains(&key.as_str()) {
            if !value.is_null() {
                *value = dtype.into();
            }
        } else {
            rename_dtype(value, dtype);
        }
    }
}

fn text(config: &Value) -> String {
    serde_json::to_string_pretty(config).expect("a JSON value is JSON")
}
