//! A process with several models: how it is told of them, what it says of them, and what it says when they cannot be
//! loaded.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use reqwest::Client;
use serde_json::{Value, json};

use crate::eval::fixture;
use crate::process::{ServerProcess, command, complaint, end, run, terminate};

/// Flags for the demo, and for a fixture without its tokenizer.
fn two_models() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("settings.toml");
    let text = format!(
        "[server]\nlog_format = \"json\"\ndrain_delay_s = 0\n\
        [[model]]\naliases = [\"first\"]\n\
        [[model]]\npath = {:?}\nserved_name = \"small\"\ntokenizer = \"none\"\n[model.limits]\nsource_tokens = 16\n\
        [limits]\npage_pool_bytes = 33_554_432\n",
        fixture("t5gemma-unbalanced").display().to_string()
    );
    std::fs::write(&settings, text).unwrap();
    let settings = settings.display().to_string();
    (folder, settings)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn models_of_a_file_are_served_under_names_and_aliases() {
    let (_folder, settings) = two_models();
    let server = ServerProcess::start(&["--config", &settings, "--threads", "1"]);
    let facts: Value = serde_json::from_str(&server.message[0]).unwrap();
    assert_eq!(facts["models"], "demo,small", "{facts}");
    let client = Client::new();
    for (asked, answered) in [("first", "demo"), ("small", "small")] {
        let request = client.post(format!("http://{}/v1/completions", server.address));
        let answer = request.json(&json!({"model": asked, "prompt": [5, 6], "max_tokens": 1})).send().await.unwrap();
        assert_eq!(answer.json::<Value>().await.unwrap()["model"], answered);
    }
    server.terminate();
    assert_eq!(server.end().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn models_that_share_threads_answer_at_once_as_one_after_the_other() {
    let (_folder, settings) = two_models();
    let server = ServerProcess::start(&["--config", &settings, "--threads", "2"]);
    let url = format!("http://{}/v1/completions", server.address);
    let ask = async |client: Client, url: String, model: &str, id: u32| {
        let body = json!({"model": model, "prompt": [5, id], "max_tokens": 24, "temperature": 0, "ignore_eos": true,
            "return_token_ids": true});
        let answer: Value = client.post(url).json(&body).send().await.unwrap().json().await.unwrap();
        answer["choices"][0]["token_ids"].clone()
    };
    let client = Client::new();
    let asked: Vec<_> = (6..12).flat_map(|id| [("demo", id), ("small", id)]).collect();
    let mut one_by_one = Vec::new();
    for (model, id) in &asked {
        one_by_one.push(ask(client.clone(), url.clone(), model, *id).await);
    }
    assert_eq!(one_by_one[1].as_array().unwrap().len(), 24);
    let at_once = asked.iter().map(|(model, id)| ask(client.clone(), url.clone(), model, *id));
    assert_eq!(futures_util::future::join_all(at_once).await, one_by_one);
}

#[test]
fn log_lines_about_a_model_tell_its_name() {
    let (_folder, settings) = two_models();
    let mut command = command(&["--config", &settings, "--threads", "1", "--log-level", "debug", "--port", "0"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(|line| line.unwrap());
    let until_ready = lines.take_while(|line| !line.contains(" listens on http://"));
    let lines: Vec<Value> = until_ready.map(|line| serde_json::from_str(&line).unwrap()).collect();
    terminate(&child);
    end(&mut child);
    let loaded = lines.iter().filter(|line| line["message"] == "the model is loaded");
    let names: Vec<_> = loaded.map(|line| line["span"]["model"].as_str().unwrap()).collect();
    assert_eq!(names, ["demo", "small"]);
    let ready = lines.iter().filter(|line| line["message"] == "a model is ready");
    let names: Vec<_> = ready.map(|line| line["model"].as_str().unwrap()).collect();
    assert_eq!(names, ["demo", "small"]);
}

#[test]
fn a_start_that_fails_tells_the_errors_of_all_models() {
    let broken = tempfile::tempdir().unwrap();
    let broken = broken.path().to_str().unwrap();
    let failed = complaint(&["--port", "0", "--model", "a=/nowhere/a", "--model", &format!("b={broken}")]);
    assert!(failed.starts_with("2 of 2 models cannot be served: `a`: cannot open /nowhere/a: "), "{failed}");
    assert!(failed.contains("; `b`: ") && failed.contains("config.json"), "{failed}");
    let good = fixture("t5gemma-unbalanced").display().to_string();
    let failed = complaint(&["--port", "0", "--tokenizer", "none", "--model", &good, "--model", "b=/nowhere/b"]);
    assert!(failed.starts_with("1 of 2 models cannot be served: `b`: "), "{failed}");
}

#[test]
fn names_that_clash_are_refused_before_anything_is_loaded() {
    let output = run(&["--model", "a=/nowhere/a", "--model", "a=/nowhere/b"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("model[1].served_name: `a` is a name or an alias already") && !said.contains("open"),
        "{said}"
    );
}
