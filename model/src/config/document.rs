//! The JSON of a checkpoint: `config.json`, with `generation_config.json` beside it where there is one.
//!
//! Made by the checkpoint's folder; read by the configurations of each architecture. Every key is kept, known or not,
//! for saved copies.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::architecture::{Architecture, Generation, Head, Stacks};
use super::fields::{Fields, Problems};
use super::gemma3;
use crate::error::{Error, Result};

/// `model_type` of an encoder-decoder of Gemma 2, and of its encoder alone.
pub(super) const T5GEMMA: &str = "t5gemma";
/// `model_type` of one stack of a t5gemma by itself.
pub(super) const ENCODER_MODULE: &str = "t5_gemma_module";
/// `model_type` of an encoder-decoder of Gemma 3.
pub(super) const T5GEMMA2: &str = "t5gemma2";
/// `model_type` of the encoder of a t5gemma2 by itself, with an image tower or without.
pub(super) const ENCODERS2: [&str; 2] = ["t5gemma2_encoder", "t5gemma2_text"];
/// `model_type` of a decoder-only Gemma 2.
pub(super) const GEMMA2: &str = "gemma2";
/// `model_type` of a decoder-only Gemma 3 without images.
pub(super) const GEMMA3_TEXT: &str = "gemma3_text";
/// The encoder-decoders in words.
pub(super) const PAIRS: &str = "t5gemma or t5gemma2";
/// The decoder-only models in words.
pub(super) const DECODERS: &str = "gemma2 or gemma3";
/// Field of the encoder's configuration that marks one trained with a causal mask; no other program knows it.
pub(super) const CAUSAL_ENCODER: &str = "encdec_causal";
/// End of the class names of transformers' classifiers.
const CLASSIFIER_CLASS: &str = "ForSequenceClassification";

/// The two files as JSON objects.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigDocument {
    pub(super) path: PathBuf,
    pub(super) config: Value,
    pub(super) generation: Option<Value>,
}

/// The fields of both files; an absent file has none.
pub(super) struct DocumentFields<'a> {
    pub top: Fields<'a>,
    pub generation: Fields<'a>,
    /// Generation of Gemma whose layers the model has.
    pub layers: Generation,
}

impl ConfigDocument {
    /// Parses the text of `config.json`, whose name in errors is `path`, and of `generation_config.json`. Of a Gemma 3
    /// with images it is the configuration of the text model.
    ///
    /// # Errors
    /// When one of them is not a JSON object.
    pub fn parse(path: &Path, config: &[u8], generation: Option<&[u8]>) -> Result<Self> {
        let generation =
            generation.map(|text| parse(&path.with_file_name("generation_config.json"), text)).transpose()?;
        Ok(Self { path: path.to_owned(), config: gemma3::text_model(parse(path, config)?), generation })
    }

    /// The content of `config.json`.
    pub fn json(&self) -> &Value {
        &self.config
    }

    /// The architecture, by `model_type`, the class of transformers that wrote the file, and its marks. Everything else
    /// is checked when the configuration of that architecture is read.
    ///
    /// # Errors
    /// When `model_type` is missing or is none that can be used.
    pub fn architecture(&self) -> Result<Architecture> {
        let DocumentFields { top, .. } = self.fields();
        let mut problems = Problems::default();
        check_model_type(&top, &mut problems);
        problems.none_or_error(&self.path)?;
        let generation = self.generation();
        let head = if names_classifier(&top) { Head::Classes } else { Head::Vocabulary };
        match self.model_type() {
            Some(T5GEMMA | T5GEMMA2) => {
                let encoder = self.config.get("encoder");
                let causal_encoder =
                    encoder.and_then(|encoder| encoder.get(CAUSAL_ENCODER)) == Some(&Value::Bool(true));
                let (stacks, head) = match self.config.get("is_encoder_decoder") {
                    Some(Value::Bool(false)) if names_encoder_head(&top) => (Stacks::Encoder, Head::Classes),
                    Some(Value::Bool(false)) => (Stacks::Encoder, Head::States),
                    _ => (Stacks::EncoderDecoder, head),
                };
                Ok(Architecture { generation, stacks, head, causal_encoder })
            }
            Some(ENCODER_MODULE) => {
                let causal_encoder = self.config.get(CAUSAL_ENCODER) == Some(&Value::Bool(true));
                Ok(Architecture { generation, stacks: Stacks::Encoder, head: Head::States, causal_encoder })
            }
            Some(found) if ENCODERS2.contains(&found) => {
                Ok(Architecture { generation, stacks: Stacks::Encoder, head: Head::States, causal_encoder: false })
            }
            Some(GEMMA2 | GEMMA3_TEXT) => {
                Ok(Architecture { generation, stacks: Stacks::Decoder, head, causal_encoder: false })
            }
            found => Err(Error::ModelType {
                path: self.path.clone(),
                found: found.unwrap_or_default().to_owned(),
                expected: "t5gemma, t5gemma2, t5_gemma_module, gemma2 or gemma3",
            }),
        }
    }

