//! Answers as server-sent events: framing, order, what is held back, and how a stream ends.

use std::fmt::Write;

use axum::body::Body;
use http_body_util::BodyExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use server::request::{FailureKind, FinishReason, GenerationEvent};
use server::telemetry::Outcome;

use crate::answer::Events;
use crate::app::{App, END, MODEL, Setup, ids};
use crate::scripted_engine::{generate, token};

/// The next event of a body that is still being written.
async fn next_event(body: &mut Body) -> String {
    let frame = tokio::time::timeout(crate::app::PATIENCE, body.frame()).await.expect("an event");
    String::from_utf8(frame.unwrap().unwrap().into_data().unwrap().into()).unwrap()
}

/// A stream whose events were all there when it was first read, so that the end is told with the end token.
async fn at_once(mut body: Value, tokens: &[u32]) -> Events {
    let (app, mut hand) = App::by_hand(Setup::default());
    body["stream"] = json!(true);
    let (response, submissions) = app.begun(&body, &mut hand).await;
    let events = generate(&submissions[0].request, tokens);
    for event in events.into_iter().filter(|event| !matches!(event, GenerationEvent::Started { .. })) {
        submissions[0].events.send(event).unwrap();
    }
    drop(submissions);
    Events::of(&crate::answer::Answer::of(response).await.text)
}

#[tokio::test]
async fn a_stream_carries_the_text_in_pieces_then_the_reason_then_done() {
    let app = App::saying("a fine tool");
    let events = app.streamed(json!({"prompt": "p"})).await;
    assert!(events.done);
    assert_eq!(events.text_of(0), "a fine tool");
    let first = &events.chunks[0];
    for chunk in &events.chunks {
        assert_eq!(chunk["object"], "text_completion");
        assert_eq!(chunk["model"], MODEL);
        assert_eq!((&chunk["id"], &chunk["created"]), (&first["id"], &first["created"]));
        assert!(chunk.get("usage").is_none());
    }
    let choices = events.of_choice(0);
    let (last, others) = choices.split_last().unwrap();
    assert_eq!(last["finish_reason"], "stop");
    assert!(others.iter().all(|choice| choice["finish_reason"].is_null() && choice["logprobs"].is_null()));
    assert!(others.iter().all(|choice| choice["text"] != ""), "every token is text here");
    assert_eq!(app.count(Outcome::Completed), 1);
}

#[tokio::test]
async fn usage_comes_in_one_more_chunk_when_asked_for() {
    let app = App::saying("Ab");
    let body = json!({"prompt": [1, 2, 3], "n": 2, "stream_options": {"include_usage": true}});
    let events = app.streamed(body).await;
    let (last, others) = events.chunks.split_last().unwrap();
    assert!(events.done);
    assert_eq!(last["choices"], json!([]));
    let generated = 2 * (ids("Ab").len() + 1);
    assert_eq!(
        last["usage"],
        json!({
            "prompt_tokens": 3, "completion_tokens": generated, "total_tokens": 3 + generated,
            "prompt_tokens_details": {"cached_tokens": 0},
        })
    );
    assert!(others.iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some()));
}

#[tokio::test]
async fn usage_so_far_comes_with_every_chunk_when_asked_for() {
    for include_usage in [true, false] {
        let options = json!({"include_usage": include_usage, "continuous_usage_stats": true});
        let events = at_once(json!({"prompt": [1, 2, 3], "stream_options": options}), &ids("Ab")).await;
        let usage: Vec<_> = events.chunks.iter().map(|chunk| chunk["usage"]["completion_tokens"].as_u64()).collect();
        let generated = ids("Ab").len() as u64 + 1;
        let last = include_usage.then_some(generated);
        assert_eq!(usage, (1..=generated).chain(last).map(Some).collect::<Vec<_>>());
        assert!(events.chunks.iter().all(|chunk| chunk["usage"]["prompt_tokens"] == 3));
        assert_eq!(events.chunks.last().unwrap()["choices"] == json!([]), include_usage);
    }
}

