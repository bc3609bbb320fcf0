//! Requests that are rendered instead of run: what the engine would get, and that it gets nothing.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use server::chat_template::ChatTemplate;
use server::request::{Controls, GenerationRequest, RequestDefaults};
use server::telemetry::Outcome;

use crate::app::{App, MODEL, START, Setup, ids, wait_for};
use crate::scripted_engine::generate;

const COMPLETIONS: &str = "/v1/completions/render";
const CHAT: &str = "/v1/chat/completions/render";

/// A server with a template, and the requests that reach its engine.
fn watched() -> (App, Arc<Mutex<Vec<GenerationRequest>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (tokens, log) = (ids("x"), Arc::clone(&seen));
    let turns = "{% for message in messages %}[{{ message.role }}]{{ message.content }}{% endfor %}\
                 {% if add_generation_prompt %}[model]{% endif %}";
    let chat = ChatTemplate::compile(turns, Vec::new(), 10_000).unwrap();
    let app = App::scripted(Setup { chat, ..Setup::default() }, move |request| {
        log.lock().unwrap().push(request.clone());
        generate(request, &tokens)
    });
    (app, seen)
}

/// The ids of a text after the start token.
fn with_start(text: &str) -> Vec<u32> {
    [&[START][..], &ids(text)].concat()
}

async fn rendered(app: &App, path: &str, body: Value) -> Value {
    let answer = app.post(path, &body).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    answer.json()
}

#[tokio::test]
async fn each_prompt_of_a_completion_is_rendered_and_nothing_runs() {
    let (app, seen) = watched();
    let prompts = json!(["a tool", "Two"]);
    let body = json!({"prompt": prompts, "decoder_prompt": "a", "temperature": 1e-6, "top_p": 0.5, "stop": "END"});
    let mut answer = rendered(&app, COMPLETIONS, body).await;
    let list = answer.as_array_mut().unwrap();
    assert_eq!(list.len(), 2);
    assert_ne!(list[0]["request_id"], list[1]["request_id"]);
    let id = list[0]["request_id"].take();
    assert!(id.as_str().is_some_and(|id| id.starts_with("cmpl-")), "{id}");
    assert_eq!(
        list[0],
        json!({
            "request_id": null, "model": MODEL, "prompt": "a tool",
            "token_ids": with_start("a tool"),
            "decoder_token_ids": with_start("a"),
            "sampling_params": {
                "n": 1, "max_tokens": 16, "min_tokens": 0, "ignore_eos": false, "stop": ["END"],
                // So small a temperature takes the most probable token.
                "temperature": 0.0, "top_k": 0, "top_p": 0.5, "min_p": 0.0, "seed": null, "logprobs": null,
                "use_beam_search": false,
                "speculation": "auto",
            },
            "stream": false,
        })
    );
    let given = rendered(&app, COMPLETIONS, json!({"prompt": [5, 6, 7]})).await;
    assert_eq!((&given[0]["prompt"], &given[0]["token_ids"]), (&Value::Null, &json!([5, 6, 7])));
    assert!(seen.lock().unwrap().is_empty());
    assert_eq!(app.count(Outcome::Completed), 2);
    app.all_slots_free().await;
}

