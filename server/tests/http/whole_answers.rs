//! Answers in one piece: shapes, texts, log-probabilities, usage, stop strings.

use std::sync::{Arc, Mutex};

use kernels::{Candidate, Sampling};
use serde_json::{Value, json};
use server::engine::{Command, TokenScore};
use server::request::{FinishReason, GenerationEvent, GenerationRequest, PromptScores};
use server::telemetry::Outcome;

use crate::app::{App, END, MODEL, START, Setup, ids, tokenizer};
use crate::scripted_engine::{generate, token};

/// A server that generates `text`, and the requests that reach its engine.
fn watched(text: &str) -> (App, Arc<Mutex<Vec<GenerationRequest>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (tokens, log) = (ids(text), Arc::clone(&seen));
    let app = App::scripted(Setup::default(), move |request| {
        log.lock().unwrap().push(request.clone());
        generate(request, &tokens)
    });
    (app, seen)
}

#[tokio::test]
async fn an_answer_has_openais_shape() {
    let app = App::saying("a fine tool");
    let mut answer = app.completed(json!({"model": MODEL, "prompt": "Some text", "max_tokens": 64})).await;
    let id = answer["id"].take();
    assert!(id.as_str().is_some_and(|id| id.starts_with("cmpl-") && id.len() == 37), "{id}");
    assert!(answer["created"].take().as_u64().is_some_and(|created| created > 1_700_000_000));
    let (source, target) = (ids("Some text").len() + 1, ids("a fine tool").len() + 1);
    assert_eq!(
        answer,
        json!({
            "id": null, "object": "text_completion", "created": null, "model": MODEL,
            "choices": [{"index": 0, "text": "a fine tool", "logprobs": null, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": source, "completion_tokens": target, "total_tokens": source + target,
                "prompt_tokens_details": {"cached_tokens": 0},
            },
        })
    );
    assert_eq!(app.count(Outcome::Completed), 1);
}

#[tokio::test]
async fn the_engine_gets_what_was_asked() {
    let (app, seen) = watched("x");
    app.completed(json!({
        "prompt": [5, 6, 7], "decoder_prompt": [START, 9, 10], "max_tokens": 3, "min_tokens": 2, "temperature": 0.5,
        "top_p": 0.9, "top_k": 40, "min_p": 0.1, "seed": -2, "n": 2, "logprobs": 3, "echo": true, "ignore_eos": true,
    }))
    .await;
    let request = seen.lock().unwrap().pop().unwrap();
    assert_eq!(*request.source, [5, 6, 7]);
    assert_eq!(request.decoder_prompt, [9, 10], "the start token is not doubled");
    assert_eq!((request.choices, request.max_tokens, request.min_tokens), (2, 3, 2));
    let seed = (-2_i64).cast_unsigned();
    assert_eq!(request.sampling, Sampling { temperature: 0.5, top_k: 40, top_p: 0.9, min_p: 0.1, seed });
    assert!(request.ignore_end);
    assert_eq!((request.log_probs, request.prompt_scores), (Some(3), Some(PromptScores::all(3))));
}

#[tokio::test]
async fn prompts_are_framed_by_the_tokenizer_and_decoder_prompts_are_not() {
    let (app, seen) = watched("x");
    app.completed(json!({"prompt": ["a tool", ""], "decoder_prompt": "a tool"})).await;
    app.completed(json!({"prompt": "a tool", "add_special_tokens": false})).await;
    app.completed(json!({"prompt": "<start_of_turn>a tool<eos>", "decoder_prompt": "<bos><end_of_turn>a"})).await;
    let seen = seen.lock().unwrap();
    let plain = ids("a tool");
    assert_eq!(*seen[0].source, [&[START], &plain[..]].concat());
    assert_eq!(seen[0].decoder_prompt, plain);
    assert_eq!(*seen[1].source, [START], "an empty text is still framed");
    assert_eq!(*seen[2].source, plain);
    assert_eq!(*seen[3].source, [&[START, 5], &plain[..], &[END]].concat(), "special tokens in a text are parsed");
    assert_eq!(seen[3].decoder_prompt, [&[6], &ids("a")[..]].concat());
}

#[tokio::test]
async fn equal_prompts_get_seeds_of_their_own_unless_one_is_given() {
    let (app, seen) = watched("x");
    app.completed(json!({"prompt": ["p", "p"]})).await;
    app.completed(json!({"prompt": ["p", "p"], "seed": 7})).await;
    let seeds: Vec<u64> = seen.lock().unwrap().iter().map(|request| request.sampling.seed).collect();
    assert_ne!(seeds[0], seeds[1]);
    assert_eq!(seeds[2..], [7, 7]);
}

#[tokio::test]
async fn choices_are_numbered_prompt_by_prompt_and_usage_covers_all() {
    let app = App::scripted(Setup::default(), |request| {
        let mut events = vec![GenerationEvent::Started { cached_tokens: request.source[0] - 1 }];
        for choice in (0..request.choices).rev() {
            // A letter for the prompt, a digit for the choice.
            events.push(token(choice, ids("A")[0] + request.source[0]));
            events.push(token(choice, ids("0")[0] + choice));
            events.push(GenerationEvent::Finished { choice, reason: FinishReason::Length });
        }
        events
    });
    let answer = app.completed(json!({"prompt": [[1], [2, 9], [3, 9, 9]], "n": 2, "max_tokens": 2})).await;
    let texts: Vec<_> = answer["choices"].as_array().unwrap().iter().map(|choice| &choice["text"]).collect();
    assert_eq!(texts, ["B0", "B1", "C0", "C1", "D0", "D1"]);
    let indices: Vec<_> = answer["choices"].as_array().unwrap().iter().map(|choice| &choice["index"]).collect();
    assert_eq!(indices, [0, 1, 2, 3, 4, 5]);
    assert_eq!(
        answer["usage"],
        json!({
            "prompt_tokens": 6, "completion_tokens": 12, "total_tokens": 18,
            "prompt_tokens_details": {"cached_tokens": 3},
        })
    );
    assert!(answer["choices"].as_array().unwrap().iter().all(|choice| choice["finish_reason"] == "length"));
}

#[tokio::test]
async fn log_probabilities_cover_every_generated_token_with_the_end_token() {
    let app = App::saying("Ab");
    let answer = app.completed(json!({"prompt": "p", "logprobs": 2})).await;
    let tokens = ids("Ab");
    let mut names: Vec<String> = tokens.iter().map(|&id| tokenizer().decode(&[id])).collect();
    names.push("<eos>".to_owned());
    let choice = &answer["choices"][0];
    assert_eq!(choice["text"], "Ab");
    let log_probs = &choice["logprobs"];
    assert_eq!(log_probs["tokens"], json!(names));
    assert_eq!(log_probs["token_logprobs"], json!(vec![-0.5; names.len()]));
    assert_eq!(log_probs["text_offset"].as_array().unwrap().last(), Some(&json!(2)));
    let top = log_probs["top_logprobs"].as_array().unwrap();
    assert_eq!(top.len(), names.len());
    assert_eq!(top.last().unwrap(), &json!({"<eos>": -0.5, "<bos>": -1.5}));
}

#[tokio::test]
async fn the_chosen_token_is_among_the_alternatives_and_last_when_improbable() {
    let improbable = |id, alternatives: &[u32]| TokenScore {
        chosen: Candidate { id, log_prob: f32::NEG_INFINITY, rank: 99 },
        top: (0_u32..)
            .zip(alternatives)
            .map(|(rank, &id)| Candidate { id, log_prob: -0.25 - rank as f32, rank })
            .collect(),
    };
    let (letter, byte, other) = (ids("A")[0], 7 + 0x41, ids("B")[0]);
    let scores = [
        improbable(letter, &[other]),
        // The byte piece of a letter has the same text as the letter.
        improbable(letter, &[byte, other]),
        improbable(other, &[letter, byte]),
        // Bytes that are no text alone, and an id that the tokenizer lacks.
        improbable(7 + 0xC3, &[7 + 0xA9, 4095]),
        improbable(letter, &[]),
    ];
    let app = App::scripted(Setup::default(), move |_| {
        let token =
            |score: &TokenScore| GenerationEvent::Token { choice: 0, id: score.chosen.id, score: Some(score.clone()) };
        let finished = GenerationEvent::Finished { choice: 0, reason: FinishReason::Length };
        scores.iter().map(token).chain([finished]).collect()
    });
    let answer = app.completed(json!({"prompt": "p", "logprobs": 1})).await;
    let last = tokenizer().decode(&[4095]);
    assert_eq!(
        answer["choices"][0]["logprobs"]["top_logprobs"],
        json!([
            {"B": -0.25, "A": -9999.0},
            {"token_id:72": -0.25, "B": -1.25, "A": -9999.0},
            {"A": -0.25, "token_id:72": -1.25, "B": -9999.0},
            {"bytes:\\xa9": -0.25, last: -1.25, "bytes:\\xc3": -9999.0},
            {"A": -9999.0},
        ])
    );
    assert_eq!(answer["choices"][0]["logprobs"]["tokens"], json!(["A", "A", "B", "bytes:\\xc3", "A"]));
}

#[tokio::test]
async fn echo_gives_the_decoder_prompt_back_in_front() {
    let app = App::saying(" tool");
    let text = |answer: Value| answer["choices"][0]["text"].as_str().unwrap().to_owned();
    assert_eq!(text(app.completed(json!({"prompt": "p", "echo": true})).await), " tool");
    assert_eq!(
        text(app.completed(json!({"prompt": "p", "decoder_prompt": "a fine", "echo": true})).await),
        "a fine tool"
    );
    assert_eq!(text(app.completed(json!({"prompt": "p", "decoder_prompt": "a fine"})).await), " tool");
    let as_ids = [&[START], &ids("a fine")[..]].concat();
    assert_eq!(
        text(app.completed(json!({"prompt": "p", "decoder_prompt": as_ids, "echo": true})).await),
        "a fine tool"
    );
    let only = json!({"prompt": "p", "decoder_prompt": "a fine", "echo": true, "max_tokens": 0});
    let answer = app.completed(only).await;
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["usage"]["completion_tokens"], 0);
    assert_eq!(text(answer), "a fine");
}

