//! A log that cannot be written, to the real process: nothing else may notice.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

use reqwest::Client;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::json;
use tokio::net::TcpStream;

use crate::answer::PATIENCE;
use crate::process::ServerProcess;

/// Standard errors that take nothing: a full disk, a pipe whose reader is gone, and a full pipe that nobody reads.
fn useless() -> Vec<(&'static str, Stdio, Option<std::io::PipeReader>)> {
    let full_disk = File::options().write(true).open("/dev/full").unwrap();
    let (reader, dead) = std::io::pipe().unwrap();
    drop(reader);
    let (reader, mut full) = std::io::pipe().unwrap();
    fill(&mut full);
    vec![
        ("full disk", full_disk.into(), None),
        ("dead pipe", OwnedFd::from(dead).into(), None),
        ("full pipe", OwnedFd::from(full).into(), Some(reader)),
    ]
}

/// Writes until the pipe takes nothing more.
fn fill(pipe: &mut std::io::PipeWriter) {
    let mut rest = pipe.try_clone().unwrap();
    let (done, filled) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while rest.write(&[b'x'; 4096]).is_ok() {
            let _ = done.send(());
        }
    });
    // A write that does not return has found the pipe full.
    while filled.recv_timeout(Duration::from_millis(100)).is_ok() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_log_that_cannot_be_written_changes_nothing() {
    for (name, stderr, _unread) in useless() {
        let server = ServerProcess::logging(&["--threads", "1", "--log-level", "trace"], stderr);
        let url = format!("http://{}/v1/completions", server.address);
        let body = json!({"prompt": "a fine tool", "max_tokens": 4, "ignore_eos": true, "temperature": 0});
        for _ in 0..4 {
            let answer = Client::new().post(&url).json(&body).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{name}");
        }
        let stream = json!({"prompt": "a fine tool", "max_tokens": 500, "ignore_eos": true, "stream": true,
            "speculation": "off"});
        let mut answer = Client::new().post(&url).json(&stream).send().await.unwrap();
        let mut text = String::new();
        text.push_str(std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap());
        server.terminate();
        while let Some(chunk) = answer.chunk().await.unwrap() {
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        assert!(text.ends_with("data: [DONE]\n\n"), "{name}: the stream came to its end");
        assert_eq!(server.end().code(), Some(0), "{name}");
    }
}

/// Sets the number of files that a running process may have open.
fn allow_descriptors(process: u32, count: u64) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = Rlimit { current: Some(count), maximum };
    prlimit(Pid::from_raw(process.try_into().unwrap()), Resource::Nofile, limit).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn connections_that_cannot_be_accepted_do_not_end_accepting_though_it_cannot_be_logged() {
    let full_disk = File::options().write(true).open("/dev/full").unwrap();
    let server = ServerProcess::logging(&["--threads", "1", "--tokenizer", "none"], full_disk.into());
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count();
    allow_descriptors(server.id(), open as u64 + 1);
    let mut waiting = Vec::new();
    for _ in 0..8 {
        waiting.push(TcpStream::connect(server.address).await.unwrap());
    }
    // The system has the connections, and the server fails to get them.
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(waiting);
    allow_descriptors(server.id(), 1024);
    let url = format!("http://{}/ready", server.address);
    let answer = tokio::time::timeout(Duration::from_secs(10), reqwest::get(url)).await.expect("it accepts").unwrap();
    assert_eq!(answer.status(), 200);
    server.terminate();
    assert_eq!(server.end().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_log_that_has_reached_the_limit_of_a_file_s_size_does_not_end_the_server() {
    let file = tempfile::tempfile().unwrap();
    let server = ServerProcess::logging(&["--threads", "1", "--tokenizer", "none"], file.into());
    let Rlimit { maximum, .. } = getrlimit(Resource::Fsize);
    let limit = Rlimit { current: Some(1), maximum };
    prlimit(Pid::from_raw(server.id().try_into().unwrap()), Resource::Fsize, limit).unwrap();
    for _ in 0..3 {
        let answer = reqwest::get(format!("http://{}/version", server.address)).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    // The log has a thread of its own, which need not have come to them yet.
    let dropped = async || {
        let metrics = reqwest::get(format!("http://{}/metrics", server.address)).await.unwrap().text().await.unwrap();
        let count = metrics.lines().find_map(|line| line.strip_prefix("encdec_log_lines_dropped_total ")).unwrap();
        count.parse::<u64>().unwrap()
    };
    let began = Instant::now();
    while dropped().await < 2 {
        assert!(began.elapsed() < PATIENCE, "lines that cannot be written are counted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.terminate();
    assert_eq!(server.end().code(), Some(0));
}
