//! The rules of the house that a program can hold: who may import whom, sizes, names, reasons for unsafe code.
//!
//! Each rule lists everything that breaks it. A rule about something that does not exist yet holds.

use std::collections::BTreeSet;

use clap::CommandFactory;
use server::cli::Cli;
use server::config::{Config, DEFAULTS};
use toml::{Table, Value};
use tree::{Entry, entries, read};

#[path = "tidy/architecture.rs"]
mod architecture;
#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/images.rs"]
mod images;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/prose.rs"]
mod prose;
#[path = "tidy/rust.rs"]
mod rust;
#[path = "tidy/tree.rs"]
mod tree;

const FILE_LINES: usize = 400;
const MEDIAN_FILE_LINES: usize = 150;
const FUNCTION_LINES: usize = 70;
const FILE_BYTES: u64 = 1 << 20;
/// Lines above an `unsafe` among which its reason has to stand.
const REASON_LINES: usize = 10;
/// Each crate with the crates of this repository that it may import and the libraries that would betray its level.
const CRATES: [(&str, &[&str], &[&str]); 6] = [
    ("kernels", &[], &["axum", "tokio", "serde", "safetensors", "tokenizers"]),
    ("model", &["kernels"], &["axum", "tokio", "hyper", "reqwest", "prometheus"]),
    ("server", &["kernels", "model"], &[]),
    ("fuzz", &["model", "server"], &[]),
    ("loadtest", &[], &[]),
    // It compiles modules of the server by themselves.
    ("simulation", &["kernels", "model"], &["axum", "serde", "prometheus"]),
];
const UNSAFE_FILES: [&str; 39] = [
    "kernels/src/cpu/attend_full.rs",
    "kernels/src/cpu/attend_paged.rs",
    "kernels/src/cpu/attend_paged/int8/x86.rs",
    "kernels/src/cpu/attend_paged/x86.rs",
    "kernels/src/cpu/buffer.rs",
    "kernels/src/cpu/choose.rs",
    "kernels/src/cpu/pages.rs",
    "kernels/src/cpu/pool.rs",
    "kernels/src/cpu/product.rs",
    "kernels/src/cpu/product/gated.rs",
    "kernels/src/cpu/product/integer.rs",
    "kernels/src/cpu/quantized.rs",
    "kernels/src/cpu/screen.rs",
    "kernels/src/cpu/tile.rs",
    "kernels/src/cpu/tile/amx.rs",
    "kernels/src/cpu/tile/integer.rs",
    "kernels/src/cpu/tile/integer/bounds.rs",
    "kernels/src/cpu/tile/integer/scalar.rs",
    "kernels/src/cpu/tile/integer/x86.rs",
    "kernels/src/cpu/tile/scalar.rs",
    "kernels/src/cpu/tile/without_amx.rs",
    "kernels/src/cpu/tile/x86.rs",
    "kernels/src/cuda/absent.rs",
    "kernels/src/cuda/device.rs",
    "kernels/src/cuda/driver.rs",
    "kernels/src/cuda/driver/fetch.rs",
    "kernels/src/cuda/driver/pinned.rs",
    "kernels/src/cuda/driver/trial.rs",
    "kernels/src/cuda/library.rs",
    "kernels/src/cuda/memory.rs",
    "kernels/src/cuda/queue.rs",
    "kernels/src/cuda/replays.rs",
    "kernels/src/cuda/shim.rs",
    "kernels/src/gradient/product.rs",
    "kernels/src/isa.rs",
    "kernels/src/isa/amx.rs",
    "model/tests/steady.rs",
    "server/src/process/allocator.rs",
    "server/tests/steps/form_memory.rs",
];
const CATCH_ALL_NAMES: [&str; 8] = ["util", "utils", "common", "helper", "helpers", "types", "misc", "stuff"];
/// Languages of code.
const CODE_EXTENSIONS: [&str; 9] = ["rs", "cu", "cuh", "cc", "h", "js", "css", "html", "py"];
const TEXT_EXTENSIONS: [&str; 11] = ["rs", "toml", "md", "py", "sh", "cu", "cuh", "h", "js", "css", "html"];

fn hold(broken: Vec<String>) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

fn sources() -> impl Iterator<Item = Entry> {
    entries().into_iter().filter(Entry::is_source)
}

