//! Sources that cannot be adapted, refused with every reason.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use super::sources::{GEMMA3, NARROW, adapted, assert_problems, refusal, untie};
use crate::fixture;
use crate::fixture::checkpoints::{copied, edit, rewrite, stored};

#[test]
fn sources_that_do_not_fit_each_other_are_refused_with_every_reason() {
    let (other, out) = (copied(NARROW), TempDir::new().unwrap());
    fs::write(out.path().join("mine.txt"), "mine").unwrap();
    edit(&other.path().join("config.json"), |config| {
        config["bos_token_id"] = json!(3);
        config["pad_token_id"] = json!(4);
        config["vocab_size"] = json!(500);
    });
    rewrite(other.path(), |name, view| {
        let (dtype, mut shape, mut bytes) = stored(view);
        if name.contains("embed_tokens") {
            shape[0] = 500;
            bytes.truncate(500 * shape[1] * 4);
        }
        Some((name.to_owned(), (dtype, shape, bytes)))
    });
    edit(&other.path().join("tokenizer.json"), |tokenizer| {
        tokenizer["normalizer"] = json!({"type": "Replace", "pattern": {"String": " "}, "content": "_"});
        tokenizer["model"]["vocab"].as_object_mut().unwrap().insert("of one only".to_owned(), json!(511));
        tokenizer["model"]["merges"].as_array_mut().unwrap().pop();
        tokenizer["added_tokens"][1]["special"] = json!(false);
    });
    let problems = refusal(other.path(), &fixture::path(NARROW), out.path());
    assert_problems(
        &problems,
        &[
            "the encoder's vocab_size is 500, the decoder's is 512",
            "the encoder's bos_token_id is 3, the decoder's is 2",
            "the encoder's pad_token_id is 4, the decoder's is 0",
            "tokenizers differ: 1 pieces have another id",
            "tokenizers differ: their merges",
            "tokenizers differ: their added or special tokens",
            "tokenizers differ: their normalisers",
            "is not empty",
        ],
    );
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 1, "nothing is written");
}

#[test]
fn a_gemma_2_and_a_gemma_3_are_no_pair_and_neither_are_gemma_3_of_different_widths() {
    let out = TempDir::new().unwrap();
    let problems = refusal(&fixture::path(NARROW), &fixture::path(GEMMA3), out.path());
    assert_problems(&problems, &["the encoder's source is a Gemma 2, the decoder's a Gemma 3"]);
    let problems = refusal(&fixture::path(GEMMA3), &fixture::path(NARROW), out.path());
    assert_problems(&problems, &["the encoder's source is a Gemma 3, the decoder's a Gemma 2"]);
    let wide = copied(GEMMA3);
    edit(&wide.path().join("config.json"), |config| config["hidden_size"] = json!(48));
    rewrite(wide.path(), |name, view| {
        let (dtype, mut shape, _) = stored(view);
        let of_head = name.ends_with("q_norm.weight") || name.ends_with("k_norm.weight");
        shape.iter_mut().filter(|size| **size == 32 && !of_head).for_each(|size| *size = 48);
        let bytes = vec![0; shape.iter().product::<usize>() * 4];
        Some((name.to_owned(), (dtype, shape, bytes)))
    });
    let problems = refusal(wide.path(), &fixture::path(GEMMA3), out.path());
    assert_problems(&problems, &["the encoder's hidden_size is 48, the decoder's is 32: a T5Gemma 2 has one table"]);
}

#[test]
fn a_gemma_3_with_an_output_table_of_its_own_is_refused_as_a_decoder() {
    let (source, out) = (copied(GEMMA3), TempDir::new().unwrap());
    untie(source.path());
    let problems = refusal(&fixture::path(GEMMA3), source.path(), out.path());
    assert_problems(&problems, &["the decoder's source has an output table of its own"]);
    adapted(source.path(), &fixture::path(GEMMA3));
}

#[test]
fn what_is_no_usable_gemma_2_is_refused_with_the_reasons_of_both_sources() {
    let (quantised, out) = (copied(NARROW), TempDir::new().unwrap());
    edit(&quantised.path().join("config.json"), |config| {
        config["quantization_config"] = json!({"quant_method": "gptq", "bits": 4});
    });
    let nowhere = PathBuf::from("/nowhere/at/all");
    let problems = refusal(&fixture::path("t5gemma-balanced"), quantised.path(), out.path());
    assert_problems(&problems, &["only \"gemma2 or gemma3\" checkpoints can be used", "quantization_config is there"]);
    assert_problems(&refusal(&nowhere, &nowhere, &out.path().join("new")), &["/nowhere/at/all"]);
    assert!(!out.path().join("new").exists());
}
