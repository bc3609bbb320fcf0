//! Text to ids and back without the engine, and what the server tells of itself.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::app::{App, MODEL, Setup, ids};

async fn post(app: &App, path: &str, body: &Value) -> Answer {
    let request = Request::builder().method(Method::POST).uri(path).body(Body::from(body.to_string())).unwrap();
    Answer::of(app.send(request).await).await
}

#[tokio::test]
async fn a_text_becomes_the_ids_that_a_prompt_of_it_would_have() {
    let app = App::saying("x");
    let plain = post(&app, "/tokenize", &json!({"prompt": "a small tool", "add_special_tokens": false})).await.json();
    assert_eq!(plain["tokens"], json!(ids("a small tool")));
    assert_eq!((&plain["count"], &plain["max_model_len"]), (&json!(ids("a small tool").len()), &json!(256)));
    assert_eq!(plain["token_strs"], Value::Null);
    let framed = post(&app, "/tokenize", &json!({"prompt": "a small tool", "model": MODEL})).await.json();
    assert_eq!(framed["tokens"][0], 2, "the start token is in front");
    let named = post(&app, "/tokenize", &json!({"prompt": "a <eos>", "return_token_strs": true})).await.json();
    let texts: Vec<_> = named["token_strs"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert_eq!((texts.first(), texts.last()), (Some(&"<bos>"), Some(&"<eos>")));
    assert_eq!(post(&app, "/tokenize/", &json!({"prompt": "", "add_special_tokens": false})).await.json()["count"], 0);
}

#[tokio::test]
async fn ids_become_the_text_that_they_were_made_of() {
    let app = App::saying("x");
    for text in ["a small tool", "", "naïve 🙂", " two  spaces"] {
        let body = json!({"tokens": ids(text)});
        assert_eq!(post(&app, "/detokenize", &body).await.json(), json!({"prompt": text}));
    }
    let special = [vec![2], ids("a tool"), vec![1]].concat();
    assert_eq!(post(&app, "/detokenize", &json!({"tokens": special})).await.json()["prompt"], "a tool");
}

#[tokio::test]
async fn both_are_bounded_and_take_no_other_fields() {
    let app = App::saying("x");
    let tokenize = async |body| post(&app, "/tokenize", &body).await;
    let detokenize = async |body| post(&app, "/detokenize", &body).await;
    tokenize(json!({})).await.error(400, Some("prompt"), None);
    tokenize(json!({"prompt": ["a"]})).await.error(400, Some("prompt"), None);
    tokenize(json!({"prompt": "a", "stream": true})).await.error(400, Some("stream"), None);
    tokenize(json!({"prompt": "a", "model": "gpt-4"})).await.error(404, Some("model"), Some("model_not_found"));
    let long = tokenize(json!({"prompt": "x ".repeat(200_000)})).await;
    assert!(long.error(400, Some("prompt"), Some("context_length_exceeded")).contains("256 tokens"));
    detokenize(json!({"tokens": "a"})).await.error(400, Some("tokens"), None);
    detokenize(json!({"tokens": [5, -1]})).await.error(400, Some("tokens"), None);
    detokenize(json!({"tokens": [5, 1_000_000_000]})).await.error(400, Some("tokens"), None);
    let many = detokenize(json!({"tokens": vec![5; 257]})).await;
    assert!(many.error(400, Some("tokens"), None).contains("257 ids; at most 256"), "{}", many.text);
    assert_eq!(detokenize(json!({"tokens": vec![5; 256]})).await.status, 200);
}

#[tokio::test]
async fn answers_hold_memory_from_before_the_work_until_they_are_taken() {
    let app = App::saying("x");
    let budget = &app.api.answer_budget;
    for (path, body) in [
        ("/tokenize", json!({"prompt": "a small tool", "return_token_strs": true})),
        ("/tokenize", json!({"messages": [{"role": "user", "content": "a small tool"}]})),
        ("/detokenize", json!({"tokens": [5, 6]})),
    ] {
        let all = budget.reserve_bytes(budget.largest_bytes(), None).unwrap();
        post(&app, path, &body).await.error(429, None, Some("overloaded"));
        drop(all);
        let request = Request::post(path).body(Body::from(body.to_string())).unwrap();
        let response = app.send(request).await;
        assert_eq!(response.status(), 200);
        assert!(budget.used_bytes() > 0, "{path}: the client has not taken it yet");
        drop(response);
        assert_eq!(budget.used_bytes(), 0, "{path}");
    }
}

#[tokio::test]
async fn a_conversation_has_the_ids_of_the_source_that_chat_makes_of_it() {
    let app = App::saying("x");
    let messages = json!([
        {"role": "user", "content": "a small tool"},
        {"role": "assistant", "content": "it is"},
        {"role": "user", "content": [{"type": "text", "text": "and a large one"}]},
        {"role": "assistant", "content": "it is as"},
    ]);
    for extra in [
        json!({}),
        json!({"add_generation_prompt": false}),
        json!({"continue_final_message": true}),
        json!({"continue_final_message": true, "add_generation_prompt": false}),
        json!({"chat_template_kwargs": {"enable_thinking": true}, "add_special_tokens": false}),
    ] {
        let mut body = json!({"messages": messages});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let tokens = post(&app, "/tokenize", &body).await.json()["tokens"].clone();
        body["return_token_ids"] = json!(true);
        assert_eq!(tokens, app.post("/v1/chat/completions", &body).await.json()["prompt_token_ids"], "{extra}");
        assert!(!tokens.as_array().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_text_and_a_conversation_exclude_each_other_with_their_fields() {
    let app = App::saying("x");
    let user = json!([{"role": "user", "content": "a"}]);
    for (body, param) in [
        (json!({"prompt": "a", "messages": user}), "messages"),
        (json!({"messages": []}), "messages"),
        (json!({"prompt": "a", "continue_final_message": true}), "continue_final_message"),
        (json!({"prompt": "a", "add_generation_prompt": "yes"}), "add_generation_prompt"),
        (json!({"prompt": "a", "chat_template_kwargs": {"x": 1}}), "chat_template_kwargs"),
        (json!({"messages": user, "continue_final_message": true}), "continue_final_message"),
        (json!({"messages": user, "chat_template": "{{ messages }}"}), "chat_template"),
        (json!({"messages": user, "tools": [{"type": "function"}]}), "tools"),
        (json!({"messages": [{"role": "user", "content": "x ".repeat(200_000)}]}), "messages"),
    ] {
        assert_eq!(post(&app, "/tokenize", &body).await.json()["error"]["param"], param, "{body}");
    }
    let neutral = json!({"prompt": "a", "add_generation_prompt": true, "continue_final_message": false});
    let mut more = neutral.clone();
    more["chat_template_kwargs"] = json!({});
    for body in [neutral, more, json!({"prompt": "a", "add_generation_prompt": false})] {
        assert_eq!(post(&app, "/tokenize", &body).await.json()["count"], json!(2), "{body}");
    }
}

#[tokio::test]
async fn the_tokenizer_s_facts_are_told_and_a_model_without_one_has_none() {
    let app = App::saying("x");
    let info = app.get("/tokenizer_info").await.json();
    for (name, value) in [
        ("bos_token", json!("<bos>")),
        ("eos_token", json!("<eos>")),
        ("pad_token", json!("<pad>")),
        ("add_bos_token", json!(true)),
        ("add_eos_token", json!(false)),
        ("model", json!(MODEL)),
        ("model_max_length", json!(256)),
    ] {
        assert_eq!(info[name], value, "{name}: {info}");
    }
    assert_eq!(app.get(&format!("/tokenizer_info?model={MODEL}")).await.json(), info);
    app.get("/tokenizer_info?model=gpt-4").await.error(404, Some("model"), Some("model_not_found"));
    app.get("/tokenizer_info?name=x").await.error(400, Some("model"), None);
    let (bare, _hand) = App::by_hand(Setup { tokenizer: None, ..Setup::default() });
    bare.get("/tokenizer_info").await.error(400, Some("model"), None);
    post(&bare, "/tokenize", &json!({"prompt": "a"})).await.error(400, Some("prompt"), None);
    let messages = json!({"messages": [{"role": "user", "content": "a"}]});
    post(&bare, "/tokenize", &messages).await.error(400, Some("messages"), None);
    post(&bare, "/detokenize", &json!({"tokens": [5]})).await.error(400, Some("tokens"), None);
}

#[tokio::test]
async fn the_load_tells_how_busy_the_server_is() {
    let (app, mut hand) = App::by_hand(Setup::default());
    let free = app.engine().free_slots();
    let idle = json!({"server_load": 0, "models": [
        {"id": MODEL, "running_rows": 0, "waiting_rows": 0, "free_queue_rows": free},
    ]});
    assert_eq!(app.get("/load").await.json(), idle);
    let asking = app.spawn(json!({"prompt": "p"}));
    let _submission = hand.submission().await;
    let busy = app.get("/load").await.json();
    assert_eq!((&busy["server_load"], &busy["models"][0]["free_queue_rows"]), (&json!(1), &json!(free - 1)));
    asking.abort();
}
