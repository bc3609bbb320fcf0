//! `generate` and `bench` on the demo, and checkpoints that cannot be served: what is printed, and the exit code.

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::demo::{folder, rows};
use crate::process::{command, complaint, run};

const FLOAT32: [&str; 4] = ["--dtype", "f32", "--threads", "1"];

fn printed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A copy of the demo's folder without the file `left_out`.
fn copy_without(left_out: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"] {
        if name != left_out {
            std::fs::copy(folder().join(name), copy.path().join(name)).unwrap();
        }
    }
    copy
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn generate_prints_the_demos_answer_to_an_argument_and_to_standard_input() {
    let row = &rows()[2];
    let expected = format!("{}\n", row.greedy_text);
    let arguments = [["generate"].as_slice(), &FLOAT32].concat();
    assert_eq!(printed(&run(&[arguments.as_slice(), &[row.input.as_str()]].concat())), expected);
    for from_stdin in [[].as_slice(), &["-"]] {
        let mut child = command(&[arguments.as_slice(), from_stdin].concat());
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{}", row.input).unwrap();
        assert_eq!(printed(&child.wait_with_output().unwrap()), expected);
    }
}

#[test]
fn generate_gives_an_answer_the_form_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (schema, grammar) = (folder.path().join("schema.json"), folder.path().join("list.lark"));
    let fields =
        json!({"kind": {"enum": ["library", "game"]}, "size": {"type": "integer", "minimum": 0, "maximum": 99}});
    let all =
        json!({"type": "object", "properties": fields, "required": ["kind", "size"], "additionalProperties": false});
    std::fs::write(&schema, all.to_string()).unwrap();
    std::fs::write(&grammar, "start: WORD (\", \" WORD)*\nWORD: /[a-z]{2,6}/\n").unwrap();
    // Draws at a high temperature want anything.
    let answer = |form: &[&str], seed: &str| {
        let flags = ["generate", "--temperature", "3", "--seed", seed, "--max-tokens", "200"];
        printed(&run(&[&flags, form, &["This package contains a game."]].concat())).trim_end().to_owned()
    };
    for seed in ["1", "2"] {
        let record: Value = serde_json::from_str(&answer(&["--json-schema", text(&schema)], seed)).unwrap();
        assert!(["library", "game"].contains(&record["kind"].as_str().unwrap()));
        assert!((0..100).contains(&record["size"].as_i64().unwrap()));
        let words = answer(&["--grammar", text(&grammar)], seed);
        assert!(words.split(", ").all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())), "{words}");
        let date = answer(&["--regex", "20[0-9]{2}-[01][0-9]"], seed);
        assert!(date.len() == 7 && date.starts_with("20") && date.as_bytes()[4] == b'-', "{date}");
        let choice = answer(&["--choice", "red", "--choice", "deep blue"], seed);
        assert!(["red", "deep blue"].contains(&choice.as_str()), "{choice}");
    }
    let line = complaint(&["generate", "--regex", "(", "hello"]);
    assert!(line.contains("the answer's form cannot be used") && line.contains("unclosed group"), "{line}");
}

