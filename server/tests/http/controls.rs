//! Controls: as the engine gets them, refused by name where they are wrong, and options of how text is written.

use serde_json::{Value, json};
use server::request::{Controls, FailureKind, GenerationEvent, TokenBias};
use server::telemetry::Outcome;

use crate::app::{App, END, Setup, ids, wait_for};

/// The controls that the engine gets for a body with these fields.
async fn controls(fields: Value) -> Controls {
    let (app, mut hand) = App::by_hand(Setup::default());
    let mut body = json!({"prompt": "p", "max_tokens": 4});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let client = app.spawn(body);
    let submission = hand.submission().await;
    client.abort();
    (*submission.request.controls).clone()
}

#[tokio::test]
async fn controls_reach_the_engine_as_they_are_given() {
    assert_eq!(controls(json!({})).await, Controls::default());
    let neutral = json!({
        "repetition_penalty": 1.0, "presence_penalty": 0, "frequency_penalty": null, "no_repeat_ngram_size": 0,
        "logit_bias": {}, "allowed_token_ids": null, "bad_words": [], "stop_token_ids": [],
    });
    assert_eq!(controls(neutral).await, Controls::default());
    let given = controls(json!({
        "repetition_penalty": 1.5, "presence_penalty": -1, "frequency_penalty": 0.25, "no_repeat_ngram_size": 3,
        "logit_bias": {"12": 2.5, "7": -100}, "allowed_token_ids": [7, 12, 40], "bad_words": [[12], [7, 9]],
        "stop_token_ids": [40],
    }));
    let expected = Controls {
        repetition_penalty: 1.5,
        presence_penalty: -1.0,
        frequency_penalty: 0.25,
        no_repeat_ngram: 3,
        biases: vec![TokenBias { id: 7, bias: -100.0 }, TokenBias { id: 12, bias: 2.5 }],
        allowed: Some([7, 12, 40].into_iter().collect()),
        banned: vec![12],
        bad_words: vec![vec![7, 9]],
        stop_tokens: vec![40],
        ..Controls::default()
    };
    assert_eq!(given.await, expected);
}

#[tokio::test]
async fn a_bad_word_given_as_text_comes_with_and_without_a_space_in_front() {
    let (bare, inside) = (ids("one"), ids(" one"));
    assert!(bare != inside && bare.len() == inside.len(), "two ways to write it: {bare:?}, {inside:?}");
    let both = Controls { bad_words: vec![bare, inside], ..Controls::default() }.in_order();
    for word in ["one", " one"] {
        let given = controls(json!({"bad_words": [word]})).await;
        assert_eq!((&given.banned, &given.bad_words), (&both.banned, &both.bad_words), "{word:?}");
    }
}

#[tokio::test]
async fn wrong_controls_are_refused_by_name_and_reach_no_engine() {
    let (app, hand) = App::by_hand(Setup::default());
    let many: serde_json::Map<String, Value> = (0..1025).map(|id| (id.to_string(), json!(1))).collect();
    for (field, value, param, words) in [
        ("repetition_penalty", json!(0), "repetition_penalty", "between 0.01 and 100"),
        ("presence_penalty", json!(2.5), "presence_penalty", "between -2 and 2"),
        ("frequency_penalty", json!("1"), "frequency_penalty", "a number"),
        ("no_repeat_ngram_size", json!(1025), "no_repeat_ngram_size", "between 0 and 1024"),
        ("logit_bias", json!({"7": 101}), "logit_bias", "'logit_bias[7]' must be between -100 and 100"),
        ("logit_bias", json!({"7": "x"}), "logit_bias", "'logit_bias[7]' must be a number"),
        ("logit_bias", json!({"seven": 1}), "logit_bias", "token ids as names"),
        ("logit_bias", json!({"7": 1, "07": 2}), "logit_bias", "each token id once"),
        ("logit_bias", json!({"4096": 1}), "logit_bias", "token id 4096"),
        ("logit_bias", Value::Object(many), "logit_bias", "1025 biases; at most 1024"),
        ("logit_bias", json!([7]), "logit_bias", "an object"),
        ("allowed_token_ids", json!([]), "allowed_token_ids", "at least one id"),
        ("allowed_token_ids", json!([1, 4096]), "allowed_token_ids", "token id 4096"),
        ("bad_words", json!([""]), "bad_words", "not be empty"),
        ("bad_words", json!(["a", []]), "bad_words", "not be empty"),
        ("bad_words", json!(["a".repeat(257)]), "bad_words", "257 bytes; at most 256"),
        ("bad_words", json!([vec![7; 65]]), "bad_words", "65 token ids in one word; at most 64"),
        ("bad_words", json!(["\u{1}".repeat(65)]), "bad_words", "token ids in one word; at most 64"),
        ("bad_words", json!(vec![vec![7; 64]; 65]), "bad_words", "4160 token ids in all; at most 4096"),
        ("bad_words", json!(vec!["a"; 257]), "bad_words", "257 words as strings; at most 256"),
        ("bad_words", json!(vec![[7]; 769]), "bad_words", "769 words; at most 768"),
        ("bad_words", json!([7]), "bad_words", "a string or a list"),
        ("stop_token_ids", json!(vec![7; 65]), "stop_token_ids", "65 token ids; at most 64"),
        ("stop_token_ids", json!([-1]), "stop_token_ids", "not negative"),
        ("skip_special_tokens", json!(0), "skip_special_tokens", "true or false"),
    ] {
        let message = app.complete(json!({"prompt": "p", field: value})).await.error(400, Some(param), None);
        assert!(message.contains(words), "{field}: {message}");
    }
    let nothing = json!({"prompt": "p", "allowed_token_ids": [7], "bad_words": [[7]]});
    let message = app.complete(nothing).await.error(400, Some("allowed_token_ids"), None);
    assert!(message.contains("leaves nothing to choose"), "{message}");
    assert!(hand.is_idle());
}