#[tokio::test]
async fn each_token_is_sent_as_it_comes_and_a_possible_stop_string_is_not() {
    let (app, mut hand) = App::by_hand(Setup::default());
    let body = json!({"prompt": "p", "stream": true, "stop": ["EN!", "END"]});
    let (response, submissions) = app.begun(&body, &mut hand).await;
    let mut stream = response.into_body();
    let submission = &submissions[0];
    let say = |text: &str| {
        for id in ids(text) {
            submission.events.send(token(0, id)).unwrap();
        }
    };
    let text = |event: &str| Events::of(event).text_of(0);
    say("a");
    assert_eq!(text(&next_event(&mut stream).await), "a");
    say("E");
    say("N");
    say("o");
    // A token whose text is not certain is sent as well, without text.
    for expected in ["", "", "ENo"] {
        assert_eq!(text(&next_event(&mut stream).await), expected, "held until it could not be one any more");
    }
    say("E");
    say("N");
    say("D");
    for _ in 0..2 {
        assert_eq!(text(&next_event(&mut stream).await), "");
    }
    let last = Events::of(&next_event(&mut stream).await);
    assert_eq!(last.of_choice(0)[0]["text"], "");
    assert_eq!(last.of_choice(0)[0]["finish_reason"], "stop");
    assert_eq!(next_event(&mut stream).await, "data: [DONE]\n\n");
    assert!(stream.frame().await.is_none());
    assert_eq!(hand.cancelled().await, Some(0));
}

#[tokio::test]
async fn log_probabilities_and_ids_are_sent_with_their_tokens() {
    let app = App::saying("Ab");
    let body = json!({
        "prompt": [5, 6], "decoder_prompt": "x y", "echo": true, "logprobs": 1, "return_token_ids": true,
    });
    let whole = app.completed(body.clone()).await["choices"][0].take();
    let events = app.streamed(body).await;
    let choices = events.of_choice(0);
    assert_eq!(choices[0]["prompt_token_ids"], json!([5, 6]));
    assert!(choices[1..].iter().all(|choice| choice.get("prompt_token_ids").is_none()));
    assert!(choices[0]["text"].as_str().unwrap().starts_with("x y"), "echo comes with the first token");
    for name in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        let joined: Vec<Value> =
            choices.iter().flat_map(|choice| choice["logprobs"][name].as_array().unwrap().clone()).collect();
        assert_eq!(json!(joined), whole["logprobs"][name], "{name}");
    }
    let joined: Vec<Value> =
        choices.iter().flat_map(|choice| choice["token_ids"].as_array().unwrap().clone()).collect();
    assert_eq!(json!(joined), whole["token_ids"]);
    assert_eq!(json!(events.text_of(0)), whole["text"]);
    let end = choices.iter().find(|choice| choice["token_ids"] == json!([END])).expect("the end token is sent");
    assert_eq!(end["text"], "", "though it has no text");
}

#[tokio::test]
async fn the_reason_rides_on_the_last_token_when_both_are_there() {
    let (app, mut hand) = App::by_hand(Setup::default());
    let body = json!({"prompt": "p", "stream": true, "n": 2, "return_token_ids": true});
    let (response, submissions) = app.begun(&body, &mut hand).await;
    let submission = &submissions[0];
    let finished = |choice, reason| GenerationEvent::Finished { choice, reason };
    let letter = ids("A")[0];
    for event in [
        token(0, letter),
        token(1, letter),
        finished(1, FinishReason::Length),
        token(0, END),
        finished(0, FinishReason::Stop),
    ] {
        submission.events.send(event).unwrap();
    }
    let events = Events::of(&crate::answer::Answer::of(response).await.text);
    let said: Vec<Value> = events
        .chunks
        .iter()
        .map(|chunk| &chunk["choices"][0])
        .map(|choice| json!([choice["index"], choice["text"], choice["token_ids"], choice["finish_reason"]]))
        .collect();
    assert_eq!(
        said,
        [json!([0, "A", [letter], null]), json!([1, "A", [letter], "length"]), json!([0, "", [END], "stop"])]
    );
    assert!(events.done);
}

#[tokio::test]
async fn echo_alone_is_streamed_too() {
    let app = App::saying("x");
    let body = json!({"prompt": "p", "decoder_prompt": "a fine tool", "echo": true, "max_tokens": 0});
    let events = app.streamed(body).await;
    assert_eq!(events.text_of(0), "a fine tool");
    assert_eq!(events.of_choice(0).last().unwrap()["finish_reason"], "length");
    assert!(events.done);
}