#[test]
fn generate_searches_with_beams_and_finds_the_best_of_the_choices() {
    let flags = ["generate", "--beams", "2", "--choice", "a game of cards", "--choice", "library to read files"];
    let arguments = [&flags[..], &["--choice", "fonts for a desktop", "--choice", "game of chess"]].concat();
    let source = "A small library that reads and writes calendar files.";
    let best = printed(&run(&[&arguments[..], &FLOAT32, &[source]].concat()));
    assert_eq!(best, "library to read files\n");
    let searched =
        printed(&run(&[&["generate", "--beams", "4", "--max-tokens", "8"], &FLOAT32[..], &[source]].concat()));
    assert!(searched.len() > 4, "{searched}");
    let refused = run(&["generate", "--beams", "4", "--temperature", "1", source]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}

#[test]
fn generate_draws_the_same_text_again_from_the_same_seed() {
    let sampled = |seed: &str| {
        let flags =
            ["generate", "--temperature", "1.5", "--top-k", "50", "--max-tokens", "24", "--seed", seed, "a game"];
        printed(&run(&flags))
    };
    let one = sampled("1");
    assert_eq!(one, sampled("1"));
    assert_ne!(one, sampled("2"));
}

#[test]
fn flags_that_make_no_sense_exit_2() {
    for arguments in [
        ["generate", "--temperature", "-1", "x"].as_slice(),
        &["generate", "--top-p", "0", "x"],
        &["generate", "--max-tokens", "0", "x"],
        &["bench", "--target", "1"],
        &["bench", "--batch", "0"],
        &["bench", "--port", "1"],
        &["serve", "--threads", "5000"],
        &["serve", "--port", "70000"],
        &["--dtype", "f16"],
        &["--log-level", "loud"],
        &["sing"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
}

#[test]
fn what_cannot_be_served_is_one_clear_line_and_exit_1() {
    let line = complaint(&["--shape", "xs-xs"]);
    assert!(line.contains("xs-xs") && line.contains("s-s"), "{line}");
    let line = complaint(&["serve", "--model", "/nowhere/at/all"]);
    assert!(line.contains("/nowhere/at/all"), "{line}");
    let without = copy_without("tokenizer.json");
    let line = complaint(&["serve", "--port", "0", "--model", text(without.path())]);
    assert!(line.contains("tokenizer.json") && line.contains("--tokenizer none"), "{line}");
    let line = complaint(&["generate", "--tokenizer", "none", "hello"]);
    assert!(line.contains("--tokenizer FILE"), "{line}");
    let line = complaint(&["generate", "--tokenizer", "/nowhere.json", "hello"]);
    assert!(line.contains("/nowhere.json"), "{line}");
    let line = complaint(&["serve", "--host", "192.0.2.1", "--port", "0"]);
    assert!(line.contains("cannot listen on 192.0.2.1:0"), "{line}");
}

#[test]
fn a_port_that_is_taken_is_one_clear_line_before_anything_is_loaded() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let port = address.port().to_string();
    let model = ["--model", "/nowhere/at/all"];
    let line = complaint(&[&["serve", "--port", &port], &model[..]].concat());
    assert!(line.contains(&format!("cannot listen on 127.0.0.1:{port}: choose another")), "{line}");
    assert!(line.contains("Address already in use"), "{line}");
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("config.toml");
    std::fs::write(&settings, format!("[server]\nprobe_address = \"{address}\"\n")).unwrap();
    let line = complaint(&[&["serve", "--port", "0", "--config", text(&settings)], &model[..]].concat());
    assert!(line.contains(&format!("cannot listen on {address} for probes")), "{line}");
    assert!(line.contains("Address already in use"), "{line}");
}

#[test]
fn a_broken_checkpoint_is_one_clear_line_and_exit_1() {
    let cut = copy_without("");
    let weights = cut.path().join("model.safetensors");
    let length = std::fs::metadata(&weights).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&weights).unwrap().set_len(length / 2).unwrap();
    let line = complaint(&["serve", "--port", "0", "--model", text(cut.path())]);
    assert!(line.contains("model.safetensors"), "{line}");
    std::fs::write(&weights, "").unwrap();
    assert!(complaint(&["generate", "--model", text(cut.path()), "x"]).contains("model.safetensors"));
    std::fs::remove_file(&weights).unwrap();
    assert!(complaint(&["bench", "--model", text(cut.path())]).contains("model.safetensors"));
    let broken = copy_without("");
    std::fs::write(broken.path().join("tokenizer.json"), "{\"version\": \"1.0\"").unwrap();
    assert!(complaint(&["generate", "--model", text(broken.path()), "x"]).contains("tokenizer"));
    std::fs::write(broken.path().join("config.json"), "{}").unwrap();
    assert!(complaint(&["generate", "--model", text(broken.path()), "x"]).contains("config.json"));
}

#[test]
fn prompts_that_generate_cannot_use_are_one_clear_line_and_exit_1() {
    assert!(complaint(&["generate", "--max-tokens", "2000", "x"]).contains("length is 1024 tokens"));
    let long = "a ".repeat(20_000);
    assert!(complaint(&["generate", &long]).contains("length is 1024 tokens"));
}

#[test]
fn bench_refuses_lengths_beyond_the_model_before_it_measures() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("config.toml");
    std::fs::write(&settings, "[limits]\ndraft_rows = 0\n").unwrap();
    let copying = complaint(&["bench", "--config", text(&settings), "--copying", "95"]);
    assert!(copying.contains("nothing is drafted here"), "{copying}");
    let source = ["bench", "--source", "5000", "--batch", "1"];
    assert!(complaint(&source).contains("length is 1024 tokens"));
    assert!(complaint(&["bench", "--target", "5000", "--batch", "1"]).contains("length is 1024 tokens"));
}

