//! From the settings of a GGUF file to the `config.json` that transformers would have for the same model.
//!
//! Called by `checkpoint`. What the format leaves to each architecture's code in llama.cpp stands here: which layers
//! slide, the rotary base of sliding layers, and the scale of queries.

use std::path::Path;

use serde_json::{Value, json};

use super::adapted::decimal;
use super::document::{ConfigDocument, DECODERS, GEMMA2, GEMMA3_TEXT};
use super::fields::{Fields, Problems};
use super::stack_fields::MAX_LAYERS;
use crate::error::{Error, Result};

/// Largest size of anything, so that no setting can be absurd; `stack_fields` has a limit for each.
const MAX_SIZE: usize = 1 << 24;
/// Rotary base of Gemma 2, and of the sliding layers of Gemma 3.
const LOCAL_ROPE_THETA: f32 = 10_000.0;
/// Window of Gemma 2, which its first files do not name.
const GEMMA2_WINDOW: usize = 4096;
/// Number of layers of Gemma 3 of which one is full, where the file does not say it.
const GEMMA3_PERIOD: usize = 6;
/// Layers of the models whose queries are scaled by the width for each head, not by the width of a head.
const GEMMA2_27B_LAYERS: usize = 46;
const GEMMA3_27B_LAYERS: usize = 62;

/// A decoder-only model in a GGUF file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GgufModel<'a> {
    /// The file, for errors.
    pub path: &'a Path,
    /// Every setting by its name.
    pub settings: &'a Value,
    /// Rows of the embedding table, if there is one.
    pub vocab: Option<usize>,
    /// Whether the file has no output table.
    pub is_tied: bool,
}

impl GgufModel<'_> {
    /// The configuration as transformers would write it.
    ///
    /// # Errors
    /// When the architecture is none that can be used; one error that lists every missing or unusable setting.
    pub fn document(self) -> Result<ConfigDocument> {
        let fields = Fields::document("", self.settings);
        let mut problems = Problems::default();
        let architecture = fields.text("general.architecture", &mut problems).unwrap_or_default();
        let config = match architecture {
            "gemma2" => self.gemma2(&Prefixed { fields: &fields, prefix: architecture }, &mut problems),
            "gemma3" => self.gemma3(&Prefixed { fields: &fields, prefix: architecture }, &mut problems),
            found => {
                let (path, found) = (self.path.to_owned(), found.to_owned());
                return Err(Error::ModelType { path, found, expected: DECODERS });
            }
        };
        let config = problems.value_or_error(self.path, config)?;
        Ok(ConfigDocument { path: self.path.to_owned(), config, generation: None })
    }

    fn gemma2(self, settings: &Prefixed<'_>, problems: &mut Problems) -> Option<Value> {
        let mut config = self.common(settings, problems);
        let layers = settings.layers(problems);
        let window = settings.size_if_any("attention.sliding_window", problems).unwrap_or(GEMMA2_WINDOW);
        config["sliding_window"] = json!(window);
        config["architectures"] = json!(["Gemma2ForCausalLM"]);
        config["model_type"] = json!(GEMMA2);
        config["layer_types"] = layer_types(layers?, 2);
        config["query_pre_attn_scalar"] = query_scalar(settings, GEMMA2_27B_LAYERS, problems)?;
        config["rope_theta"] = json!(settings.number("rope.freq_base", problems).unwrap_or(LOCAL_ROPE_THETA));
        for (field, setting, default) in [
            ("attn_logit_softcapping", "attn_logit_softcapping", 50.0),
            ("final_logit_softcapping", "final_logit_softcapping", 30.0),
        ] {
            config[field] = json!(settings.number(setting, problems).unwrap_or(default));
        }
        Some(config)
    }

    fn gemma3(self, settings: &Prefixed<'_>, problems: &mut Problems) -> Option<Value> {
        let mut config = self.common(settings, problems);
        let layers = settings.layers(problems);
        let theta = settings.number("rope.freq_base", problems).unwrap_or(1_000_000.0);
        let full = match settings.number("rope.scaling.factor", problems) {
            Some(factor) => json!({"rope_type": "linear", "rope_theta": theta, "factor": factor}),
            None => json!({"rope_type": "default", "rope_theta": theta}),
        };
        let local = settings.number("rope.freq_base_swa", problems).unwrap_or(LOCAL_ROPE_THETA);
        config["sliding_window"] = json!(settings.size("attention.sliding_window", problems));
        config["architectures"] = json!(["Gemma3ForCausalLM"]);
        config["model_type"] = json!(GEMMA3_TEXT);
        let period = settings.size_if_any("attention.sliding_window_pattern", problems).unwrap_or(GEMMA3_PERIOD);
        config["layer_types"] = layer_types(layers?, period);
        config["query_pre_attn_scalar"] = query_scalar(settings, GEMMA3_27B_LAYERS, problems)?;
        config["rope_parameters"] = json!({
            "full_attention": full,
            "sliding_attention": {"rope_type": "default", "rope_theta": local},
        });
        config["attn_logit_softcapping"] = Value::Null;
        config["final_logit_softcapping"] = json!(settings.number("final_logit_softcapping", problems));
        Some(config)
    }

    /// The fields that both architectures have. A missing setting is added to the problems and left out.
    fn common(self, settings: &Prefixed<'_>, problems: &mut Problems) -> Value {
        if self.vocab.is_none() {
            problems.add("token_embd.weight", "is missing");
        }
        let ids = settings.fields;
        let mut ends = Vec::new();
        for name in ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"] {
            let end = ids.token(name, self.vocab, problems);
            ends.extend(end.filter(|end| !ends.contains(end)));
        }
        if ends.is_empty() {
            problems.add("tokenizer.ggml.eos_token_id", "is missing");
        }
        let bos = ids.token("tokenizer.ggml.bos_token_id", self.vocab, problems);
        if bos.is_none() {
            problems.add("tokenizer.ggml.bos_token_id", "is missing");
        }
        json!({
            "attention_bias": false,
            "attention_dropout": 0.0,
            "bos_token_id": bos,
            "dtype": "float32",
            "eos_token_id": if let [end] = ends[..] { json!(end) } else { json!(ends) },
            "head_dim": settings.size("attention.key_length", problems),
            "hidden_activation": "gelu_pytorch_tanh",
            "hidden_size": settings.size("embedding_length", problems),
            "initializer_range": 0.02,
            "intermediate_size": settings.size("feed_forward_length", problems),
            "max_position_embeddings": settings.size("context_length", problems),
            "num_attention_heads": settings.size("attention.head_count", problems),
            "num_hidden_layers": settings.layers(&mut Problems::default()),
            "num_key_value_heads": settings.size("attention.head_count_kv", problems),
            "pad_token_id": ids.token("tokenizer.ggml.padding_token_id", self.vocab, problems).unwrap_or(0),
            "rms_norm_eps": settings.number("attention.layer_norm_rms_epsilon", problems).map(decimal),
            "tie_word_embeddings": self.is_tied,
            "vocab_size": self.vocab,
        })
    }
}