#[tokio::test]
async fn echo_with_log_probabilities_scores_the_decoder_prompt_from_its_first_token() {
    let app = App::saying("X");
    let target = "é<end_of_turn> tool";
    let body = json!({"prompt": "p", "decoder_prompt": target, "echo": true, "logprobs": 0, "max_tokens": 1});
    let choice = app.completed(body).await["choices"][0].take();
    assert_eq!(choice["text"], "é<end_of_turn> toolX");
    let log_probs = &choice["logprobs"];
    let expected: Vec<u32> = [ids(target), ids("X")].concat();
    let names = log_probs["tokens"].as_array().unwrap();
    assert_eq!(names.len(), expected.len());
    assert_eq!(names[1], "<end_of_turn>");
    assert!(log_probs["token_logprobs"].as_array().unwrap().iter().all(|log_prob| *log_prob == json!(-0.5)));
    let top = log_probs["top_logprobs"].as_array().unwrap();
    assert!(top.iter().zip(names).all(|(top, name)| *top == json!({name.as_str().unwrap(): -0.5})));
    // Offsets point to where each token's text begins, in characters.
    let characters: Vec<char> = choice["text"].as_str().unwrap().chars().collect();
    for (name, offset) in names.iter().zip(log_probs["text_offset"].as_array().unwrap()) {
        let rest: String = characters[offset.as_u64().unwrap() as usize..].iter().collect();
        assert!(rest.starts_with(name.as_str().unwrap()), "{name} at {offset}: {rest}");
    }
    // As ids the special token is no text, and takes no room in the offsets.
    let body = json!({"prompt": "p", "decoder_prompt": ids(target), "echo": true, "logprobs": 0, "max_tokens": 0});
    let choice = app.completed(body).await["choices"][0].take();
    assert_eq!(choice["text"], "é tool");
    assert_eq!(choice["logprobs"]["text_offset"].as_array().unwrap()[..3], [json!(0), json!(1), json!(1)]);
}