fn manifest(path: &str) -> Table {
    read(path).parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Dependencies of every kind, for every target.
fn dependencies(manifest: &Table) -> BTreeSet<String> {
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let scopes = targets.filter_map(Value::as_table).chain([manifest]);
    let tables = scopes.flat_map(|scope| kinds.map(|kind| scope.get(kind).and_then(Value::as_table)));
    tables.flatten().flat_map(Table::keys).cloned().collect()
}

#[test]
fn imports_point_one_way() {
    let mut broken = Vec::new();
    let workspace = manifest("Cargo.toml");
    let members = workspace["workspace"]["members"].as_array().unwrap();
    for member in members.iter().map(|member| member.as_str().unwrap()) {
        let Some((_, allowed, foreign)) = CRATES.iter().find(|(name, ..)| *name == member) else {
            broken.push(format!("{member}: CRATES in tidy.rs does not say what it may import"));
            continue;
        };
        let own = manifest(&format!("{member}/Cargo.toml"));
        for dependency in dependencies(&own) {
            let ours = CRATES.iter().any(|(name, ..)| *name == dependency);
            if (ours && !allowed.contains(&dependency.as_str())) || foreign.contains(&dependency.as_str()) {
                broken.push(format!("{member}/Cargo.toml: {member} must not know {dependency}"));
            }
        }
        if own.get("lints").and_then(|lints| lints.get("workspace")) != Some(&Value::Boolean(true)) {
            broken.push(format!("{member}/Cargo.toml: lacks the workspace's lints"));
        }
    }
    hold(broken);
}

#[test]
fn files_and_functions_stay_short() {
    let mut broken = Vec::new();
    let is_code = |entry: &Entry| CODE_EXTENSIONS.iter().any(|end| entry.is(end));
    for file in entries().into_iter().filter(is_code) {
        let lines = file.text().lines().count();
        if lines > FILE_LINES {
            broken.push(format!("{}: {lines} lines; split it by noun ({FILE_LINES} at most)", file.path));
        }
    }
    for source in sources() {
        for (line, lines) in rust::functions(rust::without_tests(&source.text())) {
            if lines > FUNCTION_LINES {
                broken.push(format!("{}:{line}: a function of {lines} lines ({FUNCTION_LINES} at most)", source.path));
            }
        }
    }
    let mut all: Vec<_> = sources().map(|source| source.text().lines().count()).collect();
    all.sort_unstable();
    let median = all[all.len() / 2];
    if median > MEDIAN_FILE_LINES {
        broken.push(format!("half of the source files have {median} lines or more ({MEDIAN_FILE_LINES} at most)"));
    }
    hold(broken);
}

#[test]
fn public_functions_take_no_tuples() {
    let mut broken = Vec::new();
    for source in sources() {
        let in_traits = source.path.starts_with("kernels/src/backend/");
        for line in rust::tuple_parameters(rust::without_tests(&source.text()), in_traits) {
            broken.push(format!("{}:{line}: takes a tuple; name its parts in a struct", source.path));
        }
    }
    hold(broken);
}

#[test]
fn no_file_or_folder_has_a_name_that_takes_in_anything() {
    let catch_all = |path: &str| {
        path.split('/').any(|part| CATCH_ALL_NAMES.contains(&part.split('.').next().expect("split is never empty")))
    };
    hold(entries().into_iter().map(|entry| entry.path).filter(|path| catch_all(path)).collect());
}

#[test]
fn every_source_file_says_what_it_is_for_and_belongs_to_its_crate() {
    let mut broken = Vec::new();
    let all: Vec<_> = entries().into_iter().filter(|entry| entry.is("rs")).collect();
    let texts: Vec<_> = all.iter().map(|entry| rust::code_only(&entry.text())).collect();
    for source in all.iter().filter(|entry| entry.path.split('/').nth(1) == Some("src")) {
        let path = &source.path;
        if source.is_source() && !source.text().starts_with("//!") {
            broken.push(format!("{path}: does not open with what lives here (//!)"));
        }
        let folders: Vec<_> = path.split('/').collect();
        let module = if source.stem() == "mod" { folders[folders.len() - 2] } else { source.stem() };
        let in_crate = |entry: &Entry| entry.path.split('/').next() == path.split('/').next();
        let declared = |(entry, text): (&Entry, &String)| in_crate(entry) && text.contains(&format!("mod {module};"));
        if !["lib", "main"].contains(&module) && !all.iter().zip(&texts).any(declared) {
            broken.push(format!("{path}: no module declares it, so it is never compiled"));
        }
    }
    hold(broken);
}

#[test]
fn unsafe_code_stays_in_its_files_and_has_reasons() {
    let mut broken = Vec::new();
    for file in entries().into_iter().filter(|entry| entry.is("rs")) {
        let (path, text) = (&file.path, file.text());
        let lines: Vec<_> = text.lines().collect();
        for (index, code) in rust::code_only(&text).lines().enumerate() {
            if !rust::has_word(code, "unsafe") {
                continue;
            }
            if !UNSAFE_FILES.iter().any(|allowed| *path == **allowed) {
                broken.push(format!("{path}:{}: unsafe code outside its files", index + 1));
            }
            // An unsafe function is a contract; reasons are due where it is called.
            if code.contains("unsafe fn ") {
                continue;
            }
            let above = &lines[index.saturating_sub(REASON_LINES)..=index];
            if !above.iter().any(|line| line.contains("SAFETY:")) {
                broken.push(format!("{path}:{}: unsafe without a SAFETY comment", index + 1));
            }
        }
    }
    hold(broken);
}

#[test]
fn nothing_is_left_for_later() {
    // In pieces, so that this file does not break its own rule.
    let marks = [("TO", "DO"), ("FIX", "ME"), ("XX", "X:"), ("todo", "!("), ("unimplemented", "!("), ("#[ign", "ore")];
    let marks = marks.map(|(start, end)| format!("{start}{end}"));
    let mut broken = Vec::new();
    for file in entries().into_iter().filter(|entry| TEXT_EXTENSIONS.iter().any(|end| entry.is(end))) {
        for (index, line) in file.text().lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(mark.as_str())) {
                broken.push(format!("{}:{}: {mark}", file.path, index + 1));
            }
        }
    }
    hold(broken);
}

