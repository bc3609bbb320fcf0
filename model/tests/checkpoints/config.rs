//! Configurations in both published dialects, and every way in which one can be unusable.

use crate::fixture;
use std::path::Path;

use model::{EncoderConfig, Error, LayerKind, ModelConfig};
use serde_json::{Value, json};

#[test]
fn the_newer_dialect_is_read() {
    let config = read(&balanced(), None).unwrap();
    assert_eq!((config.start_token, config.bos_token, config.pad_token), (2, 2, 0));
    assert_eq!((config.end_tokens.as_slice(), config.tie_word_embeddings), (&[1][..], true));
    let stack = &config.decoder;
    assert_eq!((stack.heads, stack.kv_heads, stack.head_dim, stack.sliding_window), (4, 2, 16, 8));
    assert_ne!(stack.query_width(), stack.hidden);
    assert_eq!((stack.attn_softcap, stack.final_softcap, stack.ropes.full.theta), (Some(50.0), Some(30.0), 10_000.0));
    assert_eq!((stack.window(0), stack.window(1)), (Some(8), None));
    assert_eq!(config.encoder.vocab, 512);
}

#[test]
fn the_older_dialect_is_read() {
    let config = read(&document("t5gemma-unbalanced/config.json"), None).unwrap();
    let (encoder, decoder) = (&config.encoder, &config.decoder);
    assert_eq!((encoder.hidden, encoder.layers, encoder.query_pre_attn_scalar), (48, 6, 12.0));
    assert_eq!((decoder.hidden, decoder.layers, decoder.kv_heads, decoder.head_dim), (32, 2, 1, 8));
    assert_eq!((encoder.ropes.full.theta, decoder.ropes.full.theta), (10_000.0, 10_000.0));
}

#[test]
fn both_dialects_say_the_same() {
    let mut older = balanced();
    older.as_object_mut().unwrap().remove("dtype");
    older["torch_dtype"] = json!("float16");
    for stack in ["encoder", "decoder"] {
        let stack = older[stack].as_object_mut().unwrap();
        stack.remove("rope_parameters");
        stack.insert("rope_theta".to_owned(), json!(10_000));
        stack.remove("layer_types");
    }
    older["decoder"].as_object_mut().unwrap().remove("cross_attention_hidden_size");
    assert_eq!(read(&older, None).unwrap(), read(&balanced(), None).unwrap());
}

#[test]
fn without_layer_types_sliding_layers_come_first_and_alternate() {
    let mut config = balanced();
    config["encoder"].as_object_mut().unwrap().remove("layer_types");
    let kinds = read(&config, None).unwrap().encoder.layer_kinds;
    assert_eq!(kinds[..3], [LayerKind::Sliding, LayerKind::Full, LayerKind::Sliding]);
}

#[test]
fn the_end_tokens_of_the_generation_config_win() {
    let ends = |generation: Value| read(&balanced(), Some(generation)).unwrap().end_tokens;
    assert_eq!(ends(json!({"eos_token_id": [1, 107]})), [1, 107]);
    assert_eq!(ends(json!({"eos_token_id": 107})), [107]);
    assert_eq!(ends(json!({"eos_token_id": null})), [1]);
    assert_eq!(ends(json!({})), [1]);
    let message = read(&balanced(), Some(json!({"eos_token_id": [1, 512]}))).unwrap_err().to_string();
    assert!(message.contains("generation_config.eos_token_id is 512, outside the vocabulary"), "{message}");
}

#[test]
fn a_list_of_end_tokens_may_stand_in_the_config_too() {
    let mut config = balanced();
    config["eos_token_id"] = json!([1, 6]);
    assert_eq!(read(&config, None).unwrap().end_tokens, [1, 6]);
    config.as_object_mut().unwrap().remove("eos_token_id");
    config["decoder"]["eos_token_id"] = json!(3);
    assert_eq!(read(&config, None).unwrap().end_tokens, [3]);
}