#[test]
fn bench_prints_a_json_line_for_each_batch_size() {
    let sizes = ["bench", "--source", "20", "--target", "200", "--batch", "1,3"];
    let output = printed(&run(&[sizes.as_slice(), &FLOAT32].concat()));
    let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    for (line, batch) in lines.iter().zip([1, 3]) {
        assert_eq!((&line["engine"], &line["shape"]), (&"encdec-f32".into(), &"demo".into()));
        assert_eq!(line["cross_kv"], "f32");
        let counts = ["source", "target", "batch"].map(|key| line[key].as_u64().unwrap());
        assert_eq!(counts, [20, 200, batch]);
        let number = |key: &str| line[key].as_f64().unwrap_or_else(|| panic!("{key}: {line}"));
        for key in ["encode_ms", "step_ms", "decode_tokens_per_s", "tokens_per_s"] {
            assert!(number(key) > 0.0, "{key}: {line}");
        }
        let floor_ms = number("step_bytes") / number("read_bytes_per_s") * 1e3;
        assert!((number("floor_ms") - floor_ms).abs() <= 1e-3, "{line}");
        let tokens_per_s = batch as f64 / number("step_ms") * 1e3;
        assert!((number("decode_tokens_per_s") / tokens_per_s - 1.0).abs() < 0.05, "{line}");
    }
    assert!(lines[1]["step_bytes"].as_u64() > lines[0]["step_bytes"].as_u64(), "more sequences, more K/V");
}

#[test]
fn bench_compares_beam_searches_with_as_many_sampled_rows() {
    let sizes = ["bench", "--beams", "2", "--source", "20", "--target", "40", "--batch", "2,4"];
    let output = printed(&run(&[sizes.as_slice(), &FLOAT32].concat()));
    let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    for (line, batch) in lines.iter().zip([2, 4]) {
        assert_eq!((&line["beams"], &line["batch"]), (&2.into(), &batch.into()));
        let number = |key: &str| line[key].as_f64().unwrap_or_else(|| panic!("{key}: {line}"));
        let ratio = number("beam_step_ms") / number("sampled_step_ms");
        assert!((number("ratio") / ratio - 1.0).abs() < 0.05, "{line}");
    }
    assert!(complaint(&["bench", "--beams", "2", "--batch", "3"]).contains("no multiple of 2 beams"));
}

#[test]
fn bench_compares_steps_under_each_control_with_steps_without() {
    let sizes = ["bench", "--controls", "--source", "8", "--target", "6", "--batch", "2"];
    let output = printed(&run(&[sizes.as_slice(), &FLOAT32].concat()));
    let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: std::collections::BTreeSet<_> = lines.iter().map(|line| line["control"].to_string()).collect();
    assert_eq!((lines.len(), names.len()), (10, 10));
    for line in lines {
        let number = |key: &str| line[key].as_f64().unwrap_or_else(|| panic!("{key}: {line}"));
        let [step_ms, free_step_ms, ratio] = ["step_ms", "free_step_ms", "ratio"].map(number);
        // Each is rounded to three decimals, and steps of the demo may take less than a hundredth.
        let rounding = 5.1e-4 * (1.0 + ratio.abs() + free_step_ms.abs());
        assert!((ratio * free_step_ms - step_ms).abs() <= rounding, "{line}");
    }
}

#[test]
fn bench_compares_answers_under_a_schema_with_free_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("schema.json");
    std::fs::write(&path, r#"{"type": "array", "items": {"type": "string", "maxLength": 9}, "minItems": 20}"#).unwrap();
    let sizes = ["bench", "--source", "8", "--target", "12", "--batch", "1,3", "--schema"];
    let output = printed(&run(&[&sizes[..], &[text(&path)], &FLOAT32].concat()));
    let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    for (line, batch) in lines.iter().zip([1, 3]) {
        let number = |key: &str| line[key].as_f64().unwrap_or_else(|| panic!("{key}: {line}"));
        assert_eq!((&line["batch"], number("filled")), (&batch.into(), 1.0));
        let ratio = number("schema_tokens_per_s") / number("free_tokens_per_s");
        assert!((number("ratio") / ratio - 1.0).abs() < 0.05, "{line}");
    }
    std::fs::write(&path, r#"{"type": "integer", "minimum": 3, "maximum": 2}"#).unwrap();
    assert!(complaint(&["bench", "--schema", text(&path)]).contains("minimum"));
    let without = ["bench", "--schema", text(&path), "--tokenizer", "none"];
    assert!(complaint(&without).contains("--tokenizer"));
}

#[test]
fn a_sweep_prints_every_precision_and_replaces_its_section_of_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.md");
    let page = text(&page);
    std::fs::write(page, "# Page\n\n<!-- sweep:begin -->\nold\n<!-- sweep:end -->\n\nafter\n").unwrap();
    let sizes = ["bench", "--sweep", "--source", "10", "--target", "60", "--batch", "1,2", "--threads", "1"];
    let printed = printed(&run(&[sizes.as_slice(), &["--report", page]].concat()));
    let lines: Vec<Vec<&str>> = printed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..5], ["precision", "batch", "encode_ms", "step_ms", "floor_ms"]);
    let measured =
        ["bf16", "int8", "int4", "f32"].into_iter().flat_map(|precision| [(precision, "1"), (precision, "2")]);
    for (line, (precision, batch)) in lines[1..].iter().zip(measured) {
        assert_eq!((line[0], line[1], line.len()), (precision, batch, 7));
        assert!(line[2..].iter().all(|figure| figure.parse::<f64>().is_ok_and(f64::is_finite)), "{line:?}");
    }
    assert_eq!((lines.len(), lines[9][0]), (10, "written"));
    let report = std::fs::read_to_string(page).unwrap();
    assert!(
        report.starts_with("# Page\n\n<!-- sweep:begin -->\n\n") && report.ends_with("<!-- sweep:end -->\n\nafter\n")
    );
    assert!(report.contains(&format!("\n    server {} --report {page}\n", sizes.join(" "))), "{report}");
    assert!(report.contains("(cross_kv) were in int8 beside bf16, int8, int4; f32 beside f32.\n"), "{report}");
    assert!(report.contains(&format!("| {} |", lines[4].join(" | "))) && !report.contains("old"), "{report}");
    let chart = std::fs::read_to_string(folder.path().join("step-time.svg")).unwrap();
    assert!(chart.starts_with("<svg") && chart.contains("bf16"));
}

