//! GGUF files as sources.

use std::fs;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use model::adaptation::Summary;
use model::{AdaptRequest, Adaptation, Error};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use tempfile::TempDir;

use super::sources::{NARROW, adapted, document, refusal, tensors, write};
use crate::fixture;
use crate::fixture::checkpoints::{Stored, TENSORS};

/// Numbers of the format's types.
const F32: u32 = 0;
const F16: u32 = 1;
const Q8_0: u32 = 8;
const BF16: u32 = 30;

/// Writes GGUF files.
struct Writer {
    settings: Vec<u8>,
    setting_count: u64,
    tensors: Vec<(String, Vec<usize>, u32, Vec<u8>)>,
}

impl Writer {
    /// A file with the settings of the narrow source.
    fn narrow() -> Self {
        let config = document(&fixture::path(NARROW).join("config.json"));
        let mut writer = Self { settings: Vec::new(), setting_count: 0, tensors: Vec::new() };
        writer.text("general.architecture", "gemma2");
        writer.text("tokenizer.chat_template", "{{ messages }}");
        writer.list("tokenizer.ggml.tokens", &["<pad>", "<eos>", "<bos>"]);
        for (name, field) in [
            ("gemma2.block_count", "num_hidden_layers"),
            ("gemma2.context_length", "max_position_embeddings"),
            ("gemma2.embedding_length", "hidden_size"),
            ("gemma2.feed_forward_length", "intermediate_size"),
            ("gemma2.attention.head_count", "num_attention_heads"),
            ("gemma2.attention.head_count_kv", "num_key_value_heads"),
            ("gemma2.attention.key_length", "head_dim"),
            ("gemma2.attention.sliding_window", "sliding_window"),
            ("tokenizer.ggml.bos_token_id", "bos_token_id"),
            ("tokenizer.ggml.eos_token_id", "eos_token_id"),
        ] {
            writer.whole(name, config[field].as_u64().unwrap() as u32);
        }
        writer.number("gemma2.attention.layer_norm_rms_epsilon", config["rms_norm_eps"].as_f64().unwrap() as f32);
        writer
    }

    fn setting(&mut self, name: &str, kind: u32, value: &[u8]) {
        self.settings.extend(text(name));
        self.settings.extend(kind.to_le_bytes());
        self.settings.extend(value);
        self.setting_count += 1;
    }

    fn whole(&mut self, name: &str, value: u32) {
        self.setting(name, 4, &value.to_le_bytes());
    }

    fn number(&mut self, name: &str, value: f32) {
        self.setting(name, 6, &value.to_le_bytes());
    }

    fn text(&mut self, name: &str, value: &str) {
        self.setting(name, 8, &text(value));
    }