#[test]
fn the_start_token_is_the_generation_configs_or_else_the_configs_each_before_the_token_that_opens_a_text() {
    let mut config = balanced();
    let start = |config: &Value, generation| read(config, generation).unwrap().start_token;
    config["decoder"]["bos_token_id"] = json!(9);
    config.as_object_mut().unwrap().shift_remove("bos_token_id");
    assert_eq!(start(&config, None), 9);
    config["bos_token_id"] = json!(10);
    assert_eq!(start(&config, None), 10);
    config["decoder"]["decoder_start_token_id"] = json!(8);
    assert_eq!(start(&config, None), 8);
    config["decoder_start_token_id"] = json!(7);
    assert_eq!(start(&config, Some(json!({"eos_token_id": 1}))), 7);
    assert_eq!(start(&config, Some(json!({"bos_token_id": 6}))), 6);
    assert_eq!(start(&config, Some(json!({"bos_token_id": 6, "decoder_start_token_id": 5}))), 5);
    assert_eq!(read(&config, None).unwrap().bos_token, 9);
}

#[test]
fn softcaps_may_be_null_but_not_forgotten() {
    let mut config = balanced();
    config["decoder"]["attn_logit_softcapping"] = json!(null);
    assert_eq!(read(&config, None).unwrap().decoder.attn_softcap, None);
    for stack in ["encoder", "decoder"] {
        config[stack].as_object_mut().unwrap().remove("attn_logit_softcapping");
    }
    let message = read(&config, None).unwrap_err().to_string();
    for stack in ["encoder", "decoder"] {
        assert!(message.contains(&format!("{stack}.attn_logit_softcapping is missing")), "{message}");
    }
}

#[test]
fn softcaps_that_are_given_once_hold_for_both_stacks() {
    let expected = read(&balanced(), None).unwrap();
    for stack in ["encoder", "decoder"] {
        let mut config = balanced();
        for field in ["attn_logit_softcapping", "final_logit_softcapping"] {
            config[stack].as_object_mut().unwrap().remove(field).unwrap();
        }
        assert_eq!(read(&config, None).unwrap(), expected, "not in {stack}");
    }
    let mut config = balanced();
    for stack in ["encoder", "decoder"] {
        for field in ["attn_logit_softcapping", "final_logit_softcapping"] {
            let cap = config[stack].as_object_mut().unwrap().remove(field).unwrap();
            config[field] = cap;
        }
    }
    assert_eq!(read(&config, None).unwrap(), expected, "outside the stacks");
    let mut alone = balanced();
    alone["is_encoder_decoder"] = json!(false);
    for field in ["attn_logit_softcapping", "final_logit_softcapping"] {
        alone["encoder"].as_object_mut().unwrap().remove(field).unwrap();
    }
    let encoder = EncoderConfig::from_json(Path::new("config.json"), alone.to_string().as_bytes()).unwrap();
    assert_eq!(encoder.encoder, expected.encoder, "of an encoder alone");
}

#[test]
fn another_model_is_refused_by_its_name() {
    for other in ["gemma3", "gemma2", "t5", "llama"] {
        let mut config = balanced();
        config["model_type"] = json!(other);
        let message = read(&config, None).unwrap_err().to_string();
        assert!(message.contains(other) && message.contains("t5gemma"), "{message}");
    }
}

#[test]
fn every_required_field_is_missed_by_its_path() {
    for stack in ["encoder", "decoder"] {
        for field in [
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "query_pre_attn_scalar",
            "rms_norm_eps",
            "max_position_embeddings",
            "sliding_window",
        ] {
            let mut config = balanced();
            config[stack].as_object_mut().unwrap().remove(field);
            assert_problem(&config, &format!("{stack}.{field}"), "missing");
        }
        let mut config = balanced();
        config[stack].as_object_mut().unwrap().remove("rope_parameters");
        assert_problem(&config, &format!("{stack}.rope_theta"), "missing");
        let mut config = balanced();
        config.as_object_mut().unwrap().remove(stack);
        assert_problem(&config, stack, "missing");
    }
    let mut config = balanced();
    config["model_type"] = json!(null);
    assert_problem(&config, "model_type", "missing");
    config.as_object_mut().unwrap().remove("model_type");
    assert_problem(&config, "model_type", "missing");
}