#[tokio::test]
async fn a_start_token_spelled_out_is_not_echoed_and_takes_no_room() {
    let app = App::saying("X");
    let ask = |decoder_prompt| json!({"prompt": "p", "decoder_prompt": decoder_prompt, "echo": true, "logprobs": 0});
    let mut plain = app.completed(ask("a tool")).await;
    let mut spelled = app.completed(ask("<bos>a tool")).await;
    assert_eq!(spelled["choices"], plain["choices"]);
    plain = app.completed(ask("")).await;
    spelled = app.completed(ask("<bos>")).await;
    assert_eq!(spelled["choices"], plain["choices"]);
    let twice = app.completed(ask("<bos><bos>a")).await["choices"][0].take();
    assert_eq!(twice["text"], "<bos>aX", "only the one that the server puts there is left out");
    assert_eq!(twice["logprobs"]["text_offset"][1], 5);
}

#[tokio::test]
async fn a_character_begun_by_the_decoder_prompt_is_completed_by_the_text() {
    let app = App::scripted(Setup::default(), |request| generate(request, &[7 + 0xA9]));
    let body = |echo| json!({"prompt": "p", "decoder_prompt": [ids("x")[0], 7 + 0xC3], "echo": echo});
    assert_eq!(app.completed(body(false)).await["choices"][0]["text"], "é");
    assert_eq!(app.completed(body(true)).await["choices"][0]["text"], "xé");
}