    /// The architecture that is trained. A t5gemma is trained without its decoder only where `architectures` names a
    /// classifier; `is_encoder_decoder` alone does not make it one.
    ///
    /// # Errors
    /// As [`Self::architecture`].
    pub fn trained_architecture(&self) -> Result<Architecture> {
        let architecture = self.architecture()?;
        let is_module = self.is_encoder_module();
        if architecture.stacks == Stacks::Encoder && !is_module && !names_classifier(&self.fields().top) {
            return Ok(Architecture { stacks: Stacks::EncoderDecoder, head: Head::Vocabulary, ..architecture });
        }
        Ok(architecture)
    }

    /// The generation of Gemma that `model_type` names.
    pub(super) fn generation(&self) -> Generation {
        match self.model_type() {
            Some(T5GEMMA2 | GEMMA3_TEXT) => Generation::Gemma3,
            Some(found) if ENCODERS2.contains(&found) => Generation::Gemma3,
            _ => Generation::Gemma2,
        }
    }

    /// Whether the file is that of an encoder by itself, whose fields stand at the top.
    pub(crate) fn is_encoder_module(&self) -> bool {
        self.model_type().is_some_and(|found| found == ENCODER_MODULE || ENCODERS2.contains(&found))
    }

    pub(super) fn fields(&self) -> DocumentFields<'_> {
        let generation = self.generation.as_ref();
        let generation = generation.map_or_else(Fields::absent, |value| Fields::document("generation_config", value));
        DocumentFields { top: Fields::document("", &self.config), generation, layers: self.generation() }
    }

    /// Refuses a file of another architecture, with the `expected` ones in words: a list of what it lacks of this one
    /// would mislead.
    pub(super) fn expect_model_type(&self, types: &[&str], expected: &'static str) -> Result<()> {
        match self.model_type() {
            Some(found) if !types.contains(&found) => {
                Err(Error::ModelType { path: self.path.clone(), found: found.to_owned(), expected })
            }
            _ => Ok(()),
        }
    }

    fn model_type(&self) -> Option<&str> {
        self.config.get("model_type").and_then(Value::as_str)
    }
}

/// Adds a problem when `model_type` is missing or no name.
pub(super) fn check_model_type(top: &Fields<'_>, problems: &mut Problems) {
    if top.get("model_type").is_none() {
        problems.add("model_type", "is missing");
    }
    top.text("model_type", problems);
}

/// Whether transformers wrote the file for a classifier.
pub(super) fn names_classifier(top: &Fields<'_>) -> bool {
    let names = top.get("architectures").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).any(|name| name.ends_with(CLASSIFIER_CLASS))
}

/// Whether an encoder alone has a classification head: transformers wrote it for a classifier, or names its classes.
pub(super) fn names_encoder_head(top: &Fields<'_>) -> bool {
    names_classifier(top) || top.get("id2label").is_some()
}

