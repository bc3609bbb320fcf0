//! The `config.json` of a network as JSON: what it says of the architecture, and what training changes in it.
//!
//! Called by `network` and `blueprint`. Keys that nobody here knows are kept as they are.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::Architecture;
use crate::checkpoint::TiedTables;
use crate::config::{CAUSAL_ENCODER, named_twice, quantization};
use crate::error::{ConfigProblem, Error, Result};

/// Deviation of the published models' first weights.
const INITIALIZER_RANGE: f64 = 0.02;

/// The document, which is an object.
pub fn parse(path: &Path, text: &[u8]) -> Result<Value> {
    let object: Map<String, Value> =
        serde_json::from_slice(text).map_err(|source| Error::Json { path: path.to_owned(), source })?;
    Ok(Value::Object(object))
}

/// By `model_type`, and by the class that wrote the checkpoint where it says so.
pub fn architecture(path: &Path, config: &Value) -> Result<Architecture> {
    let classes = config["architectures"].as_array().map_or(&[][..], Vec::as_slice);
    let classifies = classes.iter().filter_map(Value::as_str).any(|class| class.ends_with("ForSequenceClassification"));
    match config["model_type"].as_str().unwrap_or_default() {
        "t5gemma" if classifies => Ok(Architecture::EncoderClassifier),
        "t5gemma" => Ok(Architecture::EncoderDecoder),
        "gemma2" if classifies => Ok(Architecture::DecoderClassifier),
        "gemma2" => Ok(Architecture::DecoderOnly),
        found => {
            let (path, found) = (path.to_owned(), found.to_owned());
            Err(Error::ModelType { path, found, expected: "t5gemma or gemma2" })
        }
    }
}

/// The tables that are one by the configuration; `None` where it does not tie them, or there is no output table.
pub fn tied_tables(path: &Path, config: &Value) -> Result<Option<TiedTables>> {
    let tables = match architecture(path, config)? {
        Architecture::EncoderDecoder => TiedTables::ENCODER_DECODER,
        Architecture::DecoderOnly => TiedTables::DECODER_ONLY,
        Architecture::EncoderClassifier | Architecture::DecoderClassifier => return Ok(None),
    };
    Ok((config["tie_word_embeddings"] != json!(false)).then_some(tables))
}

/// Says that the output table is one of its own.
pub fn untie(config: &mut Value) {
    config["tie_word_embeddings"] = json!(false);
}

/// Deviation of random matrices.
pub fn initializer_range(config: &Value) -> f64 {
    let places = [config, &config["decoder"]];
    places.into_iter().find_map(|place| place["initializer_range"].as_f64()).unwrap_or(INITIALIZER_RANGE)
}

/// The classes' names in their order.
pub fn labels(config: &Value) -> Vec<String> {
    let names = config["id2label"].as_object();
    let name = |id: usize| names?.get(&id.to_string())?.as_str().map(str::to_owned);
    (0..).map_while(name).collect()
}

/// Turns the configuration into that of the classifier which keeps the encoder, or the only stack.
pub fn make_classifier(config: &mut Value, from: Architecture, labels: &[String]) {
    let class = match from {
        Architecture::EncoderDecoder | Architecture::EncoderClassifier => {
            config["is_encoder_decoder"] = json!(false);
            Architecture::EncoderClassifier
        }
        Architecture::DecoderOnly | Architecture::DecoderClassifier => Architecture::DecoderClassifier,
    };
    name_architecture(config, class);
    let by_id: Map<String, Value> =
        labels.iter().enumerate().map(|(id, label)| (id.to_string(), json!(label))).collect();
    let by_label: Map<String, Value> =
        labels.iter().enumerate().map(|(id, label)| (label.clone(), json!(id))).collect();
    config["id2label"] = Value::Object(by_id);
    config["label2id"] = Value::Object(by_label);
}

/// Writes the name of transformers' class.
pub fn name_architecture(config: &mut Value, architecture: Architecture) {
    let class = match architecture {
        Architecture::EncoderDecoder => "T5GemmaForConditionalGeneration",
        Architecture::DecoderOnly => "Gemma2ForCausalLM",
        Architecture::EncoderClassifier => "T5GemmaForSequenceClassification",
        Architecture::DecoderClassifier => "Gemma2ForSequenceClassification",
    };
    config["architectures"] = json!([class]);
}

/// Whether the encoder was trained with a causal mask.
pub fn is_encoder_causal(config: &Value) -> bool {
    config["encoder"][CAUSAL_ENCODER] == Value::Bool(true)
}

/// Marks an encoder that is trained with a causal mask, which no server computes.
pub fn mark_encoder_causal(config: &mut Value) {
    config["encoder"][CAUSAL_ENCODER] = json!(true);
}

/// Refuses what cannot be trained, though it can be read.
pub fn check_trainable(path: &Path, config: &Value, architecture: Architecture) -> Result<()> {
    let mut problems = Vec::new();
    let mut add = |field: &str, reason: &str| {
        problems.push(ConfigProblem { field: field.to_owned(), reason: reason.to_owned() });
    };
    if config.get(quantization::FIELD).is_some_and(|found| !found.is_null()) {
        add(quantization::FIELD, "is there: only a checkpoint that is not quantised can be trained");
    }
    let classifies = matches!(architecture, Architecture::EncoderClassifier | Architecture::DecoderClassifier);
    let labels = if classifies { labels(config) } else { Vec::new() };
    if classifies && labels.is_empty() {
        add("id2label", "has no name for class 0: a classifier names its classes");
    }
    if let Some(label) = named_twice(&labels) {
        add("id2label", &format!("names {label:?} twice"));
    }
    if architecture == Architecture::EncoderClassifier && config["is_encoder_decoder"] != json!(false) {
        add("is_encoder_decoder", "is not false: only a classifier without a decoder can be trained");
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Config { path: path.to_owned(), problems }) }
}

/// The configuration as the serving path's reader takes it: it refuses a causal encoder, one without a decoder and a
/// classifier, all of which can be trained.
pub fn as_served(config: &Value) -> Value {
    let mut served = config.clone();
    served["is_encoder_decoder"] = json!(true);
    if let Some(fields) = served.as_object_mut() {
        fields.shift_remove("architectures");
    }
    if let Some(encoder) = served.get_mut("encoder").and_then(Value::as_object_mut) {
        encoder.shift_remove(CAUSAL_ENCODER);
    }
    served
}