#[tokio::test]
async fn ids_are_given_back_when_asked_for() {
    let app = App::saying("Ab");
    let body = json!({"prompt": [[5, 6], [7]], "return_token_ids": true, "n": 2, "decoder_prompt": "x", "echo": true});
    let answer = app.completed(body).await;
    let generated = [ids("Ab"), vec![END]].concat();
    for (choice, source) in answer["choices"].as_array().unwrap().iter().zip([[5, 6].as_slice(), &[5, 6], &[7], &[7]]) {
        assert_eq!(choice["prompt_token_ids"], json!(source));
        assert_eq!(choice["token_ids"], json!(generated), "echo does not add to them");
    }
    let without = app.completed(json!({"prompt": "p"})).await;
    assert!(without["choices"][0].get("token_ids").is_none());
    assert!(without["choices"][0].get("prompt_token_ids").is_none());
}

#[tokio::test]
async fn a_model_without_tokenizer_serves_ids() {
    let setup = Setup { tokenizer: None, ..Setup::default() };
    let app = App::scripted(setup, |request| generate(request, &[50, 51]));
    let body = json!({
        "prompt": [5, 6], "decoder_prompt": [START, 9], "echo": true, "logprobs": 1, "return_token_ids": true,
    });
    let answer = app.completed(body).await;
    assert_eq!(
        answer["choices"][0],
        json!({
            "index": 0, "text": "",
            "logprobs": {
                "tokens": ["token_id:9", "token_id:50", "token_id:51", "token_id:1"],
                "token_logprobs": [-0.5, -0.5, -0.5, -0.5],
                "top_logprobs": [
                    {"token_id:9": -0.5}, {"token_id:50": -0.5}, {"token_id:51": -0.5}, {"token_id:1": -0.5}
                ],
                "text_offset": [0, 0, 0, 0],
            },
            "finish_reason": "stop", "prompt_token_ids": [5, 6], "token_ids": [50, 51, END],
        })
    );
}

