//! A system that gives a running server no more memory.

use std::fs;

use futures_util::future::join_all;
use reqwest::Client;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};

use crate::demo::rows;
use crate::process::{SETTINGS, ServerProcess, command};

/// Lets a process have so many bytes more of memory than it has; none is as many as it likes.
fn allow(process: u32, more: Option<u64>) {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:")).expect("Linux says so");
    let bytes = 1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap();
    let maximum = getrlimit(Resource::As).maximum;
    let limit = Rlimit { current: more.map_or(maximum, |more| Some(bytes + more)), maximum };
    prlimit(Pid::from_raw(process.try_into().unwrap()), Resource::As, limit).unwrap();
}

/// A server that takes all memory from one place. Otherwise the C library has set address space aside for each thread,
/// which it hands out although the system gives no more.
fn start() -> ServerProcess {
    let mut command = command(&["serve", "--port", "0", "--threads", "1", "--dtype", "f32", "--config", SETTINGS]);
    ServerProcess::spawn(command.env("MALLOC_ARENA_MAX", "1"))
}

async fn post(server: &ServerProcess, body: &Value) -> reqwest::Response {
    Client::new().post(format!("http://{}/v1/completions", server.address)).json(body).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_for_which_the_system_has_no_memory_is_refused_and_its_neighbours_are_answered() {
    let server = start();
    let long = json!({"prompt": rows()[0].input, "stream": true, "ignore_eos": true, "max_tokens": 500,
        "speculation": "off"});
    let body = json!({"prompt": "word ".repeat(700_000), "max_tokens": 1});
    // Once without a limit, so that buffers of connections are there.
    assert_eq!(post(&server, &body).await.status(), 400, "it is too long");
    let mut stream = post(&server, &long).await;
    let mut text = String::from_utf8(stream.chunk().await.unwrap().unwrap().into()).unwrap();
    allow(server.id(), Some(3 << 20));
    // There is memory for the bytes of the second, and none for what is parsed of it.
    let middle = json!({"prompt": "word ".repeat(200_000), "max_tokens": 1});
    for body in [&body, &middle, &body, &middle] {
        let refused = post(&server, body).await;
        assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"1".parse().unwrap()));
        let refused: Value = refused.json().await.unwrap();
        assert_eq!(refused["error"]["code"], "out_of_memory", "{refused}");
    }
    while let Some(piece) = stream.chunk().await.unwrap() {
        text += std::str::from_utf8(&piece).unwrap();
    }
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    let short = json!({"prompt": rows()[0].input, "max_tokens": 4});
    assert_eq!(post(&server, &short).await.status(), 200);
    allow(server.id(), None);
    assert_eq!(post(&server, &body).await.status(), 400, "it is read again");
    server.terminate();
    assert_eq!(server.end().code(), Some(0));
}

/// Tokenising and answering cannot be refused half-way. A supervisor starts the program again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_memory_for_anything_else_ends_with_a_sentence_and_closes_its_connections() {
    let server = start();
    allow(server.id(), Some(0));
    let url = format!("http://{}/v1/completions", server.address);
    // Log-probabilities are kept until the answer is whole: a megabyte for each request.
    let body = json!({"prompt": "a game ".repeat(100), "max_tokens": 200, "n": 4, "logprobs": 20, "ignore_eos": true});
    let ask = async || Client::new().post(&url).json(&body).send().await.map(|answer| answer.status());
    let answers = join_all((0..64).map(|_| ask())).await;
    assert!(answers.iter().any(Result::is_err), "no connection was closed: {answers:?}");
    let (status, log) = server.end_with_log();
    assert_eq!(status.code(), Some(1), "{log:?}");
    let last = log.last().unwrap();
    assert!(last.starts_with("error: the system has no ") && last.contains("bytes of memory more"), "{log:?}");
}