#[test]
fn no_large_file_lives_outside_the_demo() {
    // Blocks of K-quants hold 256 numbers each, so that a model of them cannot be smaller.
    let may_be_large = ["model/demo/", "model/tests/fixtures/gemma3-gguf/model.gguf"];
    let large =
        |entry: &Entry| entry.bytes > FILE_BYTES && !may_be_large.iter().any(|allowed| entry.path.starts_with(allowed));
    let say = |entry: Entry| format!("{}: {} bytes ({FILE_BYTES} at most)", entry.path, entry.bytes);
    hold(entries().into_iter().filter(large).map(say).collect());
}

#[test]
fn every_setting_is_documented_and_known() {
    Config::from_layers(Vec::new()).expect("the settings in config.toml are those that the server reads");
    let undocumented = |(above, line): (&str, &str)| {
        let is_key = line.split_once('=').is_some_and(|(key, _)| !key.starts_with('#'));
        (is_key && !above.starts_with('#')).then(|| format!("config.toml: no comment above `{line}`"))
    };
    hold(DEFAULTS.lines().zip(DEFAULTS.lines().skip(1)).filter_map(undocumented).collect());
}

#[test]
fn every_flag_is_in_the_readme() {
    let readme = read("README.md");
    let mut command = Cli::command();
    command.build();
    let all = command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help").chain([&command]);
    let flags: BTreeSet<_> = all.flat_map(clap::Command::get_arguments).filter_map(clap::Arg::get_long).collect();
    assert!(flags.contains("port") && flags.contains("top-k"), "{flags:?}");
    let own = ["help", "version"];
    let missing = |flag: &&str| !own.contains(flag) && !readme.contains(&format!("`--{flag}"));
    hold(flags.into_iter().filter(missing).map(|flag| format!("README.md: --{flag} is missing")).collect());
}

#[test]
fn the_readme_and_the_gate_run_the_same_tests() {
    let command = "cargo test --workspace";
    for path in ["README.md", ".ci/run"] {
        let text = read(path);
        assert!(text.lines().any(|line| line.trim().ends_with(command)), "{path} runs `{command}`");
    }
}

#[test]
fn features_are_decided_in_two_files() {
    let decides = |entry: &Entry| {
        let code = rust::code_only(&entry.text());
        ["cfg(feature", "cfg(not(feature", "cfg!(feature"].iter().any(|mark| code.contains(mark))
    };
    let files: Vec<_> = sources().filter(decides).map(|entry| entry.path).collect();
    assert!(files.len() <= 2, "cfg(feature) in {files:?}");
}

/// Fields of a checkpoint's `config.json` that say what it is.
const CONFIG_FIELDS: [&str; 8] = [
    "model_type",
    "architectures",
    "is_encoder_decoder",
    "id2label",
    "tie_word_embeddings",
    "max_position_embeddings",
    "quantization_config",
    "encdec_causal",
];

#[test]
fn only_the_configuration_of_a_model_looks_into_a_checkpoints_json() {
    let looks = |entry: &Entry| {
        let text = entry.text();
        let code = rust::without_tests(&text);
        CONFIG_FIELDS.iter().any(|field| code.contains(&format!("\"{field}\"")))
    };
    let say = |entry: Entry| format!("{}: names a field of config.json", entry.path);
    let outside = sources().filter(|entry| !entry.path.starts_with("model/src/config/"));
    hold(outside.filter(looks).map(say).collect());
}

#[test]
fn the_environment_is_read_in_main_only() {
    let reads = |entry: &Entry| {
        let text = entry.text();
        let code = rust::code_only(rust::without_tests(&text));
        ["env::var", "env::vars", "env::var_os"].iter().any(|call| rust::has_word(&code, call))
    };
    let say = |entry: Entry| format!("{}: reads the environment", entry.path);
    hold(sources().filter(|entry| !entry.path.ends_with("/src/main.rs")).filter(reads).map(say).collect());
}

#[test]
fn every_cuda_file_has_its_rust_counterpart() {
    let all = entries();
    let paired = |cuda: &&Entry| {
        all.iter().any(|rust| rust.path.starts_with("kernels/src/") && rust.name() == format!("{}.rs", cuda.stem()))
    };
    let alone = all.iter().filter(|entry| entry.is("cu")).filter(|cuda| !paired(cuda));
    hold(alone.map(|cuda| format!("{}: no {}.rs in kernels/src", cuda.path, cuda.stem())).collect());
}
