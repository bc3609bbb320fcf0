//! Decoder-only checkpoints of Gemma 2 and 3: both published dialects, every layout, and all problems at once.

use crate::fixture;
use std::path::Path;

use crate::fixture::checkpoints::{TENSORS, copied, edit, rewrite, sharded, stored};
use kernels::{DType, WeightPart};
use model::{DecoderCheckpoint, DecoderConfig, Error, LayerKind, TensorTable};
use safetensors::{SafeTensors, serialize};
use serde_json::{Value, json};

const SOURCES: [&str; 3] = ["gemma2-source", "gemma2-source-wide", GEMMA3];
const NARROW: &str = SOURCES[0];
const GEMMA3: &str = "gemma3-source";

fn document() -> Value {
    serde_json::from_slice(&fixture::bytes(&format!("{NARROW}/config.json"))).unwrap()
}

fn read(config: &Value, generation: Option<Value>) -> Result<DecoderConfig, Error> {
    let generation = generation.map(|value| value.to_string().into_bytes());
    DecoderConfig::from_json(Path::new("m/config.json"), config.to_string().as_bytes(), generation.as_deref())
}

fn open(folder: &Path) -> DecoderCheckpoint {
    DecoderCheckpoint::open(folder).unwrap()
}

/// A tensor's bytes; all tiny sources are float32.
fn bytes(checkpoint: &DecoderCheckpoint, name: &str) -> Vec<u8> {
    match checkpoint.tensor(name).unwrap().part() {
        WeightPart::Stored { dtype: DType::F32, bytes, .. } => bytes.to_vec(),
        _ => panic!("{name} is not stored in float32"),
    }
}

#[test]
fn the_tiny_sources_open_and_give_the_stored_bytes() {
    for folder in SOURCES {
        let checkpoint = open(&fixture::path(folder));
        let file = fixture::bytes(&format!("{folder}/{TENSORS}"));
        let stored = SafeTensors::deserialize(&file).unwrap();
        let table = TensorTable::decoder_only(checkpoint.config());
        for (name, shape) in table.iter() {
            assert_eq!(stored.tensor(name).unwrap().shape(), shape, "{name}");
            assert_eq!(bytes(&checkpoint, name), stored.tensor(name).unwrap().data(), "{name}");
        }
        assert_eq!(table.iter().count(), stored.len());
        assert_eq!(checkpoint.tensor_bytes(), 4 * checkpoint.config().parameters());
        assert!(checkpoint.tokenizer_json().unwrap().is_some());
        assert_eq!(checkpoint.document().json()["initializer_range"], json!(0.02));
    }
}

#[test]
fn the_published_dialect_says_the_same_as_the_newer_one() {
    let mut published = document();
    let fields = published.as_object_mut().unwrap();
    for field in ["layer_types", "rope_parameters", "dtype", "tie_word_embeddings", "use_bidirectional_attention"] {
        fields.remove(field).unwrap();
    }
    fields.insert("rope_theta".to_owned(), json!(10_000.0));
    fields.insert("torch_dtype".to_owned(), json!("bfloat16"));
    fields.insert("hidden_act".to_owned(), json!("gelu_pytorch_tanh"));
    let config = read(&published, None).unwrap();
    assert_eq!(config, read(&document(), None).unwrap());
    assert_eq!(config.stack.layer_kinds[..2], [LayerKind::Sliding, LayerKind::Full]);
    assert_eq!((config.bos_token, config.pad_token, config.tie_word_embeddings), (2, 0, true));
    assert_eq!(config.end_tokens, [1]);
}

#[test]
fn the_end_tokens_of_the_generation_config_win() {
    assert_eq!(read(&document(), Some(json!({"eos_token_id": [1, 107]}))).unwrap().end_tokens, [1, 107]);
    assert_eq!(read(&document(), Some(json!({}))).unwrap().end_tokens, [1]);
}

#[test]
fn a_sharded_source_is_the_single_one() {
    let (single, folder) = (open(&fixture::path(NARROW)), sharded(NARROW));
    let sharded = open(folder.path());
    for (name, _) in TensorTable::decoder_only(single.config()).iter() {
        assert_eq!(bytes(&single, name), bytes(&sharded, name), "{name}");
    }
}