    fn list(&mut self, name: &str, values: &[&str]) {
        let head = [8_u32.to_le_bytes().as_slice(), &(values.len() as u64).to_le_bytes()].concat();
        self.setting(name, 9, &[head, values.iter().flat_map(|value| text(value)).collect()].concat());
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend(self.setting_count.to_le_bytes());
        bytes.extend(&self.settings);
        let mut start = 0_u64;
        for (name, shape, kind, data) in &self.tensors {
            bytes.extend(text(name));
            bytes.extend((shape.len() as u32).to_le_bytes());
            shape.iter().rev().for_each(|size| bytes.extend((*size as u64).to_le_bytes()));
            bytes.extend(kind.to_le_bytes());
            bytes.extend(start.to_le_bytes());
            start += data.len().next_multiple_of(32) as u64;
        }
        for (.., data) in &self.tensors {
            bytes.resize(bytes.len().next_multiple_of(32), 0);
            bytes.extend(data);
        }
        bytes
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

/// The numbers in a type of GGUF, and the numbers that are read of them.
fn converted(bytes: &[u8], kind: u32) -> (Vec<u8>, Vec<f32>) {
    match kind {
        F32 => (bytes.to_vec(), numbers(bytes).collect()),
        F16 => {
            let short: Vec<f16> = numbers(bytes).map(f16::from_f32).collect();
            (short.iter().flat_map(|n| n.to_le_bytes()).collect(), short.iter().map(|n| n.to_f32()).collect())
        }
        BF16 => {
            let short: Vec<bf16> = numbers(bytes).map(bf16::from_f32).collect();
            (short.iter().flat_map(|n| n.to_le_bytes()).collect(), short.iter().map(|n| n.to_f32()).collect())
        }
        // A scale in half precision before 32 integers.
        _ => {
            let (mut blocks, mut read) = (Vec::new(), Vec::new());
            for block in numbers(bytes).collect::<Vec<_>>().chunks(32) {
                let largest = block.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
                let scale = f16::from_f32(largest / 127.0);
                blocks.extend(scale.to_le_bytes());
                for number in block {
                    let integer = (number / scale.to_f32()).round().clamp(-127.0, 127.0) as i8;
                    blocks.push(integer as u8);
                    read.push(f32::from(integer) * scale.to_f32());
                }
            }
            (blocks, read)
        }
    }
}

/// Name in GGUF of a tensor of Gemma 2, written out name by name.
fn gguf_name(name: &str) -> String {
    match name {
        "model.embed_tokens.weight" => return "token_embd.weight".to_owned(),
        "model.norm.weight" => return "output_norm.weight".to_owned(),
        _ => {}
    }
    let (layer, part) = name.strip_prefix("model.layers.").unwrap().split_once('.').unwrap();
    let part = match part.strip_suffix(".weight").unwrap() {
        "input_layernorm" => "attn_norm",
        "post_attention_layernorm" => "post_attention_norm",
        "pre_feedforward_layernorm" => "ffn_norm",
        "post_feedforward_layernorm" => "post_ffw_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        other => panic!("{other}"),
    };
    format!("blk.{layer}.{part}.weight")
}

/// The type in which a tensor is written here.
fn kind_of(name: &str) -> u32 {
    match name {
        _ if name.contains("norm") => F32,
        _ if name.contains("embed_tokens") || name.contains("down_proj") => Q8_0,
        _ if name.contains("q_proj") => F16,
        _ if name.contains("up_proj") => BF16,
        _ => F32,
    }
}

/// A GGUF file of the narrow source in a folder of its own, and the folder of a checkpoint with the same numbers.
fn gguf_and_folder() -> (TempDir, PathBuf, TempDir) {
    let folder = fixture::checkpoints::copied(NARROW);
    let bytes = fs::read(folder.path().join(TENSORS)).unwrap();
    let mut writer = Writer::narrow();
    let mut read: Vec<(String, Stored)> = Vec::new();
    for (name, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        let is_norm = view.shape().len() == 1;
        let stored: Vec<u8> =
            numbers(view.data()).flat_map(|number| if is_norm { number + 1.0 } else { number }.to_le_bytes()).collect();
        let (data, numbers) = converted(&stored, kind_of(&name));
        let back = |number: f32| if is_norm { number - 1.0 } else { number }.to_le_bytes();
        read.push((name.clone(), (Dtype::F32, view.shape().to_vec(), numbers.into_iter().flat_map(back).collect())));
        writer.tensors.push((gguf_name(&name), view.shape().to_vec(), kind_of(&name), data));
    }
    let views: Vec<_> = read
        .iter()
        .map(|(name, (dtype, shape, bytes))| {
            (name, safetensors::tensor::TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        })
        .collect();
    fs::write(folder.path().join(TENSORS), safetensors::serialize(views, None).unwrap()).unwrap();
    let place = TempDir::new().unwrap();
    let path = place.path().join("model.gguf");
    fs::write(&path, writer.bytes()).unwrap();
    (place, path, folder)
}

fn request(gguf: &Path, tokenizer: Option<PathBuf>, out: &Path) -> AdaptRequest {
    let [encoder, decoder, out] = [gguf, gguf, out].map(Path::to_owned);
    AdaptRequest { encoder, decoder, tokenizer, out, seed: 1 }
}

#[test]
fn a_gguf_gives_what_a_folder_with_the_same_numbers_gives() {
    let (_place, gguf, folder) = gguf_and_folder();
    let out = TempDir::new().unwrap();
    let tokenizer = folder.path().join("tokenizer.json");
    let Summary { has_tokenizer, random, .. } = write(request(&gguf, Some(tokenizer.clone()), out.path()));
    assert!(has_tokenizer && random == 0);
    let expected = adapted(folder.path(), folder.path());
    assert!(tensors(out.path()) == tensors(expected.path()));
    let config = |folder: &TempDir| document(&folder.path().join("config.json"));
    let (mut made, mut other) = (config(&out), config(&expected));
    // A GGUF file does not say how its original was initialised.
    for config in [&mut made, &mut other] {
        for place in ["", "/encoder", "/decoder"] {
            config.pointer_mut(place).and_then(Value::as_object_mut).unwrap().remove("initializer_range");
        }
    }
    assert_eq!(made, other);
    assert_eq!(fs::read(out.path().join("tokenizer.json")).unwrap(), fs::read(tokenizer).unwrap());
    assert_eq!(fs::read_to_string(out.path().join("chat_template.jinja")).unwrap(), "{{ messages }}");
}

#[test]
fn a_gguf_and_a_folder_may_be_a_pair() {
    let (_place, gguf, folder) = gguf_and_folder();
    let out = TempDir::new().unwrap();
    let tokenizer = Some(folder.path().join("tokenizer.json"));
    write(AdaptRequest { decoder: folder.path().to_owned(), ..request(&gguf, tokenizer, out.path()) });
    assert!(tensors(out.path()) == tensors(adapted(folder.path(), folder.path()).path()));
}

#[test]
fn a_tokenizer_without_a_gguf_is_refused() {
    let folder = fixture::path(NARROW);
    let out = TempDir::new().unwrap();
    let request = request(&folder, Some(folder.join("tokenizer.json")), out.path());
    let message = Adaptation::prepare(request).unwrap_err().to_string();
    assert!(message.contains("no source is a GGUF file"), "{message}");
}

#[test]
fn a_cut_gguf_is_refused_wherever_it_is_cut() {
    let (place, gguf, _folder) = gguf_and_folder();
    let bytes = fs::read(&gguf).unwrap();
    let out = TempDir::new().unwrap();
    let cut = place.path().join("cut.gguf");
    for length in (0..2_000).step_by(7).chain((2_000..bytes.len()).step_by(1_999)) {
        fs::write(&cut, &bytes[..length]).unwrap();
        let problems = refusal(&cut, &cut, out.path());
        assert!(problems.len() == 1 && problems[0].contains("cut.gguf"), "{length}: {problems:?}");
    }
}

#[test]
fn what_cannot_be_used_is_told_with_what_to_do() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("model.gguf");
    let message = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let out = TempDir::new().unwrap();
        match Adaptation::prepare(request(&path, None, out.path())).unwrap_err() {
            Error::Adaptation { problems } => problems.join("\n"),
            other => panic!("{other}"),
        }
    };
    assert!(message(b"{}").contains("does not begin as a GGUF file"));
    assert!(message(b"GGUF\x01\0\0\0").contains("neither 2 nor 3"));
    assert!(message(b"GGUF\0\0\0\x03").contains("big-endian"));
    let mut part = Writer::narrow();
    part.whole("split.count", 2);
    assert!(message(&part.bytes()).contains("llama-gguf-split --merge"));
    let mut unaligned = Writer::narrow();
    unaligned.whole("general.alignment", 0);
    assert!(message(&unaligned.bytes()).contains("unreadable"));
    let lacking = message(&Writer::narrow().bytes());
    assert!(lacking.contains("token_embd.weight is missing") || lacking.contains("token_embd.weight"), "{lacking}");
    let mut other = Writer::narrow();
    other.tensors.push(("token_embd.weight".to_owned(), vec![512, 32], 23, vec![0; 64]));
    let other = message(&other.bytes());
    assert!(other.contains("token_embd.weight is stored as type 23 of ggml; usable are F32"), "{other}");
    assert!(other.contains("blk.0.attn_q.weight is missing"), "{other}");
}
