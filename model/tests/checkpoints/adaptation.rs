//! Encoder-decoders made of decoder-only checkpoints: which tensor comes from where, and what is refused.

use crate::fixture;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::fixture::checkpoints::{Stored, TENSORS, converted, copied, edit, rewrite, sharded, stored};
use crate::runner::Runner;
use kernels::Precision;
use kernels::cpu::{Cpu, Isa};
use model::adaptation::Summary;
use model::training::{Network, NetworkOptions};
use model::{AdaptRequest, Adaptation, Checkpoint, Error, TensorTable};
use safetensors::{Dtype, SafeTensors, serialize};
use serde_json::{Value, json};
use tempfile::TempDir;

const NARROW: &str = "gemma2-source";
const WIDE: &str = "gemma2-source-wide";

fn request(encoder: &Path, decoder: &Path, out: &Path) -> AdaptRequest {
    AdaptRequest { encoder: encoder.to_owned(), decoder: decoder.to_owned(), out: out.to_owned(), seed: 1 }
}

fn write(request: AdaptRequest) -> Summary {
    let adaptation = Adaptation::prepare(request).unwrap();
    let mut done = 0;
    let summary = adaptation.write(&mut |bytes| done += bytes).unwrap();
    assert_eq!((done, summary.bytes), (adaptation.bytes(), adaptation.bytes()), "the progress ends at the whole");
    summary
}

/// An encoder-decoder of two sources, in a folder of its own.
fn adapted(encoder: &Path, decoder: &Path) -> TempDir {
    let out = TempDir::new().unwrap();
    write(request(encoder, decoder, out.path()));
    out
}

fn tensors(folder: &Path) -> BTreeMap<String, Stored> {
    let bytes = fs::read(folder.join(TENSORS)).unwrap();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    read.iter().map(|(name, view)| (name.to_owned(), stored(&view))).collect()
}