#[test]
fn an_output_table_is_read_when_it_is_not_tied() {
    let folder = copied(NARROW);
    edit(&folder.path().join("config.json"), |config| config["tie_word_embeddings"] = json!(false));
    let message = DecoderCheckpoint::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("lm_head.weight is missing"), "{message}");
    let bytes = fixture::bytes(&format!("{NARROW}/{TENSORS}"));
    let mut views = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let table = views.iter().find(|(name, _)| name == "model.embed_tokens.weight").unwrap().1.clone();
    views.push(("lm_head.weight".to_owned(), table.clone()));
    std::fs::write(folder.path().join(TENSORS), serialize(views, None).unwrap()).unwrap();
    let untied = open(folder.path());
    assert_eq!(self::bytes(&untied, "lm_head.weight"), table.data());
    assert_eq!(untied.tensor_bytes(), 4 * untied.config().parameters());
}

#[test]
fn every_problem_of_a_configuration_is_listed_at_once() {
    let mut config = document();
    config["hidden_size"] = json!("wide");
    config["attention_bias"] = json!(true);
    config["num_attention_heads"] = json!(3);
    config["use_bidirectional_attention"] = json!(true);
    config["quantization_config"] = json!({"quant_method": "gptq"});
    config["eos_token_id"] = json!(512);
    config.as_object_mut().unwrap().remove("bos_token_id");
    let message = read(&config, None).unwrap_err().to_string();
    for part in [
        "hidden_size is \"wide\"",
        "attention_bias is true",
        "num_attention_heads is 3, not a multiple of num_key_value_heads (2)",
        "use_bidirectional_attention is true",
        "quantization_config is there",
        "eos_token_id is 512, outside the vocabulary",
        "bos_token_id is missing",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn every_wrong_tensor_is_listed_at_once() {
    let folder = copied(NARROW);
    rewrite(folder.path(), |name, view| {
        let (dtype, mut shape, bytes) = stored(view);
        match name {
            "model.norm.weight" => return None,
            "model.layers.0.mlp.up_proj.weight" => shape.reverse(),
            _ => {}
        }
        Some((name.to_owned(), (dtype, shape, bytes)))
    });
    let message = DecoderCheckpoint::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("model.norm.weight is missing"), "{message}");
    assert!(message.contains("model.layers.0.mlp.up_proj.weight has shape [32, 64], not [64, 32]"), "{message}");
}

/// The flat configuration of the Gemma 3 as part of one with images.
fn nested(flat: &Value) -> Value {
    let mut text = flat.clone();
    for field in ["bos_token_id", "eos_token_id", "pad_token_id", "rms_norm_eps", "architectures"] {
        text.as_object_mut().unwrap().remove(field).unwrap();
    }
    json!({
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "eos_token_id": [1, 106],
        "text_config": text,
        "vision_config": {"hidden_size": 16},
    })
}

#[test]
fn a_gemma_3_is_found_inside_one_with_images_under_each_of_its_names() {
    let single = open(&fixture::path(GEMMA3));
    let spellings: [fn(&str) -> String; 4] = [
        |name| format!("language_model.{name}"),
        |name| name.replacen("model.", "model.language_model.", 1),
        |name| name.replacen("model.", "language_model.", 1),
        |name| name.trim_start_matches("model.").to_owned(),
    ];
    for spelled in spellings {
        let folder = copied(GEMMA3);
        rewrite(folder.path(), |name, view| Some((spelled(name), stored(view))));
        edit(&folder.path().join("config.json"), |config| *config = nested(config));
        std::fs::remove_file(folder.path().join("generation_config.json")).unwrap();
        let found = open(folder.path());
        let expected = DecoderConfig { end_tokens: vec![1, 106], ..single.config().clone() };
        assert_eq!(*found.config(), expected);
        for (name, _) in TensorTable::decoder_only(single.config()).iter() {
            assert_eq!(bytes(&single, name), bytes(&found, name), "{name} as {}", spelled(name));
        }
    }
}

#[test]
fn another_architecture_is_named() {
    let refusal = |folder: &str| DecoderCheckpoint::open(&fixture::path(folder)).unwrap_err().to_string();
    let message = refusal("t5gemma-balanced");
    assert!(message.contains("\"t5gemma\" (an encoder-decoder): only \"gemma2 or gemma3\" checkpoints"), "{message}");
    let mut config = document();
    config["model_type"] = json!("gemma");
    let message = read(&config, None).unwrap_err().to_string();
    assert!(message.contains("\"gemma\" (a decoder-only Gemma)"), "{message}");
    config.as_object_mut().unwrap().remove("model_type");
    assert!(read(&config, None).unwrap_err().to_string().contains("model_type is missing"));
}
