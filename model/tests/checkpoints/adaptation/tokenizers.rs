//! Tokenizers of the two sources: alike in what matters, or refused with what differs.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::sources::{NARROW, adapted, assert_problems, refusal, request, write};
use crate::fixture;
use crate::fixture::checkpoints::{copied, edit};

#[test]
fn merges_in_either_dialect_are_the_same_tokenizer() {
    let other = copied(NARROW);
    edit(&other.path().join("tokenizer.json"), |tokenizer| {
        for merge in tokenizer["model"]["merges"].as_array_mut().unwrap() {
            let Some([left, right]) = merge.as_array().map(Vec::as_slice) else { continue };
            *merge = json!(format!("{} {}", left.as_str().unwrap(), right.as_str().unwrap()));
        }
    });
    assert_ne!(fs::read(other.path().join("tokenizer.json")).unwrap(), fixture::bytes("gemma2-source/tokenizer.json"));
    adapted(other.path(), &fixture::path(NARROW));
}

#[test]
fn tokenizers_that_find_other_tokens_in_a_text_are_refused_with_what_differs() {
    let flag = |tokenizer: &mut Value, id: u64, flag: &str| {
        let added = tokenizer["added_tokens"].as_array_mut().unwrap();
        let token = added.iter_mut().find(|token| token["id"] == json!(id)).unwrap();
        token[flag] = json!(!token[flag].as_bool().unwrap());
    };
    let known: Value = serde_json::from_slice(&fixture::bytes("gemma2-source/tokenizer.json")).unwrap();
    let id = known["added_tokens"][3]["id"].as_u64().unwrap();
    for name in ["lstrip", "rstrip", "single_word", "normalized", "special"] {
        let expected = format!("their added or special tokens, as {id}: ");
        assert_differs(|tokenizer| flag(tokenizer, id, name), &[&expected]);
    }
    assert_differs(|tokenizer| tokenizer["model"]["ignore_merges"] = json!(true), &["ignore_merges"]);
    assert_differs(|tokenizer| tokenizer["model"]["fuse_unk"] = json!(false), &["fuse_unk"]);
    assert_differs(|tokenizer| tokenizer["model"]["unk_token"] = json!(null), &["unk_token"]);
    assert_differs(|tokenizer| tokenizer["model"]["dropout"] = json!(0.5), &["dropout"]);
    assert_differs(|tokenizer| tokenizer["pre_tokenizer"] = json!({"type": "Whitespace"}), &["their pre-tokenizers"]);
}

/// Asserts that an encoder's source whose tokenizer was changed so does not fit the decoder's.
fn assert_differs(change: impl FnOnce(&mut Value), parts: &[&str]) {
    let (other, out) = (copied(NARROW), TempDir::new().unwrap());
    edit(&other.path().join("tokenizer.json"), change);
    assert_problems(&refusal(other.path(), &fixture::path(NARROW), out.path()), parts);
}

#[test]
fn a_tokenizer_on_one_side_only_is_refused_and_on_neither_is_not_missed() {
    let (bare, out) = (copied(NARROW), TempDir::new().unwrap());
    fs::remove_file(bare.path().join("tokenizer.json")).unwrap();
    let lacks = format!("{} has no tokenizer.json", bare.path().display());
    assert_problems(&refusal(bare.path(), &fixture::path(NARROW), out.path()), &[&lacks]);
    assert_problems(&refusal(&fixture::path(NARROW), bare.path(), out.path()), &[&lacks]);
    assert!(!write(request(bare.path(), bare.path(), out.path())).has_tokenizer);
    assert!(!out.path().join("tokenizer.json").exists());
}

#[test]
fn a_tokenizer_with_ids_beyond_the_vocabulary_is_refused() {
    let source = copied(NARROW);
    edit(&source.path().join("tokenizer.json"), |tokenizer| {
        tokenizer["model"]["vocab"].as_object_mut().unwrap().insert("beyond".to_owned(), json!(512));
    });
    let problems = refusal(source.path(), source.path(), &source.path().join("out"));
    assert_problems(&problems, &["the decoder's tokenizer has ids up to 512, its vocab_size is 512"]);
}
