//! The tensor of a source from which each tensor comes.

use std::collections::BTreeSet;

use model::adaptation::Summary;
use model::{AdaptRequest, Checkpoint, TensorTable};
use safetensors::Dtype;
use tempfile::TempDir;

use super::sources::{NARROW, WIDE, adapted, document, request, tensors, untie, write};
use crate::fixture;
use crate::fixture::checkpoints::{converted, copied, rewrite, stored};

/// Name in Gemma 2 of a tensor of T5Gemma, written out name by name.
fn source_name(name: &str) -> String {
    let layer = |name: &str, parts: &[(&str, &str)]| {
        let (_, after) = name.split_once(".layers.").unwrap();
        let (layer, part) = after.split_once('.').unwrap();
        let part = parts.iter().find(|(own, _)| *own == part).map_or(part, |(_, source)| source);
        format!("model.layers.{layer}.{part}")
    };
    match name {
        "model.encoder.embed_tokens.weight" | "model.decoder.embed_tokens.weight" => "model.embed_tokens.weight".into(),
        "model.encoder.norm.weight" | "model.decoder.norm.weight" => "model.norm.weight".into(),
        "lm_head.out_proj.weight" => "lm_head.weight".into(),
        _ => layer(
            name,
            &[
                ("pre_self_attn_layernorm.weight", "input_layernorm.weight"),
                ("post_self_attn_layernorm.weight", "post_attention_layernorm.weight"),
                ("pre_cross_attn_layernorm.weight", "input_layernorm.weight"),
                ("post_cross_attn_layernorm.weight", "post_attention_layernorm.weight"),
                ("cross_attn.q_proj.weight", "self_attn.q_proj.weight"),
                ("cross_attn.k_proj.weight", "self_attn.k_proj.weight"),
                ("cross_attn.v_proj.weight", "self_attn.v_proj.weight"),
                ("cross_attn.o_proj.weight", "self_attn.o_proj.weight"),
            ],
        ),
    }
}

#[test]
fn every_weight_of_a_balanced_pair_is_one_of_its_source() {
    let folder = fixture::path(NARROW);
    let out = TempDir::new().unwrap();
    let summary = write(request(&folder, &folder, out.path()));
    let (made, source) = (tensors(out.path()), tensors(&folder));
    for (name, tensor) in &made {
        assert!(*tensor == source[&source_name(name)], "{name}");
    }
    let checkpoint = Checkpoint::open(out.path()).unwrap();
    let table: BTreeSet<&str> = made.keys().map(String::as_str).collect();
    assert_eq!(TensorTable::new(checkpoint.config()).iter().map(|(name, _)| name).collect::<BTreeSet<_>>(), table);
    let expected = Summary {
        parameters: checkpoint.config().parameters(),
        bytes: 4 * checkpoint.config().parameters(),
        copied: made.len(),
        random: 0,
        is_merged: false,
        has_tokenizer: true,
    };
    assert_eq!(summary, expected);
    let used: BTreeSet<String> = made.keys().map(|name| source_name(name)).collect();
    assert_eq!(used, source.into_keys().collect(), "no tensor of the source is left out");
}

#[test]
fn two_sources_of_one_shape_are_a_balanced_pair_and_each_gives_its_own_weights() {
    let other = copied(NARROW);
    rewrite(other.path(), |name, view| {
        let (dtype, shape, bytes) = stored(view);
        let reversed = bytes.chunks_exact(4).rev().flatten().copied().collect();
        Some((name.to_owned(), (dtype, shape, reversed)))
    });
    let out = adapted(other.path(), &fixture::path(NARROW));
    let (encoder, decoder) = (tensors(other.path()), tensors(&fixture::path(NARROW)));
    for (name, tensor) in tensors(out.path()) {
        let source = if name.starts_with("model.encoder.") { &encoder } else { &decoder };
        assert!(tensor == source[&source_name(&name)], "{name}");
    }
}

