//! The best of several continuations: which are returned, in which order, what they cost, and what is refused.

use kernels::Candidate;
use serde_json::{Value, json};
use server::engine::TokenScore;
use server::request::{FinishReason, GenerationEvent, GenerationRequest};

use crate::app::{App, Setup, ids};

/// Letters of each choice with their log-probabilities: the means are -2, -1, -3 and -1, the last sum is the lowest.
const CHOICES: [(&str, f32, usize); 4] = [("a", -2.0, 1), ("b", -1.0, 1), ("c", -3.0, 1), ("d", -1.0, 4)];

fn script(request: &GenerationRequest) -> Vec<GenerationEvent> {
    assert_eq!((request.choices, request.log_probs.is_some()), (4, true));
    let mut events = vec![GenerationEvent::Started { cached_tokens: 0 }];
    for (choice, (letter, log_prob, tokens)) in (0..).zip(CHOICES) {
        let id = ids(letter)[0];
        let score = TokenScore { chosen: Candidate { id, log_prob, rank: 1 }, top: Vec::new() };
        events.extend((0..tokens).map(|_| GenerationEvent::Token { choice, id, score: Some(score.clone()) }));
        events.push(GenerationEvent::Finished { choice, reason: FinishReason::Length });
    }
    events
}

#[tokio::test]
async fn those_with_the_highest_mean_log_probability_come_best_first_and_all_are_counted() {
    let app = App::scripted(Setup::default(), script);
    let answer = app.completed(json!({"prompt": ["p", "q"], "n": 3, "best_of": 4})).await;
    let choices = answer["choices"].as_array().unwrap();
    let texts: Vec<&str> = choices.iter().map(|choice| choice["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["b", "dddd", "a", "b", "dddd", "a"]);
    assert!((0..).zip(choices).all(|(index, choice)| choice["index"] == json!(index)), "{answer}");
    assert!(choices.iter().all(|choice| choice["logprobs"].is_null()), "they were not asked for");
    assert_eq!(answer["usage"]["completion_tokens"], 2 * 7);
    let scored = app.completed(json!({"prompt": "p", "best_of": 4, "logprobs": 0})).await;
    assert_eq!(scored["choices"][0]["logprobs"]["token_logprobs"], json!([-1.0]));
    let body = json!({"messages": [{"role": "user", "content": "p"}], "best_of": 4, "max_tokens": 4});
    let chat = app.post("/v1/chat/completions", &body).await.json();
    assert_eq!(chat["choices"].as_array().map(Vec::len), Some(1));
    assert_eq!(chat["choices"][0]["message"]["content"], "b");
}

#[tokio::test]
async fn a_stream_fewer_than_n_and_more_than_are_allowed_are_refused() {
    let (app, hand) = App::by_hand(Setup::default());
    for (fields, words) in [
        (json!({"best_of": 2, "stream": true}), "exclude each other"),
        (json!({"best_of": 2, "n": 3}), "at least 'n' (3)"),
        (json!({"best_of": 17}), "between 1 and 16"),
        (json!({"best_of": 11, "prompt": ["p", "q", "r"]}), "33 choices"),
        (json!({"best_of": 16, "max_tokens": 100, "logprobs": 5}), "9600 log-probabilities"),
    ] {
        let mut body = json!({"prompt": "p"});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let param = if fields.get("logprobs").is_some() { "logprobs" } else { "best_of" };
        let message = app.complete(body).await.error(400, Some(param), None);
        assert!(message.contains(words), "{fields}: {message}");
    }
    assert!(hand.is_idle());
    let neutral: Value = json!({"prompt": "p", "best_of": 2, "n": 2, "stream": true, "max_tokens": 2});
    assert_eq!(App::saying("a").complete(neutral).await.status, 200);
}
