//! Faults inside the engine of the built program, as clients see them: logits that are no numbers, and a panic.

use std::os::unix::process::ExitStatusExt;

use futures_util::future::join_all;
use reqwest::Client;
use serde_json::{Value, json};

use crate::broken_pair;
use crate::preload::World;
use crate::process::{ServerProcess, command};

const SIGABRT: i32 = 6;

async fn post(server: &ServerProcess, body: &Value) -> reqwest::Response {
    Client::new().post(format!("http://{}/v1/completions", server.address)).json(body).send().await.unwrap()
}

/// The choices of an answer, which have neither its name nor its time.
async fn choices(server: &ServerProcess, body: &Value) -> String {
    let answer: Value = post(server, body).await.json().await.unwrap();
    assert!(answer["choices"].is_array(), "{answer}");
    answer["choices"].to_string()
}

fn asked(token: u32, seed: u64) -> Value {
    json!({"prompt": [2, 90, token, 92], "max_tokens": 40, "ignore_eos": true, "temperature": 0.8, "seed": seed, "n": 2,
        "logprobs": 3, "return_token_ids": true})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_logits_are_no_numbers_fails_and_its_neighbours_get_the_same_bytes() {
    let place = tempfile::tempdir().unwrap();
    broken_pair::write(place.path());
    let model = place.path().to_str().unwrap();
    let arguments = ["serve", "--port", "0", "--threads", "1", "--tokenizer", "none", "--model", model];
    let server = ServerProcess::spawn(&mut command(&arguments));
    let mut alone = Vec::new();
    for seed in 0..6 {
        alone.push(choices(&server, &asked(91, seed)).await);
    }
    let sound = (0..6).map(async |seed| choices(&server, &asked(91, seed)).await);
    let broken = (0..6).map(async |seed| {
        let whole = post(&server, &asked(broken_pair::TOKEN, seed)).await;
        assert_eq!((whole.status().as_u16(), &whole.headers()["x-should-retry"]), (500, &"false".parse().unwrap()));
        let whole: Value = whole.json().await.unwrap();
        assert_eq!(whole["error"]["code"], "internal_error");
        assert!(whole["error"]["message"].as_str().unwrap().contains("no finite logits"), "{whole}");
        let mut stream = asked(broken_pair::TOKEN, seed);
        stream["stream"] = true.into();
        let text = post(&server, &stream).await.text().await.unwrap();
        assert!(text.contains("no finite logits") && !text.contains("[DONE]"), "{text}");
    });
    let (beside, _) = tokio::join!(join_all(sound), join_all(broken));
    assert_eq!(beside, alone);
    assert_eq!(choices(&server, &asked(91, 3)).await, alone[3], "it goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_the_engine_ends_the_program_and_cuts_its_streams_off() {
    let world = World::new();
    let server = ServerProcess::spawn(&mut world.command(&["serve", "--port", "0", "--threads", "1"]));
    // A step has some looks at the clock, and these answers have a thousand steps.
    world.break_engine(200);
    let body = json!({"prompt": "A game.", "stream": true, "n": 8, "ignore_eos": true, "max_tokens": 1000,
        "speculation": "off"});
    let mut stream = post(&server, &body).await;
    let mut text = String::from_utf8(stream.chunk().await.unwrap().unwrap().into()).unwrap();
    assert!(text.contains("choices"), "{text}");
    let broken = loop {
        match stream.chunk().await {
            Ok(Some(piece)) => text += std::str::from_utf8(&piece).unwrap(),
            other => break other,
        }
    };
    let is_told = text.contains("\"internal_error\"");
    assert!((broken.is_err() || is_told) && !text.contains("[DONE]"), "a client takes it for a whole answer: {text}");
    let (status, log) = server.end_with_log();
    assert_eq!(status.signal(), Some(SIGABRT), "{log:?}");
    assert!(log.iter().any(|line| line.contains("the engine thread panicked")), "{log:?}");
}