#[tokio::test]
async fn a_stop_string_across_tokens_cuts_the_text_and_cancels_the_choice() {
    let (app, mut hand) = App::by_hand(Setup::default());
    let body = json!({
        "prompt": "p", "stop": ["NEVER", "E N"], "n": 2, "logprobs": 0, "return_token_ids": true, "max_tokens": 50,
    });
    let client = app.spawn(body);
    let submission = hand.submission().await;
    let tokens = [ids("oneE"), ids(" N"), ids("D"), ids("more")].concat();
    let send = |event| submission.events.send(event).unwrap();
    for &id in &tokens {
        send(GenerationEvent::Token { choice: 1, id, score: Some(crate::scripted_engine::score(id, 0)) });
    }
    assert_eq!(hand.cancelled().await, Some(1));
    send(GenerationEvent::Finished { choice: 1, reason: FinishReason::Length });
    send(GenerationEvent::Finished { choice: 0, reason: FinishReason::Length });
    let answer = client.await.unwrap().json();
    let choice = &answer["choices"][1];
    assert_eq!((&choice["text"], &choice["finish_reason"]), (&json!("one"), &json!("stop")));
    let used = ids("oneE").len() + ids(" N").len();
    assert_eq!(choice["token_ids"], json!(tokens[..used]), "up to the token that completed the stop string");
    assert_eq!(choice["logprobs"]["tokens"].as_array().unwrap().len(), used);
    assert_eq!(answer["usage"]["completion_tokens"], used);
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
}

#[tokio::test]
async fn stop_strings_are_cut_wherever_they_stand_and_only_in_generated_text() {
    let app = App::saying("one two three");
    for (stop, text, finish) in [
        (json!("two"), "one ", "stop"),
        (json!(["three", "two"]), "one ", "stop"),
        (json!("o"), "", "stop"),
        (json!("three"), "one two ", "stop"),
        (json!(["three!", "Two"]), "one two three", "stop"),
        (json!(" start"), "one two three", "stop"),
    ] {
        let body = json!({"prompt": "p", "decoder_prompt": "a start ", "stop": stop, "max_tokens": 60});
        let choice = app.completed(body).await["choices"][0].take();
        assert_eq!(choice["text"], text, "{stop}");
        assert_eq!(choice["finish_reason"], finish, "{stop}");
    }
    let body = json!({"prompt": "p", "stop": "two!", "max_tokens": ids("one two").len()});
    let choice = app.completed(body).await["choices"][0].take();
    assert_eq!(choice["text"], "one two", "what could have become a stop string is text at the end");
    assert_eq!(choice["finish_reason"], "length");
}

#[tokio::test]
async fn stop_strings_do_not_end_a_text_before_min_tokens() {
    let text = "one two one two";
    let app = App::saying(text);
    let first = ids("one two").len();
    let body = json!({"prompt": "p", "stop": "two", "min_tokens": first, "max_tokens": 60});
    assert_eq!(app.completed(body).await["choices"][0]["text"], "one two one ");
    let all = ids(text).len();
    let body = json!({"prompt": "p", "stop": "two", "min_tokens": all, "max_tokens": 60});
    assert_eq!(app.completed(body).await["choices"][0]["text"], text);
    let body = json!({"prompt": "p", "stop": "two one", "min_tokens": first, "max_tokens": 60});
    let choice = app.completed(body).await["choices"][0].take();
    assert_eq!(choice["text"], "one ", "one that begins in their text and ends after it is cut");
    assert_eq!(choice["finish_reason"], "stop");
}

#[tokio::test]
async fn each_prompt_of_a_list_meets_its_stop_string_by_itself() {
    let (app, mut hand) = App::by_hand(Setup::default());
    let client = app.spawn(json!({"prompt": ["p", "q"], "stop": "b"}));
    let (first, second) = (hand.submission().await, hand.submission().await);
    // The second ends by its stop string while the first has not begun.
    second.events.send(token(0, ids("b")[0])).unwrap();
    assert!(matches!(hand.command().await, Command::Cancel { id, .. } if id == second.id));
    first.events.send(token(0, ids("a")[0])).unwrap();
    first.events.send(GenerationEvent::Finished { choice: 0, reason: FinishReason::Stop }).unwrap();
    let answer = client.await.unwrap().json();
    assert_eq!(answer["choices"][0]["text"], "a");
    assert_eq!(answer["choices"][1]["text"], "");
}
