//! Requests are what the scenario says, and clients behave as it says.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::mock::{Mock, Script};
use crate::program::run;

fn scenario(mock: &Mock, text: &str) -> (tempfile::TempDir, crate::program::Ran) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("load.toml", text);
    write("prompts.jsonl", "{\"prompt\": \"one\"}\n{\"prompt\": \"two\", \"max_tokens\": 3}\n");
    write("schema.json", "{\"type\": \"object\"}");
    let path = folder.path().join("load.toml");
    let ran = run(&["--url", &mock.url(), "--scenario", path.to_str().unwrap()]);
    (folder, ran)
}

#[test]
fn a_mix_asks_each_endpoint_as_its_kind_says() {
    let mock = Mock::start(Script::default());
    let text = "[load]\nrequests = 60\nstages = [{ seconds = 20, clients = 4 }]\n\
        [[requests]]\nprompts = 'prompts.jsonl'\nmax_tokens = 9\n\
        [[requests]]\nendpoint = 'chat'\nschema = 'schema.json'\nstream = false\n\
        [[requests]]\nendpoint = 'embeddings'\nids = { from = 5, to = 8 }\nsource_tokens = 3\n\
        [[requests]]\nbeams = 2\nextra = { length_penalty = 0.5 }\n";
    let (_folder, ran) = scenario(&mock, text);
    assert_eq!((ran.code, ran.figure("completed")), (0, 60.0), "{}", ran.errors);
    let seen = mock.seen();
    let bodies = |keep: &dyn Fn(&Value) -> bool| -> Vec<Value> {
        seen.posts.iter().map(|(_, body)| body.clone()).filter(keep).collect()
    };
    let prompts = bodies(&|body| body["prompt"] == "two");
    assert!(prompts.iter().all(|body| body["max_tokens"] == 3 && body["stream"] == true) && !prompts.is_empty());
    let chats = bodies(&|body| body.get("messages").is_some());
    assert!(chats.iter().all(|body| body["response_format"]["type"] == "json_schema" && body.get("stream").is_none()));
    let embeddings = bodies(&|body| body.get("input").is_some());
    assert!(embeddings.iter().all(|body| body["input"].as_array().unwrap().len() == 3));
    let searches = bodies(&|body| body["use_beam_search"] == true);
    assert!(searches.iter().all(|body| body["n"] == 2 && body["length_penalty"] == json!(0.5)));
    let kinds = [chats.len(), embeddings.len(), searches.len()];
    assert!(kinds.iter().all(|kind| *kind > 3) && seen.posts.iter().all(|(_, body)| body["model"] == "mock"));
}

#[test]
fn clients_that_cancel_or_vanish_leave_and_slow_ones_are_kept_out_of_the_latencies() {
    let gap = Duration::from_millis(10);
    let mock = Mock::start(Script { gap, pieces: 60, ..Script::default() });
    let text = "[load]\nrequests = 12\nstages = [{ seconds = 20, clients = 12 }]\n[[requests]]\n\
        cancel = { share = 1.0, after_ms = 50 }\n";
    let (_folder, ran) = scenario(&mock, text);
    assert_eq!((ran.code, ran.figure("left"), ran.figure("completed")), (0, 12.0, 0.0), "{}", ran.errors);
    let begun = Instant::now();
    while mock.seen().left < 12 {
        assert!(begun.elapsed() < Duration::from_secs(5), "{} connections were closed", mock.seen().left);
        std::thread::sleep(gap);
    }
    let (_folder, ran) = scenario(
        &mock,
        &text.replace("cancel = { share = 1.0, after_ms = 50 }", "vanish = { share = 1.0, seconds = 0.2 }"),
    );
    assert_eq!((ran.code, ran.figure("left")), (0, 12.0), "{}", ran.errors);
    let few = Mock::start(Script { pieces: 5, ..Script::default() });
    let (_folder, ran) = scenario(
        &few,
        &text.replace("cancel = { share = 1.0, after_ms = 50 }", "slow = { share = 1.0, pause_ms = 40 }"),
    );
    assert_eq!((ran.code, ran.figure("completed"), ran.figure("mean_e2el_ms")), (0, 12.0, 0.0), "{}", ran.errors);
    assert!(ran.figure("duration") > 0.04, "{}", ran.figures);
}

#[test]
fn keys_and_headers_are_sent() {
    let mock = Mock::start(Script::default());
    let flags = ["--concurrency", "1", "--requests", "1", "--metrics", "off", "--api-key", "secret"];
    let ran = run(&[&["--url", &mock.url(), "--header", "X-Team: a"][..], &flags].concat());
    assert_eq!(ran.code, 0, "{}", ran.errors);
    let headers = &mock.seen().headers;
    assert_eq!((headers["authorization"].as_str(), headers["x-team"].as_str()), ("Bearer secret", "a"));
    assert!(!ran.figures.to_string().contains("secret"));
}
