//! A request's answer does not depend on what else the server does.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::answer::{Choice, next_event};
use crate::app::App;
use crate::demo::{Row, rows};

/// Number of pages: too few for all requests to run at once, and for all running ones to grow.
const PAGES: usize = 22;
/// Number of pages that is as scarce if a page holds twice the tokens of a source.
const INT8_PAGES: usize = 16;
const REQUESTS: usize = 32;

/// One of many kinds of request; whole or streamed, greedy or seeded, with or without everything else.
fn request(index: usize, row: &Row) -> Value {
    let mut body = json!({
        "prompt": row.input, "max_tokens": 20 + index * 7 % 61, "temperature": 0, "return_token_ids": true,
        "ignore_eos": index.is_multiple_of(2), "stream": index.is_multiple_of(3),
    });
    let mut set = |name: &str, value: Value| body[name] = value;
    if !index.is_multiple_of(4) {
        set("temperature", json!(0.5 + 0.25 * (index % 4) as f64));
        set("seed", json!(1000 + index));
    }
    match index % 5 {
        0 => set("logprobs", json!(3)),
        1 => set("top_k", json!(20)),
        2 => set("top_p", json!(0.9)),
        3 => set("min_p", json!(0.05)),
        _ => set("min_tokens", json!(5)),
    }
    if index % 3 == 1 {
        set("n", json!(1 + index % 2 + index % 7 / 5));
    }
    if index % 7 < 3 {
        set("decoder_prompt", json!(row.greedy_ids[..2 + index % 3]));
        set("echo", json!(true));
        set("logprobs", json!(index % 2));
    }
    body
}

/// Each request on a server that never saw another one.
async fn alone(settings: &str, requests: &[Value]) -> Vec<Vec<Choice>> {
    let mut answers = Vec::new();
    for request in requests {
        answers.push(App::start(settings).post(request).await.choices());
    }
    answers
}

/// All at once, with too few pages, among clients that go away; how often somebody lost pages is told too.
async fn together(settings: &str, pages: usize, (requests, rows): (&[Value], &[Row])) -> (Vec<Vec<Choice>>, u64) {
    let app = App::with_pages(settings, pages);
    let leaving: Vec<_> =
        (0..12).map(|index| tokio::spawn(leave(app.clone(), index, rows[index].input.clone()))).collect();
    let answers = join_all(requests.iter().map(|request| app.spawn(request))).await;
    for client in leaving {
        client.await.unwrap();
    }
    app.idle().await;
    (answers.into_iter().map(|answer| answer.unwrap().choices()).collect(), app.api.metrics.preemptions.get())
}

/// A client that closes its stream in the middle, or before anything came.
async fn leave(app: App, index: usize, prompt: String) {
    let body =
        json!({"prompt": prompt, "stream": true, "n": 1 + index % 2, "ignore_eos": true, "max_tokens": 40, "seed": 1});
    tokio::time::sleep(Duration::from_millis(index as u64 * 7)).await;
    let mut response = app.open(&body).await;
    for _ in 0..index % 4 {
        next_event(response.body_mut()).await;
    }
}

/// Short sources let many run at once, so that their targets fight for pages; a few long ones make them wait.
fn mostly_short_rows() -> Vec<Row> {
    let mut rows = rows();
    rows.sort_by_key(|row| row.input_ids.len());
    rows.drain(REQUESTS - 4..56);
    rows
}

/// `model` is settings of the section, on one line each.
async fn batched_is_alone(model: &str, pages: usize) {
    let rows = mostly_short_rows();
    let requests: Vec<Value> = (0..REQUESTS).map(|index| request(index, &rows[index])).collect();
    let settings = |threads: usize| format!("[model]\n{model}\nthreads = {threads}\n");
    let expected = alone(&settings(1), &requests).await;
    assert!(expected.iter().any(|choices| choices.len() == 3) && expected.iter().any(|choices| choices.len() == 2));
    for threads in [1, 2] {
        let (answers, preemptions) = together(&settings(threads), pages, (&requests, &rows)).await;

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
