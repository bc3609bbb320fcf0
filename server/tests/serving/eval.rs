//! `server eval`: its figures against those that the fixtures imply, over each kind of checkpoint, and what it refuses.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};
use serde_json::{Value, json};
use server::evaluation::{Bleu, Chrf, ChrfWords, Rouge};
use tempfile::TempDir;

use crate::demo::{MAX_TOKENS, rows};
use crate::process::{complaint, run};

const FLOAT32: [&str; 6] = ["eval", "--dtype", "f32", "--threads", "1", "--json"];
pub const LABELS: [&str; 3] = ["libs", "net", "games"];
const HIDDEN: usize = 32;
/// Scores of transformers 5.17 for the classifier below, one row per case of the balanced checkpoint.
pub const CLASS_SCORES: [[f64; 3]; 6] = [
    [-4.121838, -1.418422, 1.138718],
    [-0.693896, 1.019697, -2.204462],
    [-3.310169, -0.581760, -0.408049],
    [0.929819, -1.393493, -0.118464],
    [-0.402868, -2.350689, 2.023350],
    [0.530838, 0.778365, -0.186501],
];

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures").join(name)
}

/// A file with these rows.
pub fn data(folder: &TempDir, rows: impl IntoIterator<Item = Value>) -> String {
    let path = folder.path().join("rows.jsonl");
    let lines: Vec<String> = rows.into_iter().map(|row| row.to_string()).collect();
    fs::write(&path, lines.join("\n")).unwrap();
    text(&path).to_owned()
}

