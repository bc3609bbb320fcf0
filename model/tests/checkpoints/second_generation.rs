//! Checkpoints of the second generation: both dialects of their configuration, the names that their tensors have, and
//! what is refused.

use std::fs;
use std::path::Path;

use kernels::{RopeScaling, RopeSpec, Scheme};
use model::{Checkpoint, EncoderCheckpoint, LayerKind, ModelConfig, quantize};
use safetensors::{SafeTensors, serialize};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::checkpoints::{Stored, TENSORS, contents, copied, edit, rewrite, stored, views};
use crate::fixture::{self, SECOND};

const SCALED: &str = SECOND[1];
const TABLE: &str = "model.encoder.embed_tokens.weight";

fn document() -> Value {
    serde_json::from_slice(&fixture::bytes(&format!("{SCALED}/config.json"))).unwrap()
}

fn read(config: &Value) -> model::Result<ModelConfig> {
    ModelConfig::from_json(Path::new("config.json"), config.to_string().as_bytes(), None)
}

/// Changes what describes both stacks.
fn of_stacks(mut change: impl FnMut(&mut serde_json::Map<String, Value>)) -> Value {
    let mut config = document();
    change(config["encoder"]["text_config"].as_object_mut().unwrap());
    change(config["decoder"].as_object_mut().unwrap());
    config
}

#[test]
fn both_dialects_say_the_same() {
    let config = read(&document()).unwrap();
    let stack = &config.decoder;
    let full = RopeSpec { theta: 1e6, scaling: RopeScaling::Linear { factor: 8.0 } };
    assert_eq!((stack.ropes.sliding, stack.ropes.full), (RopeSpec::unscaled(1e4), full));
    assert_eq!((stack.attn_softcap, stack.final_softcap, stack.own_row_token), (None, None, None));
    assert_eq!((config.encoder.own_row_token, config.end_tokens.as_slice()), (Some(509), &[1][..]));
    assert_eq!(stack.layer_kinds[4..], [LayerKind::Sliding, LayerKind::Full]);
    let older = of_stacks(|stack| {
        for field in ["rope_parameters", "layer_types"] {
            stack.remove(field);
        }
        stack.insert("rope_theta".to_owned(), json!(1_000_000));
        stack.insert("rope_local_base_freq".to_owned(), json!(10_000));
        stack.insert("rope_scaling".to_owned(), json!({"rope_type": "linear", "factor": 8}));
        stack.insert("sliding_window_pattern".to_owned(), json!(6));
    });
    assert_eq!(read(&older).unwrap(), config);
    let without_pattern = of_stacks(|stack| {
        stack.remove("layer_types");
    });
    assert_eq!(read(&without_pattern).unwrap(), config, "every sixth layer is a full one");
}

#[test]
fn what_cannot_be_computed_is_refused_by_its_field() {
    let message = |config: &Value| read(config).unwrap_err().to_string();
    let rope = |value: Value| of_stacks(|stack| stack["rope_parameters"]["full_attention"] = value.clone());
    let cases = [
        (rope(json!({"rope_type": "yarn", "rope_theta": 1e6})), "decoder.rope_parameters.full_attention.rope_type"),
        (rope(json!({"rope_type": "linear", "rope_theta": 1e6})), "full_attention.factor is missing"),
        (rope(json!({"rope_type": "default"})), "encoder.text_config.rope_parameters.full_attention.rope_theta"),
        (rope(Value::Null), "rope_parameters.full_attention is missing"),
    ];
    for (config, expected) in cases {
        let message = message(&config);
        assert!(message.contains(expected), "{expected}: {message}");
    }
    let mut config = document();
    config["decoder"]["hidden_size"] = json!(48);
    assert!(message(&config).contains("encoder.text_config.hidden_size is 32, but decoder.hidden_size is 48"));
    config["decoder"]["hidden_size"] = json!(32);
    config["tie_word_embeddings"] = json!(false);
    assert!(message(&config).contains("tie_word_embeddings is false"));
    config["tie_word_embeddings"] = json!(true);
    config["vocab_size"] = json!(1024);
    config["encoder"]["text_config"].as_object_mut().unwrap().remove("vocab_size");
    assert!(message(&config).contains("vocab_size is 1024 in the encoder and 512 in the decoder"));
    let unscaled = rope(json!({"rope_theta": 1e6, "factor": 8.0}));
    assert!(message(&unscaled).contains("full_attention.rope_type"));
}

#[test]
fn a_vocabulary_that_ends_before_the_end_of_an_image_has_no_vector_for_it() {
    let mut config = document();
    config["eoi_token_index"] = json!(512);
    config["encoder"].as_object_mut().unwrap().remove("eoi_token_index");
    assert_eq!(read(&config).unwrap().encoder.own_row_token, None);
}

#[test]
fn names_may_be_those_of_the_hub_or_of_transformers() {
    let expected = contents(&Checkpoint::open(&fixture::path(SCALED)).unwrap());
    let text_model = |name: &str| match name.strip_prefix("model.encoder.") {
        Some(rest) if !rest.contains("vision_tower") => format!("model.encoder.text_model.{rest}"),
        _ => name.to_owned(),
    };
    let table = |other: &'static str| move |name: &str| if name == TABLE { other } else { name }.to_owned();
    let spellings: [&dyn Fn(&str) -> String; 7] = [
        &text_model,
        &|name| name.trim_start_matches("model.").to_owned(),
        &|name| text_model(name).trim_start_matches("model.").to_owned(),
        &table("lm_head.out_proj.weight"),
        &table("model.decoder.embed_tokens.weight"),
        &table("decoder.embed_tokens.weight"),
        // Of tied tensors, some writers keep the first name by the alphabet.
        &|name| name.replace("model.encoder.embed_tokens.", "model.decoder.embed_tokens."),
    ];
    for (number, spelled) in spellings.into_iter().enumerate() {
        let folder = copied(SCALED);
        rewrite(folder.path(), |name, view| Some((spelled(name), stored(view))));
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        assert!(contents(&checkpoint) == expected, "spelling {number}");
        assert!(checkpoint.config().tie_word_embeddings);
    }
}

