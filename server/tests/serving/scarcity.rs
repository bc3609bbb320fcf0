//! A system that gives too little, to the real process: it ends with a sentence, and announces nothing.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::process::end_output;
use crate::train::fixture;

/// Somebody who is not root, for whom limits of threads hold.
const NOBODY: u32 = 65_534;
/// Somebody else: the threads of tests that run at the same time are counted by user.
const NOBODY_ELSE: u32 = 65_533;

/// The server under a limit that the shell sets.
fn limited(binary: &Path, limit: &str) -> Command {
    limited_command(binary, limit, &["serve", "--port", "0", "--threads", "1"])
}

/// Any command under a limit that the shell sets.
fn limited_command(binary: &Path, limit: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limit}; exec \"$0\" \"$@\"")]).arg(binary);
    command.args(arguments).env("RUST_BACKTRACE", "0");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn assert_one_sentence(limit: &str, output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{limit}: {output:?}");
    assert!(output.stdout.is_empty(), "{limit}: nothing is announced: {output:?}");
    assert!(error.starts_with("error: ") && error.lines().count() == 1, "{limit}: {error}");
    error
}

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_server"))
}

/// Copies the program. A process of its own writes: were it this one, whatever another test starts meanwhile would have
/// the file open for writing, and a file that is open for writing cannot be run.
fn copy_program(to: &Path) {
    let copied = Command::new("cp").arg(binary()).arg(to).status().unwrap();
    assert!(copied.success());
}

#[test]
fn too_few_file_descriptors_end_the_server_with_a_sentence() {
    for count in [10, 64, 200] {
        let limit = format!("ulimit -n {count}");
        let error = assert_one_sentence(&limit, &end_output(limited(binary(), &limit)));
        assert!(error.contains("file descriptors"), "{error}");
    }
}

#[test]
fn too_few_threads_end_the_server_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join("server");
    copy_program(&copy);
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    for count in 1..=5 {
        // Shells disagree about the letter.
        let limit = format!("ulimit -u {count} 2>/dev/null || ulimit -p {count}");
        let mut command = limited(&copy, &limit);
        if is_root {
            command.uid(NOBODY);
        }
        let error = assert_one_sentence(&limit, &end_output(command));
        assert!(error.contains("threads"), "{error}");
    }
}

/// A folder that anyone may use, with the program and what its commands read.
struct Workshop(tempfile::TempDir);

impl Workshop {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        copy_program(&place.path("server"));
        for (folder, name) in [("t5gemma-balanced", "init"), ("gemma2-source", "source")] {
            std::fs::create_dir(place.path(name)).unwrap();
            for file in ["config.json", "tokenizer.json", "model.safetensors"] {
                std::fs::copy(fixture(folder).join(file), place.path(name).join(file)).unwrap();
            }
        }
        let row = "{\"input\": \"a small library\", \"target\": \"lib\"}\n";
        std::fs::write(place.path("rows.jsonl"), row.repeat(8)).unwrap();
        let settings = "out = 'run'\nthreads = 2\n[model]\ninit = 'init'\n[objective]\nkind = 'seq2seq'\n[data]\n\
                        train = ['rows.jsonl']\n[[stage]]\nsteps = 1\nlearning_rate = 1e-3\n";
        std::fs::write(place.path("train.toml"), settings).unwrap();
        std::fs::set_permissions(place.0.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        place
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// Every command beside `serve` under a limit: it does what it should, or ends with a sentence.
    fn run(&self, limit: &str, change: impl Fn(&mut Command)) -> Vec<String> {
        let text = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let out = |name: &str| text(&format!("{name} {}", limit.replace(|letter: char| !letter.is_alphanumeric(), "")));
        let commands = [
            vec!["train".to_owned(), "--config".to_owned(), text("train.toml")],
            ["eval", "--threads", "2", "--metrics", "loss", "--data"]
                .map(str::to_owned)
                .into_iter()
                .chain([text("rows.jsonl")])
                .collect(),
            ["generate", "--threads", "2", "--max-tokens", "2", "one"].map(str::to_owned).to_vec(),
            vec!["quantize".to_owned(), "--scheme".to_owned(), "int8".to_owned(), "--out".to_owned(), out("int8")],
            vec![
                "adapt".to_owned(),
                "--encoder".to_owned(),
                text("source"),
                "--decoder".to_owned(),
                text("source"),
                "--out".to_owned(),
                out("adapted"),
            ],
        ];
        let mut sentences = Vec::new();
        for arguments in commands {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let mut command = limited_command(&self.path("server"), limit, &arguments);
            change(&mut command);
            let output = end_output(command);
            if output.status.code() != Some(0) {
                sentences.push(assert_one_sentence(&format!("{limit}: {arguments:?}"), &output));
            }
        }
        sentences
    }
}

#[test]
fn too_few_file_descriptors_end_every_command_with_a_sentence() {
    let place = Workshop::new();
    for count in [6, 7, 10, 16] {
        let sentences = place.run(&format!("ulimit -n {count}"), |_| ());
        assert_eq!(sentences.len(), 5);
        assert!(sentences.iter().all(|sentence| sentence.contains("file descriptors")), "{sentences:?}");
    }
    assert!(place.run("ulimit -n 64", |_| ()).is_empty());
}

#[test]
fn too_few_threads_end_every_command_with_a_sentence() {
    let place = Workshop::new();
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    for count in 1..=4 {
        // Shells disagree about the letter.
        let limit = format!("ulimit -u {count} 2>/dev/null || ulimit -p {count}");
        let sentences = place.run(&limit, |command| {
            if is_root {
                command.uid(NOBODY_ELSE);
            }
        });
        assert!(sentences.iter().all(|sentence| sentence.contains("threads")), "{sentences:?}");
        assert!(count > 1 || sentences.len() == 5, "{sentences:?}");
    }
}

#[test]
fn too_little_address_space_ends_every_command_with_a_sentence() {
    let place = Workshop::new();
    let sentences = place.run("ulimit -v 230000", |_| ());
    // Its threads have large stacks, and the engine a pool of pages; the other commands need less.
    for part in ["cannot start the threads", "for the page pool"] {
        assert!(sentences.iter().any(|sentence| sentence.contains(part)), "{part}: {sentences:?}");
    }
}

#[test]
fn memory_that_a_library_does_not_get_ends_the_command_with_a_sentence() {
    let place = Workshop::new();
    let config = std::fs::read_to_string(place.path("source/config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    // A table of 2 GiB.
    config["vocab_size"] = (1 << 24).into();
    std::fs::write(place.path("config.json"), config.to_string()).unwrap();
    std::fs::write(place.path("ids.jsonl"), "{\"input_ids\": [2, 3, 4]}\n").unwrap();
    let settings = "out = 'run'\nthreads = 1\n[model]\nconfig = 'config.json'\n[objective]\nkind = 'causal'\n[data]\n\
                    train = ['ids.jsonl']\n[[stage]]\nsteps = 1\nlearning_rate = 1e-3\n";
    std::fs::write(place.path("train.toml"), settings).unwrap();
    let limit = "ulimit -v 1500000";
    let settings = place.path("train.toml");
    let command = limited_command(binary(), limit, &["train", "--config", settings.to_str().unwrap()]);
    let sentence = assert_one_sentence(limit, &end_output(command));
    assert!(sentence.contains("the system has no 2147483648 bytes of memory more"), "{sentence}");
}