#[tokio::test]
async fn a_conversation_is_rendered_by_the_template_with_its_limit_settled() {
    let (app, seen) = watched();
    let messages = json!([{"role": "user", "content": "One"}, {"role": "assistant", "content": "a"}]);
    let body = json!({"messages": messages, "continue_final_message": true, "stream": true, "seed": 7});
    let answer = rendered(&app, CHAT, body).await;
    let text = "[user]One[model]";
    assert_eq!((&answer["prompt"], &answer["token_ids"]), (&json!(text), &json!(ids(text))));
    assert_eq!(answer["decoder_token_ids"], json!(with_start("a")));
    let most = 128 - ids("a").len();
    assert_eq!((&answer["sampling_params"]["max_tokens"], &answer["stream"]), (&json!(most), &json!(true)));
    assert_eq!(answer["sampling_params"]["seed"], 7);
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_was_rendered_can_be_asked_as_a_completion_and_is_the_same_request() {
    let (app, seen) = watched();
    let body = json!({
        "messages": [{"role": "user", "content": "One"}], "decoder_prompt": "a", "max_tokens": 9, "min_tokens": 2,
        "n": 2, "temperature": 0.7, "top_k": 5, "top_p": 0.9, "min_p": 0.1, "seed": -3, "logprobs": true,
        "top_logprobs": 2, "repetition_penalty": 1.25, "presence_penalty": 0.5, "frequency_penalty": -0.5,
        "no_repeat_ngram_size": 3, "logit_bias": {"7": 2, "5": -1.5}, "allowed_token_ids": [3, 4, 5, 6, 7, 8],
        "bad_words": ["a", [5, 6]], "stop_token_ids": [8], "echo": true,
    });
    let answer = rendered(&app, CHAT, body.clone()).await;
    let mut completion = answer["sampling_params"].clone();
    completion["prompt"] = answer["token_ids"].clone();
    completion["decoder_prompt"] = answer["decoder_token_ids"].clone();
    app.completed(completion).await;
    app.post("/v1/chat/completions", &body).await.json();
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn what_the_checkpoint_asks_for_is_rendered_and_so_is_what_takes_its_place() {
    let controls = Controls {
        repetition_penalty: 1.5,
        no_repeat_ngram: 2,
        banned: vec![9],
        bad_words: vec![vec![7], vec![5, 6]],
        ..Controls::default()
    };
    let (app, _hand) = App::by_hand(Setup {
        defaults: RequestDefaults { controls, ..RequestDefaults::default() },
        ..Setup::default()
    });
    let params = async |more: Value| {
        let mut body = json!({"prompt": "p"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rendered(&app, COMPLETIONS, body).await[0]["sampling_params"].take()
    };
    let of_checkpoint = params(json!({})).await;
    let named =
        |params: &Value| ["repetition_penalty", "no_repeat_ngram_size", "bad_words"].map(|field| params[field].clone());
    assert_eq!(named(&of_checkpoint), [json!(1.5), json!(2), json!([[7], [5, 6]])]);
    let own = json!({"repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "bad_words": []});
    let of_request = params(own.clone()).await;
    assert_eq!(named(&of_request), [json!(1.0), json!(0), json!([])]);
    assert_eq!(params(of_request.clone()).await, of_request, "it can be asked again");
}

#[tokio::test]
async fn as_many_bad_words_as_may_be_given_as_texts_can_be_asked_again_as_ids() {
    let (app, seen) = watched();
    let words: Vec<String> =
        (0..256).map(|word| format!("{}{}", ('a'..='p').nth(word / 16).unwrap(), word % 16)).collect();
    let body = json!({"prompt": "p", "bad_words": words, "max_tokens": 1, "seed": 1});
    let mut again = rendered(&app, COMPLETIONS, body.clone()).await[0]["sampling_params"].take();
    assert!(again["bad_words"].as_array().unwrap().len() > 300, "most words have two forms: {again}");
    again["prompt"] = json!("p");
    app.completed(body).await;
    app.completed(again).await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0].controls, seen[1].controls);
}

#[tokio::test]
async fn a_beam_search_is_rendered_so_that_it_can_be_asked_again() {
    let (app, _) = watched();
    let body = json!({"prompt": "p", "use_beam_search": true, "n": 2, "best_of": 4, "early_stopping": "never"});
    let mut params = rendered(&app, COMPLETIONS, body).await[0]["sampling_params"].take();
    assert_eq!((&params["use_beam_search"], &params["best_of"]), (&json!(true), &json!(4)));
    assert_eq!((&params["length_penalty"], &params["early_stopping"]), (&json!(1.0), &json!("never")));
    params["prompt"] = json!("p");
    assert_eq!(rendered(&app, COMPLETIONS, params.clone()).await[0]["sampling_params"]["best_of"], 4, "{params}");
}

#[tokio::test]
async fn what_the_real_route_refuses_is_refused_with_the_same_words() {
    let (app, _) = watched();
    for (path, body) in [
        (COMPLETIONS, json!({"prompt": "a b ".repeat(200)})),
        (COMPLETIONS, json!({"prompt": "p", "max_tokens": 129})),
        (COMPLETIONS, json!({"prompt": "p", "top_p": 2})),
        (COMPLETIONS, json!({"prompt": "p", "model": "gpt-9"})),
        (COMPLETIONS, json!({"prompt": "p", "allowed_token_ids": [7], "bad_words": [[7]]})),
        (COMPLETIONS, json!({"prompt": "p", "bad_words": ["\u{1}".repeat(65)]})),
        (CHAT, json!({"messages": []})),
        (CHAT, json!({"messages": [{"role": "user", "content": "p"}], "min_tokens": 129})),
        (CHAT, json!({"messages": [{"role": "user", "content": "p"}], "odd": 1})),
    ] {
        let (rendered, real) =
            (app.post(path, &body).await, app.post(path.strip_suffix("/render").unwrap(), &body).await);
        assert!(rendered.status.is_client_error(), "{}", rendered.text);
        assert_eq!((rendered.status, rendered.text), (real.status, real.text));
    }
}

#[tokio::test]
async fn rendering_takes_no_place_in_the_queue_and_its_answers_share_the_memory_of_answers() {
    let (app, _hand) = App::by_hand(Setup { queued_rows: 1, answer_bytes: 4 << 10, ..Setup::default() });
    let _place = app.engine().reserve(server::request::Salt::default(), 1).unwrap();
    rendered(&app, COMPLETIONS, json!({"prompt": "p"})).await;
    wait_for(|| (app.api.answer_budget.used_bytes() == 0).then_some(())).await;
    // A small answer leaves too little room for one that takes all of it.
    let small = Request::post(COMPLETIONS).body(Body::from(json!({"prompt": "p"}).to_string())).unwrap();
    let small = app.send(small).await;
    let large = json!({"prompt": "\u{1}".repeat(200)});
    app.post(COMPLETIONS, &large).await.error(429, None, Some("overloaded"));
    drop(small);
    rendered(&app, COMPLETIONS, large).await;
}