fn document(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn refusal(encoder: &Path, decoder: &Path, out: &Path) -> Vec<String> {
    match Adaptation::prepare(request(encoder, decoder, out)).unwrap_err() {
        Error::Adaptation { problems } => problems,
        other => panic!("{other}"),
    }
}

/// Asserts that there is a problem with each of the parts, in their order, and no other.
fn assert_problems(problems: &[String], parts: &[&str]) {
    assert_eq!(problems.len(), parts.len(), "{problems:#?}");
    for (problem, part) in problems.iter().zip(parts) {
        assert!(problem.contains(part), "{part}: {problem}");
    }
}

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

/// Adds an output table that is not the embedding table.
fn untie(folder: &Path) {
    edit(&folder.join("config.json"), |config| config["tie_word_embeddings"] = json!(false));
    let bytes = fs::read(folder.join(TENSORS)).unwrap();
    let mut views = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let mut table = stored(&views.iter().find(|(name, _)| name == "model.embed_tokens.weight").unwrap().1);
    table.2.rotate_left(4);
    let table = safetensors::tensor::TensorView::new(table.0, table.1.clone(), &table.2).unwrap();
    views.push(("lm_head.weight".to_owned(), table));
    let written = serialize(views, None).unwrap();
    fs::write(folder.join(TENSORS), written).unwrap();
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

#[test]
fn an_adapted_model_is_served() {
    for encoder in [NARROW, WIDE] {
        let out = adapted(&fixture::path(encoder), &fixture::path(NARROW));
        let checkpoint = Checkpoint::open(out.path()).unwrap();
        let mut runner = Runner::new(Cpu::new(Isa::detect(), 1), &checkpoint, Precision::F32, 1);
        let (_, mut sequences) = runner.encode(&[&[2, 481, 373, 396, 344]], 1);
        for (score, best) in &runner.greedy(&mut sequences, 8)[0] {
            assert!(score.log_prob.is_finite() && score.log_prob <= 0.0, "{encoder}: {score:?}");
            assert!(best[0].log_prob > best[4].log_prob, "{encoder}: {best:?}");
        }
    }
}

/// The states of an encoder, read by the output table of its source.
fn encoder_logits(network: &Network, source: &[u32]) -> Vec<f32> {
    let states = network.encoder_states(&[source]).unwrap();
    let table = network.parameters()["model.encoder.embed_tokens.weight"].as_tensor();
    let logits = states.matmul(&table.t().unwrap()).unwrap();
    let capped = ((logits / 30.0).unwrap().tanh().unwrap() * 30.0).unwrap();
    capped.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn an_adapted_encoder_with_a_causal_mask_gives_its_sources_logits() {
    for name in [NARROW, WIDE] {
        let out = adapted(&fixture::path(name), &fixture::path(NARROW));
        let cases: Value = document(&fixture::path(&format!("{name}/cases.json")));
        let source: Vec<u32> = serde_json::from_value(cases[0]["input_ids"].clone()).unwrap();
        let bytes = fixture::bytes(&format!("{name}/expected.safetensors"));
        let expected = SafeTensors::deserialize(&bytes).unwrap();
        let (_, expected) = expected.iter().find(|(name, _)| name.ends_with("logits")).unwrap();
        let expected: Vec<f32> =
            expected.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let farthest = |encoder_causal| {
            let options = NetworkOptions { encoder_causal, ..NetworkOptions::default() };
            let logits = encoder_logits(&Network::open(out.path(), &options).unwrap(), &source);
            assert_eq!(logits.len(), expected.len());
            logits.iter().zip(&expected).map(|(own, theirs)| (own - theirs).abs()).fold(0.0, f32::max)
        };
        assert!(farthest(true) <= 1e-3, "{name}: {}", farthest(true));
        assert!(farthest(false) > 1.0, "{name}: an encoder that sees the whole source is another model");
    }
}

#[test]
fn adapted_checkpoints_load_in_transformers_and_compute_as_here() {
    let (untied, rounded) = (copied(NARROW), copied(NARROW));
    untie(untied.path());
    rewrite(rounded.path(), |name, view| Some((name.to_owned(), converted(view, Dtype::BF16))));
    let (narrow, wide) = (fixture::path(NARROW), fixture::path(WIDE));
    let pairs =
        [(&narrow, &narrow), (&wide, &narrow), (&wide, &untied.path().into()), (&narrow, &rounded.path().into())];
    let made = pairs.map(|(encoder, decoder)| adapted(encoder, decoder));
    let (source, target) = (&[2, 481, 373, 396, 344, 320, 331, 388, 439, 423, 355], &[2, 27, 372, 320]);
    let answers = fixture::transformers::ask(&made.each_ref().map(TempDir::path), source, target);
    for folder in &made {
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        let mut runner = Runner::new(Cpu::new(Isa::detect(), 1), &checkpoint, Precision::F32, 1);
        let (_, mut sequences) = runner.encode(&[source], 1);
        sequences[0].tokens = target.to_vec();
        let rows = runner.step(&sequences, |_| 0);
        let logits = runner.model.read_logits(rows, &runner.space);
        let Some(answers) = &answers else { continue };
        let answer = &answers[folder.path().to_str().unwrap()];
        assert_eq!(answer.architecture, "T5GemmaForConditionalGeneration");
        assert_eq!(answer.parameters, checkpoint.config().parameters());
        assert_eq!(logits.len(), answer.logits.iter().map(Vec::len).sum::<usize>());
        for (own, theirs) in logits.iter().zip(answer.logits.iter().flatten()) {
            assert!((own - theirs).abs() <= 1e-3, "{own} here, {theirs} in transformers");
        }
    }
}

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

#[test]
fn what_is_no_usable_gemma_2_is_refused_with_the_reasons_of_both_sources() {
    let (quantised, out) = (copied(NARROW), TempDir::new().unwrap());
    edit(&quantised.path().join("config.json"), |config| {
        config["quantization_config"] = json!({"quant_method": "gptq", "bits": 4});
    });
    let nowhere = PathBuf::from("/nowhere/at/all");
    let problems = refusal(&fixture::path("t5gemma-balanced"), quantised.path(), out.path());
    assert_problems(&problems, &["only \"gemma2\" checkpoints can be used", "quantization_config is there"]);
    assert_problems(&refusal(&nowhere, &nowhere, &out.path().join("new")), &["/nowhere/at/all"]);
    assert!(!out.path().join("new").exists());
}

#[test]
fn a_source_that_fails_halfway_leaves_an_empty_folder_behind() {
    let (source, out) = (copied(NARROW), TempDir::new().unwrap());
    let adaptation = Adaptation::prepare(request(source.path(), source.path(), out.path())).unwrap();
    fs::remove_file(source.path().join("generation_config.json")).unwrap();
    fs::create_dir(source.path().join("generation_config.json")).unwrap();
    let message = adaptation.write(&mut |_| ()).unwrap_err().to_string();
    assert!(message.contains("generation_config.json"), "{message}");
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
    fs::remove_dir(source.path().join("generation_config.json")).unwrap();
    adaptation.write(&mut |_| ()).unwrap();
}