#[test]
fn every_unusable_value_is_named_with_its_reason() {
    let llama = json!({"rope_type": "llama3", "factor": 8, "rope_theta": 10_000});
    let cases: [(&str, Value, &str, &str); 33] = [
        ("/decoder/hidden_activation", json!("silu"), "decoder.hidden_activation", "gelu_pytorch_tanh"),
        ("/encoder/attention_bias", json!(true), "encoder.attention_bias", "biases"),
        ("/encoder/rope_parameters/rope_type", json!("yarn"), "encoder.rope_parameters.rope_type", "yarn"),
        ("/encoder/rope_parameters/rope_type", json!("linear"), "encoder.rope_parameters.factor", "missing"),
        ("/encoder/rope_parameters", llama, "encoder.rope_parameters.factor", "is 8"),
        (
            "/encoder/rope_parameters",
            json!({"factor": 2, "rope_theta": 10_000}),
            "encoder.rope_parameters.factor",
            "not scaled",
        ),
        (
            "/encoder/rope_parameters",
            json!({"partial_rotary_factor": 0.5, "rope_theta": 10_000}),
            "encoder.rope_parameters.partial_rotary_factor",
            "0.5",
        ),
        ("/encoder/rope_parameters/rope_theta", json!(null), "encoder.rope_parameters.rope_theta", "missing"),
        ("/encoder/rope_parameters", json!([]), "encoder.rope_parameters", "object"),
        ("/encoder/rope_parameters/rope_theta", json!(-1), "encoder.rope_parameters.rope_theta", "positive"),
        ("/decoder/num_key_value_heads", json!(3), "decoder.num_attention_heads", "multiple"),
        ("/decoder/head_dim", json!(15), "decoder.head_dim", "even"),
        ("/decoder/head_dim", json!(0), "decoder.head_dim", "whole number from 1"),
        ("/decoder/head_dim", json!(16.5), "decoder.head_dim", "whole number"),
        ("/decoder/head_dim", json!("16"), "decoder.head_dim", "whole number"),
        ("/decoder/hidden_size", json!(u64::MAX), "decoder.hidden_size", "whole number"),
        ("/encoder/num_hidden_layers", json!(0), "encoder.num_hidden_layers", "whole number"),
        ("/encoder/sliding_window", json!(0), "encoder.sliding_window", "whole number"),
        ("/encoder/rms_norm_eps", json!("tiny"), "encoder.rms_norm_eps", "positive"),
        ("/encoder/query_pre_attn_scalar", json!(0), "encoder.query_pre_attn_scalar", "positive"),
        ("/encoder/attn_logit_softcapping", json!(-50), "encoder.attn_logit_softcapping", "positive"),
        ("/encoder/layer_types", json!(["full_attention"]), "encoder.layer_types", "1 entries for"),
        ("/encoder/layer_types/1", json!("linear_attention"), "encoder.layer_types[1]", "linear_attention"),
        ("/encoder/layer_types", json!("full_attention"), "encoder.layer_types", "list"),
        ("/encoder/vocab_size", json!(640), "encoder.vocab_size", "512"),
        ("/dtype", json!("torch.float64"), "dtype", "float64"),
        ("/is_encoder_decoder", json!(false), "is_encoder_decoder", "false"),
        ("/is_encoder_decoder", json!("yes"), "is_encoder_decoder", "not true or false"),
        ("/eos_token_id", json!([1, 512]), "eos_token_id", "outside the vocabulary"),
        ("/eos_token_id", json!([]), "eos_token_id", "empty"),
        ("/decoder/bos_token_id", json!(-2), "decoder.bos_token_id", "token id"),
        ("/pad_token_id", json!([0]), "pad_token_id", "one token id"),
        ("/decoder", json!("big"), "decoder", "object"),
    ];
    for (pointer, value, field, reason) in cases {
        let mut config = balanced();
        let place = config.pointer_mut(pointer);
        *place.unwrap_or_else(|| panic!("{pointer}")) = value;
        assert_problem(&config, field, reason);
    }
}