#[tokio::test]
async fn a_character_that_arrives_byte_by_byte_is_sent_once_whole() {
    let bytes: Vec<u32> = "a😀".bytes().map(|byte| 7 + u32::from(byte)).collect();
    let texts = async |options: Value| {
        let events = at_once(json!({"prompt": "p", "stream_options": options}), &bytes).await;
        events.of_choice(0).iter().map(|choice| choice["text"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(texts(Value::Null).await, ["a", "", "", "", "😀", ""], "one chunk a token");
    assert_eq!(texts(json!({"coalesce": true})).await, ["a", "😀", ""], "fewer when that is asked for");
    let app = App::scripted(Setup::default(), move |request| generate(request, &bytes));
    let cut = app.streamed(json!({"prompt": "p", "max_tokens": 3})).await;
    assert_eq!(cut.text_of(0), "a\u{fffd}\u{fffd}", "what is left of a character that was cut off");
}

#[tokio::test]
async fn a_fault_in_the_middle_is_an_error_event_and_the_end() {
    let (app, mut hand) = App::by_hand(Setup::default());
    let (response, submissions) = app.begun(&json!({"prompt": ["p", "q"], "stream": true}), &mut hand).await;
    let [first, second] = &submissions[..] else { panic!("two prompts") };
    first.events.send(token(0, ids("a")[0])).unwrap();
    first
        .events
        .send(GenerationEvent::Failed { message: "the step went wrong".to_owned(), kind: FailureKind::Passing })
        .unwrap();
    let events = Events::of(&crate::answer::Answer::of(response).await.text);
    assert!(!events.done);
    let error = &events.chunks.last().unwrap()["error"];
    assert_eq!(error["type"], "server_error");
    assert!(error["message"].as_str().unwrap().contains("the step went wrong"));
    assert_eq!(app.count(Outcome::Failed), 1);
    // The other prompt of the request is cancelled.
    assert!(second.events.is_closed());
}

#[tokio::test]
async fn an_engine_that_goes_away_is_an_error_event_as_well() {
    let (app, mut hand) = App::by_hand(Setup::default());
    let (response, submissions) = app.begun(&json!({"prompt": "p", "stream": true}), &mut hand).await;
    drop(submissions);
    let events = Events::of(&crate::answer::Answer::of(response).await.text);
    assert!(!events.done);
    assert_eq!(events.chunks[0]["error"]["type"], "server_error");
}

#[tokio::test]
async fn choices_of_all_prompts_share_one_stream() {
    let (app, mut hand) = App::by_hand(Setup::default());
    let (response, prompts) = app.begun(&json!({"prompt": ["p", "q"], "n": 2, "stream": true}), &mut hand).await;
    for letter in ["a", "b", "c"] {
        for (prompt, submission) in prompts.iter().enumerate() {
            for choice in 0..2 {
                let text = ids(letter)[0] + 2 * prompt as u32 + choice;
                submission.events.send(token(choice, text)).unwrap();
            }
        }
    }
    for submission in prompts {
        for choice in 0..2 {
            submission.events.send(GenerationEvent::Finished { choice, reason: FinishReason::Length }).unwrap();
        }
    }
    let events = Events::of(&crate::answer::Answer::of(response).await.text);
    assert!(events.done);
    let texts: Vec<String> = (0..4).map(|index| events.text_of(index)).collect();
    assert_eq!(texts, ["abc", "bcd", "cde", "def"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_streamed_answer_says_what_the_whole_one_says(
        tokens in prop::collection::vec(prop_oneof![0_u32..263, 263_u32..420, 0_u32..4096], 0..24),
        stops in prop::collection::vec("[a-f ]{1,2}", 0..4),
        min_tokens in 0_u32..8,
        echo in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let app = App::scripted(Setup::default(), move |request| generate(request, &tokens));
            let body = json!({
                "prompt": "p", "decoder_prompt": [202, 300], "stop": stops, "min_tokens": min_tokens, "echo": echo,
                "logprobs": 1, "return_token_ids": true, "stream_options": null,
            });
            let whole = app.completed(body.clone()).await;
            let events = app.streamed(body).await;
            let choice = &whole["choices"][0];
            prop_assert!(events.done);
            prop_assert_eq!(json!(events.text_of(0)), choice["text"].clone());
            let chunks = events.of_choice(0);
            let ids = chunks.iter().flat_map(|chunk| chunk["token_ids"].as_array().unwrap().clone());
            let ids: Vec<Value> = ids.collect();
            prop_assert_eq!(json!(ids), choice["token_ids"].clone());
            prop_assert_eq!(&chunks.last().unwrap()["finish_reason"], &choice["finish_reason"]);
            let mut sent = String::new();
            for chunk in chunks {
                write!(sent, "{}", chunk["text"].as_str().unwrap()).unwrap();
                prop_assert!(choice["text"].as_str().unwrap().starts_with(&sent), "a stream only ever adds");
            }
            Ok(())
        })?;
    }
}
