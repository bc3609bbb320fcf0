//! A checkpoint that is replaced, overwritten, cut or removed under the running server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::demo::{folder, rows};
use crate::preload::World;
use crate::process::{SETTINGS, ServerProcess, command, end_output};

const WEIGHTS: &str = "model.safetensors";

/// A change to the file of the weights.
type Change = fn(&Path);

/// A copy of the demo.
struct Checkpoint(TempDir);

impl Checkpoint {
    fn new() -> Self {
        let copy = tempfile::tempdir().unwrap();
        for name in ["config.json", "generation_config.json", WEIGHTS, "tokenizer.json"] {
            fs::copy(folder().join(name), copy.path().join(name)).unwrap();
        }
        Self(copy)
    }

    fn weights(&self) -> PathBuf {
        self.0.path().join(WEIGHTS)
    }

    fn arguments(&self) -> [&str; 11] {
        let model = self.0.path().to_str().unwrap();
        ["serve", "--port", "0", "--threads", "1", "--dtype", "f32", "--config", SETTINGS, "--model", model]
    }
}

/// Gives the name to another file.
fn replace(weights: &Path) {
    let other = weights.with_extension("new");
    fs::write(&other, vec![0xA5; 1 << 20]).unwrap();
    fs::rename(other, weights).unwrap();
}

fn remove(weights: &Path) {
    fs::remove_file(weights).unwrap();
}

fn overwrite(weights: &Path) {
    let length = fs::metadata(weights).unwrap().len();
    fs::write(weights, vec![0xA5; usize::try_from(length).unwrap()]).unwrap();
}

fn cut(weights: &Path) {
    fs::File::options().write(true).open(weights).unwrap().set_len(1 << 12).unwrap();
}

/// The demo answers as it always does.
async fn assert_answers(server: &ServerProcess) {
    let row = &rows()[2];
    let body = json!({"prompt": row.input, "temperature": 0, "max_tokens": 48});
    let answer = Client::new().post(format!("http://{}/v1/completions", server.address)).json(&body).send();
    let answer: Value = answer.await.unwrap().json().await.unwrap();
    assert_eq!(answer["choices"][0]["text"], row.greedy_text, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_becomes_of_the_file_of_a_loaded_checkpoint_changes_no_answer() {
    let checkpoint = Checkpoint::new();
    let server = ServerProcess::spawn(&mut command(&checkpoint.arguments()));
    assert_answers(&server).await;
    // The first two concern the file that was loaded, the last one its name as well.
    for change in [overwrite, cut, replace, remove] {
        change(&checkpoint.weights());
        assert_answers(&server).await;
    }
    let maps = fs::read_to_string(format!("/proc/{}/maps", server.id())).unwrap();
    assert!(maps.contains("/server") && !maps.contains(WEIGHTS), "{maps}");
    server.terminate();
    assert_eq!(server.end().code(), Some(0));
}

/// Starts a change in the middle of loading; the program reads on when it is done.
fn change_while_loading(world: &Arc<World>, checkpoint: &Checkpoint, change: Change) -> std::thread::JoinHandle<()> {
    let (world, weights) = (Arc::clone(world), checkpoint.weights());
    world.hold_reading();
    std::thread::spawn(move || {
        world.wait_until_held();
        change(&weights);
        world.let_go();
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_that_is_replaced_or_removed_while_it_is_loaded_is_served_as_it_was() {
    for change in [replace, remove] {
        let (world, checkpoint) = (Arc::new(World::new()), Checkpoint::new());
        let changing = change_while_loading(&world, &checkpoint, change);
        let server = ServerProcess::spawn(&mut world.command(&checkpoint.arguments()));
        changing.join().unwrap();
        assert_answers(&server).await;
    }
}

#[test]
fn a_checkpoint_that_is_overwritten_or_cut_while_it_is_loaded_ends_the_start_with_its_name() {
    for change in [overwrite, cut] {
        let (world, checkpoint) = (Arc::new(World::new()), Checkpoint::new());
        let changing = change_while_loading(&world, &checkpoint, change);
        let mut command = world.command(&checkpoint.arguments());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = end_output(command);
        changing.join().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.starts_with("error: ") && error.lines().count() == 1, "{error}");
        assert!(error.contains(checkpoint.weights().to_str().unwrap()) && error.contains("changed"), "{error}");
    }
}