#[test]
fn what_changes_nothing_may_be_written_in_any_words() {
    let five = json!({
        "rope_type": "llama3",
        "factor": 1.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    });
    let cases = [
        ("/dtype", json!("torch.bfloat16")),
        ("/torch_dtype", json!("torch.float32")),
        ("/encoder/hidden_act", json!("gelu")),
        ("/decoder/hidden_act", json!("gelu_pytorch_tanh")),
        ("/decoder/rope_scaling", five.clone()),
        ("/decoder/rope_scaling", json!({"type": "linear", "factor": 1})),
        ("/decoder/rope_scaling", json!({"rope_type": "default", "factor": 8.0})),
        ("/decoder/cross_attention_hidden_size", json!(77)),
        ("/vocab_size", json!(640)),
    ];
    let expected = read(&balanced(), None).unwrap();
    for (pointer, value) in cases {
        let mut config = balanced();
        let (place, key) = pointer.rsplit_once('/').unwrap();
        config.pointer_mut(place).unwrap()[key] = value.clone();
        assert_eq!(read(&config, None).unwrap(), expected, "{pointer}: {value}");
        // The older dialect, in which nothing stands before rope_scaling.
        let stack = config["decoder"].as_object_mut().unwrap();
        stack.shift_remove("rope_parameters");
        stack.insert("rope_theta".to_owned(), json!(10_000));
        assert_eq!(read(&config, None).unwrap(), expected, "{pointer}: {value}");
    }
    let mut config = balanced();
    config["decoder"].as_object_mut().unwrap().shift_remove("hidden_activation");
    config["decoder"]["hidden_act"] = json!("gelu");
    assert_problem(&config, "decoder.hidden_act", "gelu_pytorch_tanh");
}

#[test]
fn all_problems_are_reported_at_once() {
    let mut config = balanced();
    config["encoder"].as_object_mut().unwrap().remove("head_dim");
    config["decoder"]["hidden_activation"] = json!("relu");
    config["decoder"]["num_hidden_layers"] = json!("two");
    config["eos_token_id"] = json!(100_000);
    let error = read(&config, None).unwrap_err();
    let message = error.to_string();
    for part in
        ["config.json", "encoder.head_dim", "decoder.hidden_activation", "decoder.num_hidden_layers", "eos_token_id"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    let Error::Config { problems, .. } = error else { panic!("{error}") };
    assert_eq!(problems.len(), 4, "{problems:?}");
}

#[test]
fn what_is_no_json_object_is_refused_by_file() {
    let name = |error: Error| error.to_string();
    for text in ["", "[]", "{", "\u{fffd}", "3", &"[".repeat(100_000)] {
        let error = ModelConfig::from_json(Path::new("somewhere/config.json"), text.as_bytes(), None).unwrap_err();
        assert!(name(error).contains("somewhere/config.json"), "{text:.10}");
        let config = balanced().to_string();
        let error =
            ModelConfig::from_json(Path::new("somewhere/config.json"), config.as_bytes(), Some(text.as_bytes()));
        assert!(name(error.unwrap_err()).contains("somewhere/generation_config.json"), "{text:.10}");
    }
    let error = ModelConfig::from_json(Path::new("config.json"), b"{}", None).unwrap_err();
    assert!(matches!(error, Error::Config { .. }), "{error}");
}

/// The one problem of a configuration names this field and says this.
fn assert_problem(config: &Value, field: &str, reason: &str) {
    let error = read(config, None).expect_err(field);
    let Error::Config { problems, .. } = &error else { panic!("{error}") };
    let [problem] = problems.as_slice() else { panic!("{field}: {problems:?}") };
    assert_eq!(problem.field, field, "{error}");
    assert!(problem.reason.contains(reason), "{error}");
}

fn read(config: &Value, generation: Option<Value>) -> model::Result<ModelConfig> {
    let generation = generation.map(|generation| generation.to_string());
    let generation = generation.as_ref().map(|generation| generation.as_bytes());
    ModelConfig::from_json(Path::new("config.json"), config.to_string().as_bytes(), generation)
}

fn balanced() -> Value {
    document("t5gemma-balanced/config.json")
}

fn document(name: &str) -> Value {
    serde_json::from_slice(&fixture::bytes(name)).unwrap()
}
