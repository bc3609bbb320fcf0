//! Many expensive forms of answers at once: answered or refused, in few processes, and others are unharmed.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use server::client_connection::Peer;

use crate::answer::Answer;
use crate::app::{App, wait_until};
use crate::demo::rows;
use crate::grammar_trials::{doubling, references};

const TRIALS: usize = 2;
const QUEUE_TIMEOUT: Duration = Duration::from_secs(2);
const KEPT_FORMS: usize = 4;
const KEPT_BYTES: usize = 2 << 20;
/// A completion of a few tokens takes so long at most, beside the flood and on a busy machine.
const SOON: Duration = Duration::from_secs(6);

fn settings() -> String {
    format!(
        "[limits]\nqueued_rows = 64\ntotal_choices = 64\nrunning_rows = 8\n\
         grammar_trials = {TRIALS}\ngrammar_trial_s = 1\nqueue_timeout_s = {}\n\
         cached_forms = {KEPT_FORMS}\ncached_form_bytes = {KEPT_BYTES}\n",
        QUEUE_TIMEOUT.as_secs()
    )
}

/// A form of one of eight kinds, unlike those of all other numbers.
fn form(number: usize) -> Value {
    let rules = |count: usize| (0..count).map(|rule| format!("T{rule}: \"a\" T{}\n", rule + 1)).collect::<String>();
    let properties = |count: usize| -> Value {
        (0..count).map(|name| (format!("p{number}-{name}"), json!({"enum": [name, "b"]}))).collect()
    };
    match number % 8 {
        0 => json!({"json": {"type": "array", "items": {"const": number}, "maxItems": 2}}),
        1 => json!({"json": {"allOf": [doubling(40)], "description": number.to_string()}}),
        2 => json!({"json": references(900 + number)}),
        3 => json!({"regex": format!("((a{{1,200}}){{1,200}}){{1,200}}b{{{number}}}")}),
        4 => json!({"regex": format!("[a-d]*a[a-d]{{13}}e{{{number}}}")}),
        5 => json!({"grammar": format!("start: T0\n{}T{number}00: \"x\"\n", rules(100 * number))}),
        6 => json!({"json": {"type": "object", "properties": properties(300), "additionalProperties": false}}),
        _ => json!({"json": {"type": "integer", "minimum": number, "maximum": 3}}),
    }
}

async fn ask(app: App, peer: usize, form: Value) -> Answer {
    let body = json!({"prompt": [5, 6, 7], "max_tokens": 16, "structured_outputs": form});
    let mut request = Request::post("/v1/completions").body(Body::from(body.to_string())).unwrap();
    request.extensions_mut().insert(Peer(([192, 0, 2, peer as u8], 4444).into()));
    Answer::read(app.send(request).await).await
}

/// Number of processes of a program.
fn processes(program: &Path) -> usize {
    let lines = fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    lines.filter(|line| line.starts_with(program.as_os_str().as_bytes())).count()
}

#[tokio::test]
async fn a_flood_of_expensive_forms_is_answered_or_refused_in_few_processes_and_harms_nobody() {
    // Trials of this test alone have this name.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("server");
    symlink(env!("CARGO_BIN_EXE_server"), &program).unwrap();
    let app = App::with_trial_program(&settings(), &program);
    let compiler = app.model().compiler.as_ref().unwrap();
    let plain = json!({"prompt": rows()[1].input_ids, "max_tokens": 12, "temperature": 0});
    let alone = app.post(&plain).await.choice().text;

    let began = Instant::now();
    let flood: Vec<_> = (0..48).map(|number| tokio::spawn(ask(app.clone(), number / 16, form(number)))).collect();
    let mut most = 0;
    while !flood.iter().all(tokio::task::JoinHandle::is_finished) {
        let asked = Instant::now();
        assert_eq!(app.post(&plain).await.choice().text, alone);
        assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
        // Later, processes whose requests have waited too long are on their way out.
        if began.elapsed() < QUEUE_TIMEOUT / 2 {
            most = most.max(processes(&program));
        }
        assert!(compiler.forms() <= KEPT_FORMS + flood.len());
    }
    assert!((1..=TRIALS).contains(&most), "{most} processes");
    let mut answered = 0;
    for (number, one) in flood.into_iter().enumerate() {
        let answer = one.await.unwrap();
        assert!([200, 400, 429, 503].contains(&answer.status.as_u16()), "{number}: {} {}", answer.status, answer.text);
        answered += usize::from(answer.status == 200);
    }
    assert!(answered > 0);

    app.idle().await;
    assert_eq!(app.engine().free_slots(), 64);
    wait_until(|| processes(&program) == 0).await;
    assert!(compiler.forms() <= KEPT_FORMS && compiler.kept_bytes() <= KEPT_BYTES, "{compiler:?}");
    let later = ask(app.clone(), 0, form(1000)).await;
    assert_eq!(later.status, 200, "{}", later.text);
}