/// The JSON object that `eval` prints.
pub fn evaluated(arguments: &[&str]) -> Value {
    let output = run(&[&FLOAT32[..], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

pub fn assert_near(figures: &Value, name: &str, expected: f64, tolerance: f64) {
    let found = figures[name].as_f64().unwrap_or_else(|| panic!("{name}: {figures}"));
    assert!((found - expected).abs() < tolerance, "{name} is {found}, not {expected}");
}

/// A copy of a tiny checkpoint, its tensors and configuration changed.
pub fn changed(
    name: &str,
    tensors: impl FnOnce(&mut Vec<(String, Vec<usize>, Vec<u8>)>),
    config: impl FnOnce(&mut Value),
) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixture(name).join("tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    let bytes = fs::read(fixture(name).join("model.safetensors")).unwrap();
    let stored = SafeTensors::deserialize(&bytes).unwrap();
    let mut all =
        stored.iter().map(|(name, view)| (name.to_owned(), view.shape().to_vec(), view.data().to_vec())).collect();
    tensors(&mut all);
    let views = all
        .iter()
        .map(|(name, shape, bytes)| (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    fs::write(folder.path().join("model.safetensors"), serialize(views, None).unwrap()).unwrap();
    let mut json: Value = serde_json::from_slice(&fs::read(fixture(name).join("config.json")).unwrap()).unwrap();
    config(&mut json);
    fs::write(folder.path().join("config.json"), json.to_string()).unwrap();
    folder
}

/// Float32 numbers as they are stored.
fn stored(numbers: impl Iterator<Item = f32>) -> Vec<u8> {
    numbers.flat_map(f32::to_le_bytes).collect()
}

/// The balanced checkpoint's encoder with a head that is easy to make anywhere.
pub fn classifier(labels: Value) -> TempDir {
    let weight = |index: usize| (((index / HIDDEN * 31 + index % HIDDEN * 17) % 13) as f32 - 6.0) / 16.0;
    let head = [
        ("score.out_proj.weight", vec![3, HIDDEN], stored((0..3 * HIDDEN).map(weight))),
        ("score.out_proj.bias", vec![3], stored((0..3).map(|label| label as f32 / 8.0 - 0.25))),
    ];
    let tensors = |all: &mut Vec<(String, Vec<usize>, Vec<u8>)>| {
        all.retain(|(name, ..)| name.starts_with("model.encoder."));
        all.extend(head.map(|(name, shape, bytes)| (name.to_owned(), shape, bytes)));
    };
    changed("t5gemma-balanced", tensors, |config| {
        config["architectures"] = json!(["T5GemmaForSequenceClassification"]);
        config["is_encoder_decoder"] = json!(false);
        config["id2label"] = labels;
    })
}

pub fn case_ids(name: &str) -> Vec<Value> {
    let cases: Value = serde_json::from_slice(&fs::read(fixture(name).join("cases.json")).unwrap()).unwrap();
    cases.as_array().unwrap().iter().map(|case| case["input_ids"].clone()).collect()
}

#[test]
fn texts_are_those_of_the_fixture_and_have_its_figures() {
    let folder = tempfile::tempdir().unwrap();
    let all = rows();
    let path = data(&folder, all.iter().map(|row| json!({"input": row.input, "target": row.reference})));
    let out = folder.path().join("predictions.jsonl");
    let figures = evaluated(&["--data", &path, "--max-tokens", &MAX_TOKENS.to_string(), "--out", text(&out)]);
    let (mut rouge, mut bleu) = (Rouge::default(), Bleu::default());
    let [mut chrf, mut chrf_words] = [ChrfWords::None, ChrfWords::Pairs].map(Chrf::new);
    for row in &all {
        rouge.add(&row.greedy_text, &row.reference);
        bleu.add(&row.greedy_text, &row.reference);
        chrf.add(&row.greedy_text, &row.reference);
        chrf_words.add(&row.greedy_text, &row.reference);
    }
    let rouge = rouge.mean().unwrap();
    let expected = [
        ("rouge1", rouge.rouge1),
        ("rouge2", rouge.rouge2),
        ("rougeL", rouge.rouge_l),
        ("bleu", bleu.score()),
        ("chrf", chrf.score()),
        ("chrf++", chrf_words.score()),
        ("rows", all.len() as f64),
        ("accuracy", all.iter().filter(|row| row.greedy_text == row.reference).count() as f64 / all.len() as f64),
    ];
    expected.into_iter().for_each(|(name, value)| assert_near(&figures, name, value, 1e-9));
    assert_eq!([&figures["objective"], &figures["model"], &figures["arithmetic"]], ["seq2seq", "demo", "f32"]);
    let predictions = fs::read_to_string(out).unwrap();
    let mut sums = (0.0, 0.0);
    for (index, (line, row)) in predictions.lines().zip(&all).enumerate() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!([&line["input"], &line["wanted"], &line["written"]], [&row.input, &row.reference, &row.greedy_text]);
        assert_eq!(line["line"], index + 1);
        let tokens = line["target_tokens"].as_f64().unwrap();
        sums = (sums.0 + tokens * line["loss"].as_f64().unwrap(), sums.1 + tokens);
    }
    assert_near(&figures, "loss", sums.0 / sums.1, 1e-9);
    assert_near(&figures, "perplexity", (sums.0 / sums.1).exp(), 1e-6);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing partial is left");
}

#[test]
fn the_loss_of_what_the_fixture_writes_is_the_mean_of_its_log_probabilities() {
    let folder = tempfile::tempdir().unwrap();
    // What was cut short has no end token, and scoring it would put one there.
    let all: Vec<_> = rows().into_iter().filter(|row| row.finish_reason == "stop").collect();
    assert!(all.len() > 50);
    let path = data(&folder, all.iter().map(|row| json!({"input_ids": row.input_ids, "target_ids": row.greedy_ids})));
    let figures = evaluated(&["--data", &path, "--metrics", "loss"]);
    let log_probs: Vec<f64> = all.iter().flat_map(|row| row.greedy_logprobs.clone()).collect();
    assert_near(&figures, "loss", -log_probs.iter().sum::<f64>() / log_probs.len() as f64, 1e-3);
    assert_near(&figures, "target_tokens", log_probs.len() as f64, 0.5);
    assert_near(&figures, "token_accuracy", 1.0, 1e-9);
    assert_eq!((&figures["rougeL"], &figures["accuracy"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_model_that_writes_is_measured_by_the_labels_it_writes() {
    let folder = tempfile::tempdir().unwrap();
    let label =
        |index: usize, written: &str| if index.is_multiple_of(2) { written.to_owned() } else { "wrong".to_owned() };
    let labelled = rows().into_iter().take(8).enumerate();
    let path = data(
        &folder,
        labelled.map(|(index, row)| json!({"input": row.input, "label": label(index, &row.greedy_text)})),
    );
    let figures = evaluated(&["--data", &path]);
    assert_near(&figures, "accuracy", 0.5, 1e-9);
    assert!(figures["loss"].as_f64().unwrap() > 1.0 && figures["objective"] == "classify", "{figures}");
    let limited = evaluated(&["--data", &path, "--limit", "1", "--objective", "classify"]);
    assert_eq!([&limited["rows"], &limited["accuracy"]], [&json!(1), &json!(1.0)]);
}

#[test]
fn texts_have_a_loss_over_their_second_halves_and_long_ones_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = data(&folder, rows().into_iter().take(4).map(|row| json!({"text": row.input})));
    let figures = evaluated(&["--data", &path]);
    assert_eq!((&figures["objective"], &figures["cut_sources"]), (&json!("prefix_lm"), &json!(0)));
    let cut = evaluated(&["--data", &path, "--max-text-tokens", "10"]);
    assert_eq!((&cut["cut_sources"], &cut["target_tokens"]), (&json!(4), &json!(20)), "a text that is cut has no end");
    assert!(figures["loss"].as_f64().unwrap() > 1.0);
}

#[test]
fn long_sources_and_targets_are_cut_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path =
        data(&folder, rows().into_iter().take(4).map(|row| json!({"input": row.input, "target": row.reference})));
    let lengths = ["--max-source-tokens", "16", "--max-target-tokens", "4"];
    let figures = evaluated(&[&["--data", &path, "--metrics", "loss"][..], &lengths].concat());
    assert_eq!([&figures["cut_sources"], &figures["cut_targets"], &figures["target_tokens"]], [4, 4, 16]);
}

#[test]
fn without_json_there_is_a_table_with_a_line_for_each_figure() {
    let folder = tempfile::tempdir().unwrap();
    let path =
        data(&folder, rows().into_iter().take(2).map(|row| json!({"input": row.input, "target": row.greedy_text})));
    let output = run(&["eval", "--data", &path, "--dtype", "f32", "--metrics", "rouge,bleu"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    let cells: Vec<Vec<&str>> = printed.lines().map(|line| line.split_whitespace().collect()).collect();
    for expected in [["rougeL", "1.0000"], ["bleu", "100.0000"], ["rows", "2"], ["cut_sources", "0"]] {
        assert!(cells.iter().any(|line| line[..] == expected), "{expected:?}: {printed}");
    }
    assert!(!printed.contains("loss") && !printed.contains("chrf"), "{printed}");
}

#[test]
fn an_encoder_classifier_is_measured_by_its_classes() {
    let model = classifier(json!({"0": LABELS[0], "1": LABELS[1], "2": LABELS[2]}));
    let folder = tempfile::tempdir().unwrap();
    // The right class of the first four cases only.
    let wanted = [2, 1, 2, 0, 0, 0];
    let sources = case_ids("t5gemma-balanced").into_iter().zip(wanted);
    let path = data(&folder, sources.map(|(ids, class)| json!({"input_ids": ids, "label": LABELS[class]})));
    let out = folder.path().join("out.jsonl");
    let figures = evaluated(&["--model", text(model.path()), "--data", &path, "--out", text(&out)]);
    let surprise =
        |(scores, class): (&[f64; 3], usize)| scores.iter().map(|score| score.exp()).sum::<f64>().ln() - scores[class];
    let loss = CLASS_SCORES.iter().zip(wanted).map(surprise).sum::<f64>() / wanted.len() as f64;
    assert_near(&figures, "accuracy", 4.0 / 6.0, 1e-9);
    assert_near(&figures, "loss", loss, 1e-3);
    assert_eq!([&figures["architecture"], &figures["objective"]], ["encoder classifier", "classify"]);
    let predictions = fs::read_to_string(out).unwrap();
    let written = predictions.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["written"].clone());
    assert_eq!(written.collect::<Vec<_>>(), ["games", "net", "games", "libs", "games", "net"]);
}

#[test]
fn nothing_of_an_encoder_without_a_head_can_be_measured() {
    let only_encoder = |all: &mut Vec<(String, Vec<usize>, Vec<u8>)>| {
        all.retain(|(name, ..)| name.starts_with("model.encoder."));
    };
    let model = changed("t5gemma-balanced", only_encoder, |config| config["is_encoder_decoder"] = json!(false));
    let folder = tempfile::tempdir().unwrap();
    let path = data(&folder, [json!({"input": "a", "label": "net"})]);
    let line = complaint(&["eval", "--model", text(model.path()), "--data", &path]);
    assert!(line.contains("it has no classification head"), "{line}");
}

#[test]
fn a_classifier_takes_labels_that_it_knows_and_nothing_else() {
    let model = classifier(json!({"0": "libs", "1": "net", "2": "games"}));
    let folder = tempfile::tempdir().unwrap();
    let path = data(&folder, [json!({"input": "a", "label": "net"}), json!({"input": "b", "label": "web"})]);
    let line = complaint(&["eval", "--model", text(model.path()), "--data", &path]);
    assert!(line.contains(&format!("{path}:2: its label \"web\" is none of libs, net, games")), "{line}");
    let path = data(&folder, [json!({"input": "a", "target": "b"})]);
    let line = complaint(&["eval", "--model", text(model.path()), "--data", &path]);
    assert!(line.contains("encoder classifier cannot be evaluated on seq2seq rows"), "{line}");
    let output = run(&["eval", "--model", text(model.path()), "--data", &path, "--device", "cuda"]);
    assert_eq!(output.status.code(), Some(2), "the flag is to blame");
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains("is no encoder-decoder, and computed on the processor only"), "{line}");
}

#[test]
fn a_decoder_only_model_has_the_loss_that_its_logits_imply() {
    let source = fixture("gemma2-source");
    let folder = tempfile::tempdir().unwrap();
    let ids: Vec<u32> = serde_json::from_value(case_ids("gemma2-source").remove(0)).unwrap();
    let path = data(&folder, [json!({"input_ids": ids[1..]})]);
    let figures = evaluated(&["--model", text(&source), "--data", &path, "--objective", "causal"]);
    let bytes = fs::read(source.join("expected.safetensors")).unwrap();
    let stored = SafeTensors::deserialize(&bytes).unwrap();
    let logits = stored.tensor("logits").unwrap();
    let numbers: Vec<f64> =
        logits.data().as_chunks::<4>().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect();
    let vocab = *logits.shape().last().unwrap();
    let targets = ids[1..].iter().chain(&[1]);
    let surprise =
        |(row, &target): (&[f64], &u32)| row.iter().map(|logit| logit.exp()).sum::<f64>().ln() - row[target as usize];
    let loss = numbers.chunks(vocab).zip(targets).map(surprise).sum::<f64>() / ids.len() as f64;
    assert_near(&figures, "loss", loss, 1e-3);
    assert_eq!([&figures["architecture"], &figures["arithmetic"]], ["decoder-only model", "f32"]);
    assert_eq!(figures["target_tokens"], ids.len());
    let path = data(&folder, [json!({"input": "a", "target": "b"}), json!({"input": "c", "target": "d"})]);
    let figures = evaluated(&["--model", text(&source), "--data", &path, "--max-tokens", "3"]);
    assert!(figures["rougeL"].is_f64() && figures["loss"].is_f64(), "{figures}");
}

#[test]
fn a_causal_encoder_is_evaluated_though_it_is_not_served() {
    let causal = changed("t5gemma-balanced", |_| (), |config| config["encoder"]["encdec_causal"] = json!(true));
    let folder = tempfile::tempdir().unwrap();
    let figures = |model: &Path, source: &Value| {
        let path = data(&folder, [json!({"input_ids": source, "target_ids": [300, 301, 302]})]);
        evaluated(&["--model", text(model), "--data", &path, "--max-tokens", "4"])
    };
    let loss = |figures: &Value| figures["loss"].as_f64().unwrap();
    let both = |source: &Value| [causal.path(), &fixture("t5gemma-balanced")].map(|model| figures(model, source));
    let [one, other] = both(&json!([2]));
    assert!((loss(&one) - loss(&other)).abs() < 1e-3, "one token sees the same either way: {one} {other}");
    assert_eq!(one["chrf"], other["chrf"]);
    assert!(one["architecture"].as_str().unwrap().contains("causal"));
    let [one, other] = both(&case_ids("t5gemma-balanced")[3]);
    assert!((loss(&one) - loss(&other)).abs() > 1e-2, "{one} {other}");
    let line = complaint(&[
        "eval",
        "--model",
        text(causal.path()),
        "--quantize",
        "int8",
        "--data",
        text(&folder.path().join("rows.jsonl")),
    ]);
    assert!(line.contains("leave --quantize away"), "{line}");
}

#[test]
fn malformed_rows_are_named_by_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let good = json!({"input": "a", "target": "b"});
    for (bad, problem) in [
        (json!({"input": "a"}), "it has neither \"target\" nor \"target_ids\""),
        (json!({"input": "a", "target": ""}), "its \"target\" is empty"),
        (json!({"input": 1, "target": "b"}), "its \"input\" is not a string"),
        (json!({"input_ids": [2, 9999], "target": "b"}), "its token id 9999 is outside the vocabulary of 4096"),
        (json!("text"), "it is not a JSON object"),
    ] {
        let path = data(&folder, [good.clone(), bad]);
        let line = complaint(&["eval", "--data", &path]);
        assert!(line.contains(&format!("{path}:2: {problem}")), "{line}");
        evaluated(&["--data", &path, "--limit", "1", "--metrics", "loss"]);
    }
    let path = data(&folder, [json!({"input": "a"})]);
    let line = complaint(&["eval", "--data", &path]);
    assert!(line.contains(&format!("{path}:1: it has neither")), "{line}");
    let line = complaint(&["eval", "--data", &data(&folder, [])]);
    assert!(line.contains("no row can be used"), "{line}");
}

/// A copy of a tiny checkpoint whose final norm makes more of every number than float32 holds.
fn broken(name: &str, norm: &str) -> TempDir {
    let poison = |all: &mut Vec<(String, Vec<usize>, Vec<u8>)>| {
        let (.., bytes) = all.iter_mut().find(|(name, ..)| name == norm).unwrap();
        *bytes = stored(std::iter::repeat_n(f32::MAX, bytes.len() / 4));
    };
    changed(name, poison, |_| ())
}

#[test]
fn scores_that_are_no_numbers_are_an_error_that_names_the_rows() {
    let folder = tempfile::tempdir().unwrap();
    let row = |index: usize| json!({"input": format!("a library {index}"), "target": "lib"});
    let path = data(&folder, (0..12).map(row));
    let out = folder.path().join("out.jsonl");
    for (name, norm) in [("t5gemma-balanced", "model.decoder.norm.weight"), ("gemma2-source", "model.norm.weight")] {
        let model = broken(name, norm);
        for metrics in ["loss", "loss,rouge"] {
            let arguments =
                ["eval", "--model", text(model.path()), "--threads", "1", "--data", &path, "--metrics", metrics];
            let line = complaint(&[&arguments[..], &["--json", "--log-level", "off", "--out", text(&out)]].concat());
            let expected = format!(
                "{path}: the model has no answer to 12 of 12 rows (lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more): "
            );
            assert!(line.starts_with(&expected) && line.contains("finite"), "{line}");
        }
    }
    assert!(!out.exists());
}

#[test]
fn what_cannot_be_evaluated_is_one_clear_line_and_exit_1() {
    let folder = tempfile::tempdir().unwrap();
    let line = complaint(&["eval", "--data", "/nowhere/rows.jsonl"]);
    assert!(line.contains("/nowhere/rows.jsonl"), "{line}");
    let path = data(&folder, [json!({"text": "one two three"})]);
    let line = complaint(&["eval", "--data", &path, "--metrics", "loss,rouge"]);
    assert!(line.contains("rouge is not measured of prefix_lm rows"), "{line}");
    let line = complaint(&["eval", "--data", &path, "--objective", "causal"]);
    assert!(line.contains("choose --objective prefix_lm"), "{line}");
    let line = complaint(&["eval", "--data", &path, "--out", "/nowhere/out.jsonl"]);
    assert!(line.contains("/nowhere/out.jsonl"), "{line}");
    let line = complaint(&["eval", "--data", &path, "--tokenizer", "none"]);
    assert!(line.contains("has no tokenizer"), "{line}");
    let out = folder.path().join("out.jsonl");
    let line = complaint(&["eval", "--data", &path, "--model", "/nowhere/at/all", "--out", text(&out)]);
    assert!(line.contains("/nowhere/at/all"), "{line}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing partial is left");
    let line = complaint(&["eval", "--data", &path, "--model", text(folder.path())]);
    assert!(line.contains("holds no config.json"), "{line}");
    let path = data(&folder, [json!({"input": "one two", "target": "three"})]);
    let line = complaint(&["eval", "--data", &path, "--max-tokens", "5000"]);
    assert!(line.contains("length is 1024 tokens. However, max_tokens asks for 5000 tokens of target"), "{line}");
    let line = complaint(&["eval", "--data", &path, "--max-source-tokens", "1"]);
    assert!(line.contains("max_source_tokens must be above 1"), "{line}");
}
