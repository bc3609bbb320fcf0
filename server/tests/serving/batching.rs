//! A request's answer does not depend on what else the server does.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::answer::{Choice, next_event_if_any};
use crate::app::App;
use crate::demo::{Row, rows};

/// Number of pages: too few for all requests to run at once, and for all running ones to grow.
const PAGES: usize = 22;
/// Number of pages that is as scarce if a page holds twice the tokens of a source.
const INT8_PAGES: usize = 16;
const REQUESTS: usize = 32;

/// How tokens are drawn.
fn samplings() -> [Value; 7] {
    [
        json!({"temperature": 0}),
        json!({"temperature": 1.0}),
        json!({"temperature": 0.75, "top_k": 20}),
        json!({"temperature": 1.0, "top_p": 0.9}),
        json!({"temperature": 1.25, "min_p": 0.05}),
        json!({"temperature": 0, "min_tokens": 5}),
        json!({"temperature": 0.75, "min_tokens": 5}),
    ]
}

/// How an answer is asked for. `begin` is the number of ids of the expected answer that are given as decoder prompt.
struct Form {
    stream: bool,
    choices: u32,
    begin: usize,
    log_probs: Option<u32>,
}

const WHOLE: Form = Form { stream: false, choices: 1, begin: 0, log_probs: None };
const STREAM: Form = Form { stream: true, ..WHOLE };
const FORMS: [Form; 8] = [
    WHOLE,
    Form { log_probs: Some(3), ..STREAM },
    Form { choices: 2, ..WHOLE },
    Form { begin: 2, ..STREAM },
    Form { choices: 3, begin: 3, log_probs: Some(1), ..WHOLE },
    STREAM,
    Form { begin: 4, log_probs: Some(0), ..WHOLE },
    Form { choices: 3, ..STREAM },
];

/// Lengths of answers, and whether end tokens are ignored, so that the length is reached.
struct Length {
    max_tokens: u32,
    ignore_eos: bool,
}

const LENGTHS: [Length; 5] = [
    Length { max_tokens: 20, ignore_eos: true },
    Length { max_tokens: 48, ignore_eos: false },
    Length { max_tokens: 35, ignore_eos: true },
    Length { max_tokens: 80, ignore_eos: false },
    Length { max_tokens: 62, ignore_eos: true },
];

/// A request for each row. Samplings, forms and lengths take turns; their numbers have no common factor, so that every
/// request is of another kind.
fn requests(rows: &[Row]) -> Vec<Value> {
    let samplings = samplings();
    let kinds = samplings.iter().cycle().zip(FORMS.iter().cycle()).zip(LENGTHS.iter().cycle());
    let requests = rows.iter().zip(kinds).zip(1000..).map(|((row, ((sampling, form), length)), seed)| {
        let mut body = json!({
            "prompt": row.input, "return_token_ids": true, "seed": seed,
            "max_tokens": length.max_tokens, "ignore_eos": length.ignore_eos,
            "stream": form.stream, "n": form.choices, "logprobs": form.log_probs,
        });
        if form.begin > 0 {
            body["decoder_prompt"] = json!(row.greedy_ids[..form.begin]);
            body["echo"] = json!(true);
        }
        body.as_object_mut().unwrap().extend(sampling.as_object().unwrap().clone());
        body
    });
    requests.collect()
}

/// Answers of a server that each request has for itself.
async fn alone(settings: &str, requests: &[Value]) -> Vec<Vec<Choice>> {
    let mut answers = Vec::new();
    for request in requests {
        answers.push(App::start(settings).post(request).await.choices());
    }
    answers
}

/// Answers of a server that has all requests at once.
struct Together {
    answers: Vec<Vec<Choice>>,
    preemptions: u64,
}

/// Asks everything at once of a server with few pages, among clients that go away.
async fn together(app: &App, requests: &[Value], rows: &[Row]) -> Together {
    let visits = [1, 2].into_iter().flat_map(|choices| (0..6).map(move |events| Visit { choices, events }));
    let visits = visits.zip(rows).zip(0..);
    let leaving: Vec<_> = visits
        .map(|((visit, row), number)| {
            let arrival = Duration::from_millis(7 * number);
            tokio::spawn(leave(app.clone(), visit, row.input.clone(), arrival))
        })
        .collect();
    let answers = join_all(requests.iter().map(|request| app.spawn(request))).await;
    for client in leaving {
        client.await.unwrap();
    }
    app.idle().await;
    let answers = answers.into_iter().map(|answer| answer.unwrap().choices()).collect();
    Together { answers, preemptions: app.engine_metrics().preemptions.get() }
}

/// A client that asks for choices, reads some events of the stream, and closes it.
struct Visit {
    choices: u32,
    events: u32,
}

async fn leave(app: App, visit: Visit, prompt: String, arrival: Duration) {
    let Visit { choices, events } = visit;
    let body = json!({
        "prompt": prompt, "stream": true, "n": choices, "ignore_eos": true, "max_tokens": 40, "seed": 1,
    });
    tokio::time::sleep(arrival).await;
    let mut response = app.open(&body).await;
    // On a busy machine several tokens may come in one event, and the answer may be over before the client leaves.
    for _ in 0..events {
        if next_event_if_any(response.body_mut()).await.is_none() {
            break;
        }
    }
}

/// Short sources let many run at once, so that their targets fight for pages; a few long ones make them wait.
fn mostly_short_rows() -> Vec<Row> {
    let mut rows = rows();
    rows.sort_by_key(|row| row.input_ids.len());
    rows.drain(REQUESTS - 4..56);
    rows
}

/// Compares answers of a shared server with few pages to those of servers that each request has for itself. `model`
/// holds settings of the section, on one line each.
async fn batched_is_alone(model: &str, pages: usize) {
    let rows = mostly_short_rows();
    let requests = requests(&rows[..REQUESTS]);
    let settings = |threads: usize| format!("[model]\n{model}\nthreads = {threads}\n");
    let expected = alone(&settings(1), &requests).await;
    for threads in [1, 2] {
        let app = App::with_pages(&settings(threads), pages);
        let Together { answers, preemptions } = together(&app, &requests, &rows).await;

        assert!(preemptions > 0, "the pool was too large to show anything");
        for ((answer, expected), request) in answers.iter().zip(&expected).zip(&requests) {
            assert_eq!(answer, expected, "with {threads} threads: {request}");
        }
    }
}

#[tokio::test]
async fn batched_is_alone_in_float32_with_scarce_pages_cancellations_and_any_number_of_threads() {
    batched_is_alone("dtype = \"f32\"", PAGES).await;
}

#[tokio::test]
async fn batched_is_alone_in_bfloat16_with_scarce_pages_cancellations_and_any_number_of_threads() {
    batched_is_alone("dtype = \"bf16\"\ncross_kv = \"same\"", PAGES).await;
}

#[tokio::test]
async fn batched_is_alone_with_sources_kept_in_int8_with_scarce_pages_cancellations_and_any_number_of_threads() {
    batched_is_alone("dtype = \"bf16\"\ncross_kv = \"int8\"", INT8_PAGES).await;
}

#[tokio::test]
async fn batched_is_alone_with_int8_weights_with_scarce_pages_cancellations_and_any_number_of_threads() {
    batched_is_alone("dtype = \"bf16\"\nquantize = \"int8\"", INT8_PAGES).await;
}

#[tokio::test]
async fn batched_is_alone_with_int4_weights_with_scarce_pages_cancellations_and_any_number_of_threads() {
    batched_is_alone("dtype = \"bf16\"\nquantize = \"int4\"", INT8_PAGES).await;
}