/// The settings of one architecture, whose names begin with it.
struct Prefixed<'a> {
    fields: &'a Fields<'a>,
    prefix: &'a str,
}

impl Prefixed<'_> {
    fn size(&self, name: &str, problems: &mut Problems) -> Option<usize> {
        self.fields.size(&self.name(name), MAX_SIZE, problems)
    }

    fn size_if_any(&self, name: &str, problems: &mut Problems) -> Option<usize> {
        self.fields.get(&self.name(name))?;
        self.size(name, problems)
    }

    /// Number of layers. Each has an entry in the configuration.
    fn layers(&self, problems: &mut Problems) -> Option<usize> {
        self.fields.size(&self.name("block_count"), MAX_LAYERS, problems)
    }

    fn number(&self, name: &str, problems: &mut Problems) -> Option<f32> {
        self.fields.positive_if_any(&self.name(name), problems)
    }

    fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }
}

/// Every `period`-th layer is full, the others slide.
fn layer_types(layers: usize, period: usize) -> Value {
    let kind = |layer: usize| if layer.is_multiple_of(period) { "full_attention" } else { "sliding_attention" };
    (1..=layers).map(kind).collect()
}

/// Scores are multiplied by this to the power -1/2: the width of a head but in the largest model.
fn query_scalar(settings: &Prefixed<'_>, largest_layers: usize, problems: &mut Problems) -> Option<Value> {
    let layers = settings.layers(&mut Problems::default())?;
    if layers != largest_layers {
        return Some(json!(settings.size("attention.key_length", &mut Problems::default())?));
    }
    let width = settings.size("embedding_length", &mut Problems::default())?;
    let heads = settings.size("attention.head_count", &mut Problems::default())?;
    if width % heads != 0 {
        problems.add(settings.name("attention.head_count"), format!("is {heads}, which does not divide {width}"));
        return None;
    }
    Some(json!(width / heads))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DecoderConfig;

    fn settings(architecture: &str) -> Value {
        let mut settings = json!({
            "general.architecture": architecture,
            "tokenizer.ggml.bos_token_id": 2,
            "tokenizer.ggml.eos_token_id": 1,
            "tokenizer.ggml.eot_token_id": 107,
        });
        for (name, value) in [
            ("block_count", json!(6)),
            ("context_length", json!(8192)),
            ("embedding_length", json!(2304)),
            ("feed_forward_length", json!(9216)),
            ("attention.head_count", json!(8)),
            ("attention.head_count_kv", json!(4)),
            ("attention.key_length", json!(256)),
            ("attention.layer_norm_rms_epsilon", json!(1e-6_f32)),
            ("attention.sliding_window", json!(4096)),
        ] {
            settings[format!("{architecture}.{name}")] = value;
        }
        settings
    }

    fn document(settings: &Value) -> Result<ConfigDocument> {
        GgufModel { path: Path::new("model.gguf"), settings, vocab: Some(256_000), is_tied: true }.document()
    }

    #[test]
    fn a_gemma2_has_the_configuration_of_its_original() {
        let config = DecoderConfig::read(&document(&settings("gemma2")).unwrap()).unwrap();
        let stack = &config.stack;
        assert_eq!((stack.hidden, stack.layers, stack.query_pre_attn_scalar), (2304, 6, 256.0));
        assert_eq!(
            (stack.attn_softcap, stack.final_softcap, stack.ropes.full.theta),
            (Some(50.0), Some(30.0), 10_000.0)
        );
        assert_eq!((stack.window(0), stack.window(1), stack.rms_norm_eps), (Some(4096), None, 1e-6));
        assert_eq!((config.end_tokens.as_slice(), config.pad_token, config.bos_token), (&[1, 107][..], 0, 2));
    }

    #[test]
    fn the_first_files_of_gemma2_name_no_window_and_no_file_may_have_endless_layers() {
        let mut settings = settings("gemma2");
        settings.as_object_mut().unwrap().remove("gemma2.attention.sliding_window");
        assert_eq!(document(&settings).unwrap().json()["sliding_window"], 4096);
        settings["gemma2.block_count"] = json!(1 << 24);
        let message = document(&settings).unwrap_err().to_string();
        assert!(message.contains("gemma2.block_count is 16777216"), "{message}");
    }

    #[test]
    fn the_largest_models_scale_queries_by_the_width_for_each_head() {
        let mut settings = settings("gemma2");
        settings["gemma2.block_count"] = json!(46);
        settings["gemma2.embedding_length"] = json!(4608);
        settings["gemma2.attention.head_count"] = json!(32);
        assert_eq!(document(&settings).unwrap().json()["query_pre_attn_scalar"], 144);
    }

    #[test]
    fn a_gemma3_has_two_rotary_bases_and_every_sixth_layer_is_full() {
        let mut settings = settings("gemma3");
        settings["gemma3.rope.freq_base"] = json!(1_000_000.0_f32);
        settings["gemma3.rope.scaling.factor"] = json!(8.0_f32);
        let document = document(&settings).unwrap();
        let config = document.json();
        let full = json!({"rope_type": "linear", "rope_theta": 1_000_000.0, "factor": 8.0});
        assert_eq!(config["rope_parameters"]["full_attention"], full);
        assert_eq!(config["rope_parameters"]["sliding_attention"]["rope_theta"], 10_000.0);
        let full: Vec<bool> =
            config["layer_types"].as_array().unwrap().iter().map(|kind| kind == "full_attention").collect();
        assert_eq!(full, [false, false, false, false, false, true]);
        assert_eq!(config["final_logit_softcapping"], Value::Null);
    }

    #[test]
    fn every_missing_setting_is_named_as_in_the_file_and_once() {
        let mut settings = settings("gemma2");
        for name in ["gemma2.block_count", "gemma2.attention.key_length", "tokenizer.ggml.bos_token_id"] {
            settings.as_object_mut().unwrap().remove(name);
        }
        let message = document(&settings).unwrap_err().to_string();
        for name in ["gemma2.block_count", "gemma2.attention.key_length", "tokenizer.ggml.bos_token_id"] {
            assert_eq!(message.matches(name).count(), 1, "{message}");
        }
        let message = document(&json!({"general.architecture": "llama"})).unwrap_err().to_string();
        assert!(message.contains("llama") && message.contains("only \"gemma2 or gemma3\""), "{message}");
    }
}