#[tokio::test]
async fn a_stop_string_stays_in_the_text_where_it_is_wanted() {
    let app = App::saying("one two three");
    let body =
        |include: bool| json!({"prompt": "p", "max_tokens": 60, "stop": "two", "include_stop_str_in_output": include});
    for (include, text) in [(false, "one "), (true, "one two")] {
        assert_eq!(app.completed(body(include)).await["choices"][0]["text"], text);
        let pieces = app.streamed(body(include)).await.text_of(0);
        assert_eq!(pieces, text, "streamed");
    }
}

#[tokio::test]
async fn the_token_that_ends_a_text_has_no_part_in_it() {
    let app = App::saying("one two");
    let last = *ids("one two").last().unwrap();
    let silent = json!({"prompt": "p", "max_tokens": 60, "stop_token_ids": [last]});
    assert_eq!(app.completed(silent).await["choices"][0]["text"], "one");
    let kept = json!({"prompt": "p", "max_tokens": 60, "stop_token_ids": [last], "include_stop_str_in_output": true});
    assert_eq!(app.completed(kept).await["choices"][0]["text"], "one two");
}

#[tokio::test]
async fn tokens_go_by_their_ids_where_that_is_wanted() {
    let app = App::saying("one");
    let body = json!({"prompt": "p", "max_tokens": 60, "logprobs": 0, "return_tokens_as_token_ids": true});
    let answer = app.completed(body).await;
    let names: Vec<String> = ids("one").iter().map(|id| format!("token_id:{id}")).collect();
    let found = answer["choices"][0]["logprobs"]["tokens"].as_array().unwrap();
    assert_eq!(found[..names.len()], names.iter().map(|name| json!(name)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_search_takes_few_further_end_tokens() {
    let (app, hand) = App::by_hand(Setup::default());
    let body = json!({"prompt": "p", "use_beam_search": true, "stop_token_ids": vec![7; 9]});
    let message = app.complete(body).await.error(400, Some("stop_token_ids"), None);
    assert!(message.contains("9 token ids beside 'use_beam_search'; at most 8"), "{message}");
    assert!(hand.is_idle());
}

#[tokio::test]
async fn controls_that_leave_no_token_are_the_client_s_fault() {
    let refused = || GenerationEvent::Failed { message: "no token could be chosen".into(), kind: FailureKind::Refused };
    let app = App::scripted(Setup::default(), move |_| vec![GenerationEvent::Started { cached_tokens: 0 }, refused()]);
    let message = app.complete(json!({"prompt": "p"})).await.error(400, None, None);
    assert_eq!(message, "no token could be chosen");
    let streamed = app.streamed(json!({"prompt": "p"})).await;
    assert_eq!(streamed.chunks.last().unwrap()["error"]["type"], "invalid_request_error");
    assert!(!streamed.done);
    wait_for(|| (app.count(Outcome::Refused) == 2).then_some(())).await;
    assert_eq!(app.count(Outcome::Failed), 0);
}

#[tokio::test]
async fn special_tokens_are_written_where_that_is_wanted_in_the_text_and_in_what_is_echoed() {
    let app = App::saying("a");
    let (name, letter) = (app.model().token_name(END), ids("a")[0]);
    let kept = json!({"skip_special_tokens": false, "ignore_eos": true, "max_tokens": 60, "temperature": 0});
    let with = |more: Value| {
        let mut body = kept.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let body = with(json!({"prompt": "p", "decoder_prompt": [letter, END, letter], "echo": true}));
    let text = app.completed(body.clone()).await["choices"][0]["text"].take();
    assert!(text.as_str().unwrap().starts_with(&format!("a{name}aa")), "{text}");
    assert_eq!(app.streamed(body).await.text_of(0), text);
    let body = with(json!({"messages": [{"role": "user", "content": "p"}]}));
    let answer = app.post("/v1/chat/completions", &body).await.json();
    assert!(answer["choices"][0]["message"]["content"].as_str().unwrap().contains(&name), "{answer}");
    let mut body = with(json!({"input": "p", "max_output_tokens": 60}));
    body.as_object_mut().unwrap().remove("max_tokens");
    let answer = app.post("/v1/responses", &body).await.json();
    assert!(answer["output"][0]["content"][0]["text"].as_str().unwrap().contains(&name), "{answer}");
}
