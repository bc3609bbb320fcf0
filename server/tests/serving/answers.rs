//! The demo's answers in float32 against those of the reference.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::answer::{Answer, Choice};
use crate::app::App;
use crate::demo::{MAX_TOKENS, Row, rows};

const LOG_PROB_TOLERANCE: f64 = 1e-3;

fn request(prompt: Value) -> Value {
    json!({"prompt": prompt, "max_tokens": MAX_TOKENS, "temperature": 0, "logprobs": 0, "return_token_ids": true})
}

fn check(choice: &Choice, row: &Row) {
    let ids = |ids: &[u32]| ids.iter().map(|&id| u64::from(id)).collect::<Vec<_>>();
    assert_eq!(choice.prompt_ids, ids(&row.input_ids));
    assert_eq!(choice.ids, ids(&row.greedy_ids), "{}", row.input);
    assert_eq!(choice.text, row.greedy_text);
    assert_eq!(choice.finish.as_ref(), Some(&row.finish_reason));
    assert_eq!(choice.log_probs.len(), row.greedy_logprobs.len());
    for (ours, theirs) in choice.log_probs.iter().zip(&row.greedy_logprobs) {
        assert!((ours - theirs).abs() <= LOG_PROB_TOLERANCE, "{ours} is not {theirs}: {}", row.input);
    }
}

fn check_usage(answer: &Answer, rows: &[Row], cached_tokens: usize) {
    let source: usize = rows.iter().map(|row| row.input_ids.len()).sum();
    let generated: usize = rows.iter().map(|row| row.greedy_ids.len()).sum();
    let expected = json!({
        "prompt_tokens": source, "completion_tokens": generated, "total_tokens": source + generated,
        "prompt_tokens_details": {"cached_tokens": cached_tokens},
    });
    let mut usage = answer.usage();
    // Some of the texts repeat themselves, so that tokens are drafted.
    usage.as_object_mut().unwrap().remove("completion_tokens_details");
    assert_eq!(usage, expected);
}

#[tokio::test]
async fn the_demo_writes_what_the_reference_writes_whole_streamed_and_as_a_list() {
    let (app, rows) = (App::start(""), rows());
    assert_eq!(rows.len(), 60);
    let bodies: Vec<Value> = rows.iter().map(|row| request(json!(row.input))).collect();
    let whole = join_all(bodies.iter().map(|body| app.post(body))).await;
    for (answer, row) in whole.iter().zip(&rows) {
        check(&answer.choice(), row);
        check_usage(answer, std::slice::from_ref(row), 0);
    }
    let streams: Vec<Value> = bodies.into_iter().map(streamed).collect();
    let streamed = join_all(streams.iter().map(|body| app.post(body))).await;
    for (answer, row) in streamed.iter().zip(&rows) {
        check(&answer.choice(), row);
        check_usage(answer, std::slice::from_ref(row), row.input_ids.len());
        let last = answer.messages().pop().unwrap();
        assert_eq!(last["choices"], json!([]), "the usage comes in a chunk of its own");
    }
    let all: Vec<&str> = rows.iter().map(|row| row.input.as_str()).collect();
    let list = app.post(&request(json!(all))).await;
    let choices = list.choices();
    assert_eq!(choices.len(), rows.len());
    choices.iter().zip(&rows).for_each(|(choice, row)| check(choice, row));
    check_usage(&list, &rows, rows.iter().map(|row| row.input_ids.len()).sum());
    app.idle().await;
}

fn streamed(mut body: Value) -> Value {
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    body
}

#[tokio::test]
async fn a_target_is_scored_with_the_log_probabilities_it_was_generated_with() {
    let (app, rows) = (App::start(""), rows());
    let row = &rows[7];
    let body = json!({"prompt": row.input_ids, "decoder_prompt": row.greedy_ids, "echo": true, "logprobs": 2,
        "max_tokens": 0});
    let choice = app.post(&body).await.choice();
    assert_eq!((choice.text.as_str(), choice.finish.as_deref()), (row.greedy_text.as_str(), Some("length")));
    assert_eq!(choice.log_probs.len(), row.greedy_logprobs.len());
    for (ours, theirs) in choice.log_probs.iter().zip(&row.greedy_logprobs) {
        assert!((ours - theirs).abs() <= LOG_PROB_TOLERANCE, "{ours} is not {theirs}");
    }
    let body = json!({"prompt": row.input, "decoder_prompt": row.greedy_ids[..3], "echo": true, "temperature": 0,
        "max_tokens": 48, "return_token_ids": true});
    let choice = app.post(&body).await.choice();
    assert_eq!(choice.text, row.greedy_text, "what is forced is continued as if it had been chosen");
    let rest: Vec<u64> = row.greedy_ids[3..].iter().map(|&id| u64::from(id)).collect();
    assert_eq!(choice.ids, rest);
}