#[test]
fn a_tower_for_images_is_known_and_not_needed() {
    assert!(Checkpoint::open(&fixture::path(SCALED)).unwrap().has_vision_tower());
    let folder = copied(SCALED);
    rewrite(folder.path(), |name, view| (!name.contains("vision_tower")).then(|| (name.to_owned(), stored(view))));
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert!(!checkpoint.has_vision_tower());
    edit(&folder.path().join("config.json"), |config| {
        config["encoder"].as_object_mut().unwrap().remove("vision_config");
    });
    assert_eq!(Checkpoint::open(folder.path()).unwrap().config(), checkpoint.config());
}

/// A copy in which a tensor is stored a second time.
fn with_another(from: &str, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> TempDir {
    let folder = copied(SCALED);
    let bytes = fs::read(folder.path().join(TENSORS)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Vec<(String, Stored)> = tensors.iter().map(|(name, view)| (name.to_owned(), stored(&view))).collect();
    let mut other = stored(&tensors.tensor(from).unwrap());
    change(&mut other.2);
    all.push((name.to_owned(), other));
    fs::write(folder.path().join(TENSORS), serialize(views(&all), None).unwrap()).unwrap();
    folder
}

#[test]
fn a_table_of_the_decoder_that_is_another_one_is_refused() {
    let decoders = "model.decoder.embed_tokens.weight";
    let folder = with_another(TABLE, decoders, |_| ());
    assert!(contents(&Checkpoint::open(folder.path()).unwrap()).contains_key(TABLE));
    let folder = with_another(TABLE, decoders, |bytes| bytes.rotate_left(4));
    let message = Checkpoint::open(folder.path()).unwrap_err().to_string();
    let expected = format!("{decoders} holds other numbers than {TABLE}, but both stacks of the model have one table");
    assert!(message.contains(&expected), "{message}");
    let folder = with_another(TABLE, decoders, |bytes| bytes.rotate_left(4));
    rewrite(folder.path(), |name, view| Some((name.trim_start_matches("model.").to_owned(), stored(view))));
    assert!(Checkpoint::open(folder.path()).is_err(), "without the outer module");
}

#[test]
fn tensors_that_nothing_is_read_from_are_named() {
    let unread = |folder: &Path| Checkpoint::open(folder).unwrap().unread_tensors().to_vec();
    for name in fixture::BOTH {
        assert!(unread(&fixture::path(name)).is_empty(), "{name}");
    }
    let folder = with_another(TABLE, "model.decoder.layers.6.self_attn.q_proj.weight", |_| ());
    assert_eq!(unread(folder.path()), ["model.decoder.layers.6.self_attn.q_proj.weight"]);
    for known in ["model.decoder.embed_tokens.weight", "lm_head.out_proj.weight", "model.rotary_emb.inv_freq"] {
        assert!(unread(with_another(TABLE, known, |_| ()).path()).is_empty(), "{known}");
    }
    let copy = TempDir::new().unwrap();
    quantize(&Checkpoint::open(&fixture::path(SCALED)).unwrap(), Scheme::Int8, copy.path(), &mut |_| ()).unwrap();
    assert!(unread(copy.path()).is_empty());
}

#[test]
fn a_vocabulary_size_outside_the_stacks_may_be_anything() {
    let mut config = document();
    config["vocab_size"] = json!(262_208);
    assert_eq!(read(&config).unwrap(), read(&document()).unwrap());
}

#[test]
fn an_adapter_is_no_checkpoint() {
    let folder = copied(SCALED);
    fs::write(folder.path().join("adapter_config.json"), "{\"peft_type\": \"LORA\"}").unwrap();
    let message = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("holds an adapter (adapter_config.json)"), "{message}");
    fs::remove_file(folder.path().join("config.json")).unwrap();
    let message = EncoderCheckpoint::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("merge_and_unload"), "{message}");
}

#[test]
fn missing_tensors_are_named_as_on_the_hub() {
    let folder = copied(SCALED);
    let left_out = ["decoder.layers.3.self_attn.k_norm.weight", "encoder.embed_tokens.eoi_embedding"];
    rewrite(folder.path(), |name, view| {
        (!left_out.iter().any(|end| name.ends_with(end))).then(|| (name.to_owned(), stored(view)))
    });
    let message = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(left_out.iter().all(|end| message.contains(&format!("model.{end} is missing"))), "{message}");
}

#[test]
fn a_quantised_copy_loads_without_the_original() {
    for scheme in [Scheme::Int8, Scheme::Int4] {
        let copy = TempDir::new().unwrap();
        let checkpoint = Checkpoint::open(&fixture::path(SCALED)).unwrap();
        quantize(&checkpoint, scheme, copy.path(), &mut |_| ()).unwrap();
        let again = Checkpoint::open(copy.path()).unwrap();
        assert_eq!((again.scheme(), again.config()), (Some(scheme), checkpoint.config()));
        assert!(!again.has_vision_tower());
    }
}

#[test]
fn an_encoder_alone_is_refused_for_texts_with_a_sentence() {
    let folder = copied(SCALED);
    edit(&folder.path().join("config.json"), |config| config["is_encoder_decoder"] = json!(false));
    fs::remove_file(folder.path().join("generation_config.json")).unwrap();
    let message = Checkpoint::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("an encoder alone cannot write a text"), "{message}");
}