fn parse(path: &Path, text: &[u8]) -> Result<Value> {
    let object: serde_json::Map<String, Value> =
        serde_json::from_slice(text).map_err(|source| Error::Json { path: path.to_owned(), source })?;
    Ok(Value::Object(object))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn architecture(config: &Value) -> Result<Architecture> {
        ConfigDocument::parse(Path::new("config.json"), config.to_string().as_bytes(), None)?.architecture()
    }

    #[test]
    fn the_architecture_follows_from_the_model_type_the_class_and_the_marks() {
        let pair = Architecture::T5GEMMA;
        let decoder = Architecture { stacks: Stacks::Decoder, ..pair };
        let cases = [
            (json!({"model_type": "t5gemma"}), pair),
            (
                json!({"model_type": "t5gemma", "encoder": {"encdec_causal": true}}),
                Architecture { causal_encoder: true, ..pair },
            ),
            (
                json!({"model_type": "t5gemma", "is_encoder_decoder": false, "id2label": {"0": "a"}}),
                pair.as_classifier(),
            ),
            (
                json!({"model_type": "t5gemma", "is_encoder_decoder": false}),
                Architecture { stacks: Stacks::Encoder, head: Head::States, ..pair },
            ),
            (
                json!({"model_type": "t5_gemma_module"}),
                Architecture { stacks: Stacks::Encoder, head: Head::States, ..pair },
            ),
            (
                json!({"model_type": "t5gemma", "architectures": ["T5GemmaForSequenceClassification"]}),
                Architecture { head: Head::Classes, ..pair },
            ),
            (json!({"model_type": "t5gemma2"}), Architecture::pair(Generation::Gemma3)),
            (
                json!({"model_type": "t5gemma2_text"}),
                Architecture { stacks: Stacks::Encoder, head: Head::States, ..Architecture::pair(Generation::Gemma3) },
            ),
            (json!({"model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"]}), decoder),
            (
                json!({"model_type": "gemma2", "architectures": ["Gemma2ForSequenceClassification"]}),
                decoder.as_classifier(),
            ),
            (json!({"model_type": "gemma3_text"}), Architecture { generation: Generation::Gemma3, ..decoder }),
            (
                json!({"model_type": "gemma3", "text_config": {"hidden_size": 8}}),
                Architecture { generation: Generation::Gemma3, ..decoder },
            ),
        ];
        for (config, expected) in cases {
            assert_eq!(architecture(&config).unwrap(), expected, "{config}");
        }
    }

    #[test]
    fn training_keeps_the_decoder_unless_the_class_is_a_classifier_s() {
        let trained = |config: &Value| {
            let document = ConfigDocument::parse(Path::new("config.json"), config.to_string().as_bytes(), None);
            document.unwrap().trained_architecture().unwrap()
        };
        let pair = Architecture::T5GEMMA;
        let with_class =
            |class: &str| json!({"model_type": "t5gemma", "is_encoder_decoder": false, "architectures": [class]});
        assert_eq!(trained(&json!({"model_type": "t5gemma", "is_encoder_decoder": false})), pair);
        assert_eq!(trained(&with_class("T5GemmaForConditionalGeneration")), pair);
        assert_eq!(trained(&with_class("T5GemmaForSequenceClassification")), pair.as_classifier());
        let causal = json!({"model_type": "t5gemma", "is_encoder_decoder": false, "encoder": {"encdec_causal": true}});
        assert_eq!(trained(&causal), Architecture { causal_encoder: true, ..pair });
        let decoder = Architecture { stacks: Stacks::Decoder, ..pair };
        assert_eq!(trained(&json!({"model_type": "gemma2", "is_encoder_decoder": false})), decoder);
    }

    #[test]
    fn a_model_type_that_cannot_be_used_is_named() {
        let message = architecture(&json!({"model_type": "llama"})).unwrap_err().to_string();
        assert!(message.contains("\"llama\"") && message.contains("t5_gemma_module, gemma2 or gemma3"), "{message}");
        let message = architecture(&json!({})).unwrap_err().to_string();
        assert!(message.contains("model_type is missing"), "{message}");
    }
}