#[test]
fn a_sweep_whose_report_cannot_be_written_says_so_before_it_measures() {
    let line = complaint(&["bench", "--sweep", "--report", "/nowhere/at/all.md"]);
    assert!(line.contains("/nowhere/at/all.md"), "{line}");
}

#[test]
fn a_sweep_that_measures_nothing_leaves_no_page_behind() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.md");
    let output = run(&["bench", "--sweep", "--source", "5000", "--batch", "1", "--report", text(&page)]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_profile_shows_encoder_and_decode_step_of_each_batch_size() {
    let printed =
        printed(&run(&["bench", "--profile", "--threads", "1", "--source", "20", "--target", "30", "--batch", "1,3"]));
    let tables: Vec<&str> = printed.split("\n\n").collect();
    assert_eq!(tables.len(), 5, "{printed}");
    for (table, title) in tables[1..].iter().zip([
        "encoder, batch 1: 20 source tokens",
        "decode step, batch 1: mean of 30 steps",
        "encoder, batch 3: 60 source tokens",
        "decode step, batch 3: mean of",
    ]) {
        assert!(table.starts_with(title), "{table}");
        let row = |name: &str| {
            let line = table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {table}"));
            let cells = line[name.len()..].split_whitespace().filter(|cell| *cell != "%");
            cells.map(|cell| cell.parse::<f64>().unwrap()).collect::<Vec<f64>>()
        };
        let (sum, outside, whole) = (row("sum"), row("outside the ops"), row("whole"));
        assert!((sum[1] + outside[0] - whole[1]).abs() < 2e-3 && outside[0] >= 0.0, "{table}");
        assert!(row("linear 192 x")[0] > 0.0);
        let own = if title.starts_with("encoder") { "attend_full" } else { "attend_paged" };
        assert!(row(own).iter().all(|figure| figure.is_finite()), "{table}");
    }
}

#[test]
fn a_profile_without_a_step_of_all_rows_says_so_instead_of_dividing_by_nothing() {
    let sizes = ["--source", "1000", "--target", "2", "--batch", "4", "--threads", "1"];
    let printed = printed(&run(&[&["bench", "--profile"], &sizes[..]].concat()));
    assert!(printed.ends_with("\n\ndecode step, batch 4: no step had all rows: raise --target\n"), "{printed}");
    assert!(!printed.contains("NaN"), "{printed}");
}

#[test]
fn bench_counts_the_bytes_of_a_quantised_model_and_names_it() {
    let lengths = ["bench", "--source", "4", "--target", "2", "--batch", "1", "--threads", "1"];
    let of = |quantize: &str| -> (String, u64) {
        let line: Value =
            serde_json::from_str(&printed(&run(&[&lengths[..], &["--quantize", quantize]].concat()))).unwrap();
        assert_eq!(line["cross_kv"], "int8");
        (line["engine"].as_str().unwrap().to_owned(), line["step_bytes"].as_u64().unwrap())
    };
    let [none, int8, int4] = ["none", "int8", "int4"].map(of);
    assert_eq!([&none.0, &int8.0, &int4.0], ["encdec-bf16", "encdec-int8", "encdec-int4"]);
    assert!(none.1 > int8.1 && int8.1 > int4.1, "{none:?} {int8:?} {int4:?}");
}