#[test]
fn an_unbalanced_pair_is_copied_but_for_its_cross_attention() {
    let sources = [WIDE, NARROW].map(fixture::path);
    let out = TempDir::new().unwrap();
    let summary = write(request(&sources[0], &sources[1], out.path()));
    let (wide, narrow) = (tensors(&sources[0]), tensors(&sources[1]));
    let made = tensors(out.path());
    let mut random = 0;
    for (name, tensor) in &made {
        if !name.contains("cross_attn") {
            let source = if name.starts_with("model.encoder.") { &wide } else { &narrow };
            assert!(*tensor == source[&source_name(name)], "{name}");
            continue;
        }
        random += 1;
        let (_, shape, bytes) = tensor;
        let is_zero = bytes.iter().all(|&byte| byte == 0);
        assert_eq!(is_zero, shape.len() == 1, "{name}: norms are zero, matrices are not");
    }
    // Four layers with four matrices and two norms each.
    assert_eq!((summary.random, random, summary.copied), (24, 24, made.len() - 24));
    let shape = |name: &str| made[&format!("model.decoder.layers.3.cross_attn.{name}.weight")].1.clone();
    assert_eq!([shape("q_proj"), shape("o_proj")], [[64, 32], [32, 64]]);
    assert_eq!([shape("k_proj"), shape("v_proj")], [[32, 48], [32, 48]]);
}

#[test]
fn random_cross_attention_follows_from_seed_and_name() {
    let made = |seed| {
        let out = TempDir::new().unwrap();
        write(AdaptRequest { seed, ..request(&fixture::path(WIDE), &fixture::path(NARROW), out.path()) });
        tensors(out.path())
    };
    let (first, second) = (made(1), made(2));
    assert!(first == made(1));
    let key = |layer: u32| format!("model.decoder.layers.{layer}.cross_attn.k_proj.weight");
    assert!(first[&key(0)] != second[&key(0)] && first[&key(0)] != first[&key(1)]);
    assert!(first.iter().filter(|(name, _)| !name.contains("cross_attn.")).all(|(name, own)| *own == second[name]));
    let numbers: Vec<f32> = first
        .iter()
        .filter(|(name, _)| name.contains("cross_attn.") && name.contains("proj"))
        .flat_map(|(_, (_, _, bytes))| bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)))
        .collect();
    let deviation = (numbers.iter().map(|number| number * number).sum::<f32>() / numbers.len() as f32).sqrt();
    assert!((deviation - 0.02).abs() < 5e-4, "{deviation}");
}

#[test]
fn the_sources_number_type_is_kept_for_every_tensor() {
    let source = copied(NARROW);
    rewrite(source.path(), |name, view| Some((name.to_owned(), converted(view, Dtype::BF16))));
    let out = adapted(source.path(), source.path());
    let original = tensors(source.path());
    for (name, tensor) in tensors(out.path()) {
        assert!(tensor.0 == Dtype::BF16 && tensor == original[&source_name(&name)], "{name}");
    }
    assert_eq!(document(&out.path().join("config.json"))["dtype"], "bfloat16");

    let mixed = adapted(&fixture::path(WIDE), source.path());
    for (name, (dtype, ..)) in tensors(mixed.path()) {
        let expected = if name.starts_with("model.encoder.") { Dtype::F32 } else { Dtype::BF16 };
        assert_eq!(dtype, expected, "{name}");
    }
    assert_eq!(document(&mixed.path().join("config.json"))["dtype"], "float32");
}

#[test]
fn an_output_table_of_its_own_is_carried_over_from_the_decoder_and_left_out_from_the_encoder() {
    let source = copied(NARROW);
    untie(source.path());
    let out = adapted(&fixture::path(NARROW), source.path());
    assert_eq!(tensors(out.path())["lm_head.out_proj.weight"], tensors(source.path())["lm_head.weight"]);
    let checkpoint = Checkpoint::open(out.path()).unwrap();
    assert!(!checkpoint.config().tie_word_embeddings);
    checkpoint.tensor("lm_head.out_proj.weight").unwrap();

    let out = adapted(source.path(), &fixture::path(NARROW));
    assert!(!tensors(out.path()).contains_key("lm_head.out_proj.weight"));
    assert!(Checkpoint::open(out.path()).unwrap().config().tie_word_embeddings);
}
