//! The files beside the tensors: configurations, tokenizer, chat template.

use std::fs;

use model::{Adaptation, Checkpoint};
use serde_json::json;
use tempfile::TempDir;

use super::sources::{NARROW, WIDE, adapted, document, request};
use crate::fixture;
use crate::fixture::checkpoints::{TENSORS, copied, edit, sharded};

#[test]
fn a_sharded_source_in_the_published_dialect_gives_the_same_files() {
    let source = sharded(NARROW);
    edit(&source.path().join("config.json"), |config| {
        let fields = config.as_object_mut().unwrap();
        for field in ["layer_types", "rope_parameters", "dtype", "tie_word_embeddings", "use_bidirectional_attention"] {
            fields.remove(field).unwrap();
        }
        fields.insert("rope_theta".to_owned(), json!(10_000.0));
        fields.insert("torch_dtype".to_owned(), json!("float32"));
    });
    let (single, sharded) =
        (adapted(&fixture::path(NARROW), &fixture::path(NARROW)), adapted(source.path(), source.path()));
    for name in ["config.json", "generation_config.json", TENSORS] {
        let read = |folder: &TempDir| fs::read(folder.path().join(name)).unwrap();
        assert!(read(&single) == read(&sharded), "{name}");
    }
}

#[test]
fn the_configuration_is_as_transformers_writes_it() {
    let written = |out: &TempDir| document(&out.path().join("config.json"));
    let out = adapted(&fixture::path(NARROW), &fixture::path(NARROW));
    let reference = document(&fixture::path("t5gemma-balanced/config.json"));
    assert_eq!(written(&out), reference);
    assert_eq!(
        document(&out.path().join("generation_config.json"))["decoder_start_token_id"],
        document(&fixture::path("t5gemma-balanced/generation_config.json"))["decoder_start_token_id"],
    );
    let unbalanced = written(&adapted(&fixture::path(WIDE), &fixture::path(NARROW)));
    assert_eq!(unbalanced["encdec_cross_attention"], "random");
    assert_eq!(unbalanced["decoder"]["cross_attention_hidden_size"], 48);
    assert_eq!(unbalanced["decoder"]["num_key_value_heads"], 2);
    assert_eq!(unbalanced["encoder"]["num_key_value_heads"], 4);
}

#[test]
fn tokenizer_chat_template_and_end_tokens_come_from_the_decoders_source() {
    let source = copied(NARROW);
    fs::write(source.path().join("tokenizer_config.json"), "{\"chat_template\": \"{{ bos_token }}\"}").unwrap();
    fs::write(source.path().join("chat_template.jinja"), "{{ messages }}").unwrap();
    fs::write(source.path().join("tokenizer.model"), [0, 159, 146, 150]).unwrap();
    let generation = json!({"eos_token_id": [1, 107], "top_k": 64, "cache_implementation": "hybrid"});
    fs::write(source.path().join("generation_config.json"), generation.to_string()).unwrap();
    let out = adapted(&fixture::path(WIDE), source.path());
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "tokenizer.model"] {
        let read = |folder: &TempDir| fs::read(folder.path().join(name)).unwrap();
        assert_eq!(read(&out), read(&source), "{name}");
    }
    let expected = json!({
        "eos_token_id": [1, 107], "top_k": 64, "bos_token_id": 2, "decoder_start_token_id": 2, "pad_token_id": 0
    });
    assert_eq!(document(&out.path().join("generation_config.json")), expected);
    assert_eq!(Checkpoint::open(out.path()).unwrap().config().end_tokens, [1, 107]);
}

#[test]
fn a_source_that_fails_halfway_leaves_an_empty_folder_behind() {
    let (source, out) = (copied(NARROW), TempDir::new().unwrap());
    let adaptation = Adaptation::prepare(request(source.path(), source.path(), out.path())).unwrap();
    // The second of the files that are copied before the tensors.
    fs::create_dir(source.path().join("tokenizer_config.json")).unwrap();
    let message = adaptation.write(&mut |_| ()).unwrap_err().to_string();
    assert!(message.contains("tokenizer_config.json"), "{message}");
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
    fs::remove_dir(source.path().join("tokenizer_config.json")).unwrap();
    adaptation.write(&mut |_| ()).unwrap();
}
