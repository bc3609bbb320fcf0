//! Chat: what the engine gets of a conversation, and the answer in OpenAI's shape, whole and streamed.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::Request;
use kernels::Candidate;
use serde_json::{Value, json};
use server::chat_template::ChatTemplate;
use server::engine::TokenScore;
use server::request::{FinishReason, GenerationEvent, GenerationRequest};
use server::telemetry::Outcome;

use crate::answer::{Answer, Events};
use crate::app::{App, END, MODEL, START, Setup, ids, tokenizer};
use crate::scripted_engine::generate;

const PATH: &str = "/v1/chat/completions";
const TURNS: &str = "{{ bos_token }}{% for message in messages %}{% if message.role == 'system' %}\
                     {{ raise_exception('System role not supported') }}{% endif %}<start_of_turn>{{ message.role }}\
                     {{ message.content }}<end_of_turn>{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\
                     {% endif %}";

fn turns(steps: u64) -> ChatTemplate {
    ChatTemplate::compile(TURNS, vec![("bos_token".to_owned(), "<bos>".to_owned())], steps).unwrap()
}

/// A server with a template, which generates `text`, and the requests that reach its engine.
fn watched(text: &str) -> (App, Arc<Mutex<Vec<GenerationRequest>>>) {
    watched_with(Setup { chat: turns(10_000), ..Setup::default() }, text)
}

fn watched_with(setup: Setup, text: &str) -> (App, Arc<Mutex<Vec<GenerationRequest>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (tokens, log) = (ids(text), Arc::clone(&seen));
    let app = App::scripted(setup, move |request| {
        log.lock().unwrap().push(request.clone());
        generate(request, &tokens)
    });
    (app, seen)
}

async fn ask(app: &App, body: &Value) -> Answer {
    let request = Request::post(PATH).body(Body::from(body.to_string())).unwrap();
    Answer::of(app.send(request).await).await
}

async fn answered(app: &App, body: Value) -> Value {
    let answer = ask(app, &body).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    answer.json()
}

async fn streamed(app: &App, mut body: Value) -> Events {
    body["stream"] = json!(true);
    let answer = ask(app, &body).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream; charset=utf-8", "{}", answer.text);
    Events::of(&answer.text)
}

fn user(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

#[tokio::test]
async fn an_answer_has_openais_shape() {
    let (app, _) = watched("a fine tool");
    let mut answer = answered(&app, json!({"model": MODEL, "messages": user("Some text")})).await;
    let id = answer["id"].take();
    assert!(id.as_str().is_some_and(|id| id.starts_with("chatcmpl-")), "{id}");
    assert!(answer["created"].take().as_u64().is_some_and(|created| created > 1_700_000_000));
    let source = ids("<bos><start_of_turn>userSome text<end_of_turn><start_of_turn>model").len();
    let target = ids("a fine tool").len() + 1;
    assert_eq!(
        answer,
        json!({
            "id": null, "object": "chat.completion", "created": null, "model": MODEL,
            "choices": [{
                "index": 0, "message": {"role": "assistant", "content": "a fine tool", "refusal": null},
                "logprobs": null, "finish_reason": "stop",
            }],
            "usage": {
                "prompt_tokens": source, "completion_tokens": target, "total_tokens": source + target,
                "prompt_tokens_details": {"cached_tokens": 0},
            },
        })
    );
    assert_eq!(app.count(Outcome::Completed), 1);
}

#[tokio::test]
async fn the_whole_conversation_is_the_source_and_special_tokens_are_not_doubled() {
    let (app, seen) = watched("x");
    let messages = json!([
        {"role": "user", "content": "One"}, {"role": "assistant", "content": "Two"},
        {"role": "user", "content": "Three"},
    ]);
    answered(&app, json!({"messages": messages})).await;
    answered(&app, json!({"messages": messages, "add_generation_prompt": false, "add_special_tokens": true})).await;
    let seen = seen.lock().unwrap();
    let all = "<start_of_turn>userOne<end_of_turn><start_of_turn>assistantTwo<end_of_turn><start_of_turn>userThree\
               <end_of_turn>";
    assert_eq!(*seen[0].source, ids(&format!("<bos>{all}<start_of_turn>model")));
    assert_eq!(seen[0].source.iter().filter(|&&id| id == START).count(), 1);
    assert!(seen[0].decoder_prompt.is_empty());
    assert_eq!(*seen[1].source, [&[START], &ids(&format!("<bos>{all}"))[..]].concat(), "as the client says");
}

#[tokio::test]
async fn without_a_template_one_message_is_the_source_as_a_prompt_would_be() {
    let (app, seen) = watched_with(Setup::default(), "x");
    answered(&app, json!({"messages": user("a tool"), "max_tokens": 3})).await;
    app.completed(json!({"prompt": "a tool", "max_tokens": 3})).await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0].source, seen[1].source);
    assert_eq!(seen[0].source[0], START);
}

#[tokio::test]
async fn an_unfinished_answer_is_the_beginning_of_the_target() {
    let (app, seen) = watched(" tool");
    let messages = json!([{"role": "user", "content": "One"}, {"role": "assistant", "content": "a fine"}]);
    let body = json!({"messages": messages, "continue_final_message": true, "add_generation_prompt": false});
    let answer = answered(&app, body.clone()).await;
    assert_eq!(answer["choices"][0]["message"]["content"], " tool");
    let mut echoed = body;
    echoed["echo"] = json!(true);
    assert_eq!(answered(&app, echoed).await["choices"][0]["message"]["content"], "a fine tool");
    answered(&app, json!({"messages": user("One"), "decoder_prompt": [START, 9]})).await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0].decoder_prompt, ids("a fine"));
    assert_eq!(*seen[0].source, ids("<bos><start_of_turn>userOne<end_of_turn><start_of_turn>model"));
    assert_eq!((&seen[2].source, &seen[2].decoder_prompt), (&seen[0].source, &vec![9]));
}

#[tokio::test]
async fn the_log_probabilities_of_an_unfinished_answer_have_vllms_form() {
    let (app, seen) = watched(" tool");
    let messages = json!([{"role": "user", "content": "One"}, {"role": "assistant", "content": "a fine"}]);
    let body = json!({
        "messages": messages, "continue_final_message": true, "add_generation_prompt": false, "prompt_logprobs": 1,
        "logprobs": true, "top_logprobs": 3,
    });
    let answer = answered(&app, body).await;
    let given = ids("a fine");
    let list = answer["prompt_logprobs"].as_array().unwrap_or_else(|| panic!("{answer}"));
    assert_eq!((list.len(), &list[0]), (1 + given.len(), &Value::Null), "nothing comes before the start token");
    for (id, position) in given.iter().zip(&list[1..]) {
        let own = &position[id.to_string()];
        assert!(own["logprob"].is_number() && own["rank"] == 1 && own["decoded_token"].is_string(), "{position}");
        assert_eq!(position.as_object().unwrap().len(), 1, "the token is its own best alternative: {position}");
    }
    let written = answer["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(written.iter().map(|token| token["token"].as_str().unwrap()).collect::<String>(), " tool<eos>");
    assert_eq!(written[0]["top_logprobs"].as_array().unwrap().len(), 3);
    assert_eq!(seen.lock().unwrap()[0].prompt_scores.map(|scores| scores.top), Some(1));
}

#[tokio::test]
async fn without_a_limit_as_many_tokens_are_generated_as_fit() {
    let (app, seen) = watched("x");
    answered(&app, json!({"messages": user("One")})).await;
    answered(&app, json!({"messages": user("One"), "decoder_prompt": [9, 9]})).await;
    answered(&app, json!({"messages": user("One"), "max_completion_tokens": 7})).await;
    let most: Vec<u32> = seen.lock().unwrap().iter().map(|request| request.max_tokens).collect();
    assert_eq!(most, [128, 126, 7]);
    let error = ask(&app, &json!({"messages": user("One"), "min_tokens": 129})).await;
    error.error(400, Some("min_tokens"), None);
}

#[tokio::test]
async fn log_probabilities_have_chats_shape_with_bytes() {
    let (app, _) = watched("a");
    let body = json!({"messages": user("One"), "logprobs": true, "top_logprobs": 2});
    let answer = answered(&app, body).await;
    let block = &answer["choices"][0]["logprobs"];
    assert_eq!(block["refusal"], Value::Null);
    let content = block["content"].as_array().unwrap();
    assert_eq!(content.len(), ids("a").len() + 1);
    let last = content.last().unwrap();
    assert_eq!((&last["token"], &last["logprob"], &last["bytes"]), (&json!("<eos>"), &json!(-0.5), &json!(b"<eos>")));
    let top = last["top_logprobs"].as_array().unwrap();
    assert_eq!(top.iter().map(|token| &token["logprob"]).collect::<Vec<_>>(), [-0.5, -1.5]);
    assert_eq!(top[1]["token"], json!("<bos>"));
    let none = answered(&app, json!({"messages": user("One"), "logprobs": true})).await;
    assert_eq!(none["choices"][0]["logprobs"]["content"][0]["top_logprobs"], json!([]));
}

#[tokio::test]
async fn a_stream_begins_with_the_role_and_ends_with_the_reason() {
    let (app, _) = watched("a fine tool");
    let events = streamed(&app, json!({"messages": user("One"), "stream_options": {"include_usage": true}})).await;
    assert!(events.done);
    let (usage, chunks) = events.chunks.split_last().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["completion_tokens"], json!(ids("a fine tool").len() + 1));
    assert!(chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk" && chunk["usage"].is_null()));
    assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]));
    let choices: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"][0]).collect();
    let first =
        json!({"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": null, "finish_reason": null});
    assert_eq!(*choices[0], first);
    let texts: String = choices.iter().map(|choice| choice["delta"]["content"].as_str().unwrap()).collect();
    assert_eq!(texts, "a fine tool");
    let roles = choices.iter().filter(|choice| choice["delta"].get("role").is_some());
    assert_eq!(roles.count(), 1);
    let (last, before) = choices.split_last().unwrap();
    assert_eq!(last["finish_reason"], "stop");
    assert!(before.iter().all(|choice| choice["finish_reason"].is_null()));
}

#[tokio::test]
async fn each_choice_has_its_role_and_stop_strings_and_ids_work_as_in_completions() {
    let (app, _) = watched("one END two");
    let body = json!({"messages": user("One"), "n": 2, "stop": "END", "return_token_ids": true});
    let answer = answered(&app, body.clone()).await;
    let source = ids("<bos><start_of_turn>userOne<end_of_turn><start_of_turn>model");
    assert_eq!(answer["prompt_token_ids"], json!(source));
    for choice in answer["choices"].as_array().unwrap() {
        assert_eq!(choice["message"]["content"], "one ");
        assert!(choice["token_ids"].as_array().is_some_and(|list| !list.contains(&json!(END))));
    }
    let events = streamed(&app, body).await;
    for index in 0..2 {
        let chunks = events.of_choice(index);
        assert_eq!(chunks[0]["delta"]["role"], "assistant");
        assert_eq!(chunks.iter().filter(|chunk| chunk["delta"].get("role").is_some()).count(), 1);
    }
    assert_eq!(events.chunks[0]["prompt_token_ids"], json!(source));
}

#[tokio::test]
async fn what_a_template_refuses_or_cannot_do_is_a_bad_request() {
    let (app, _) = watched("x");
    let messages = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "One"}]);
    let message = ask(&app, &json!({"messages": messages})).await.error(400, Some("messages"), None);
    assert_eq!(message, "the model's chat template does not take 'messages': System role not supported");
    let (app, _) = watched_with(Setup { chat: turns(20), ..Setup::default() }, "x");
    let message = ask(&app, &json!({"messages": user("One")})).await.error(400, Some("messages"), None);
    assert!(message.contains("limits.chat_template_steps"), "{message}");
    app.all_slots_free().await;
}

#[tokio::test]
async fn a_conversation_that_is_too_long_is_refused_by_its_tokens() {
    let (app, _) = watched("x");
    let long = ask(&app, &json!({"messages": user(&"a b ".repeat(200))})).await;
    let message = long.error(400, Some("messages"), Some("context_length_exceeded"));
    assert!(message.contains("maximum context length is 256 tokens"), "{message}");
    let longer = ask(&app, &json!({"messages": user(&"a b ".repeat(50_000))})).await;
    let message = longer.error(400, Some("messages"), Some("context_length_exceeded"));
    assert!(message.contains("at least 257 tokens"), "{message}");
    app.all_slots_free().await;
}

#[tokio::test]
async fn a_full_queue_is_answered_before_anything_is_rendered() {
    // The template would refuse the conversation.
    let (app, _hand) = App::by_hand(Setup { queued_rows: 1, chat: turns(20), ..Setup::default() });
    let _place = app.engine().reserve(server::request::Salt::default(), 1).unwrap();
    ask(&app, &json!({"messages": user("One")})).await.error(429, None, Some("overloaded"));
}

#[tokio::test]
async fn errors_name_the_fields_that_the_client_wrote() {
    let (app, _) = watched("x");
    let begun = |text: &str| json!([{"role": "user", "content": "One"}, {"role": "assistant", "content": text}]);
    let long = |field: &str| json!({"messages": user("One"), field: 129});
    let too_long = "context_length_exceeded";
    let scored = |top: Value| json!({"messages": user("One"), "n": 16, "logprobs": true, "top_logprobs": top});
    for (body, param, code, words) in [
        (long("max_tokens"), "max_tokens", Some(too_long), "'max_tokens' asks for 129 tokens"),
        (
            long("max_completion_tokens"),
            "max_completion_tokens",
            Some(too_long),
            "'max_completion_tokens' asks for 129",
        ),
        (
            json!({"messages": begun(&"a ".repeat(60)), "continue_final_message": true, "max_completion_tokens": 100}),
            "max_completion_tokens",
            Some(too_long),
            "messages[1] (61 tokens) and max_completion_tokens (100) make 161 tokens",
        ),
        (
            json!({"messages": begun(&"a ".repeat(127)), "continue_final_message": true}),
            "messages",
            Some(too_long),
            "messages[1] (128 tokens)",
        ),
        (
            json!({"messages": begun(&"a b ".repeat(5_000)), "continue_final_message": true}),
            "messages",
            Some(too_long),
            "'messages[1]' has at least",
        ),
        (
            json!({"messages": user("One"), "max_completion_tokens": 7, "min_tokens": 8}),
            "min_tokens",
            None,
            "at most max_completion_tokens (7)",
        ),
        (scored(json!(20)), "top_logprobs", None, "log-probabilities"),
        (
            json!({"messages": user("One"), "echo": true, "logprobs": true}),
            "decoder_prompt",
            None,
            "nothing of 'messages'",
        ),
    ] {
        let message = ask(&app, &body).await.error(400, Some(param), code);
        assert!(message.contains(words), "{message}");
        assert!(!message.contains("'prompt'"), "{message}");
    }
    app.all_slots_free().await;
}

#[tokio::test]
async fn memory_is_reserved_for_the_longest_names_and_bytes_that_log_probabilities_can_have() {
    let model_ids = 0..=tokenizer().max_id();
    let longest = model_ids.max_by_key(|&id| tokenizer().piece_bytes(id).map_or(0, <[u8]>::len)).unwrap();
    let candidate = Candidate { id: longest, log_prob: -1.175_494_4e-38, rank: 0 };
    let score = TokenScore { chosen: candidate, top: vec![candidate; 20] };
    for (path, asked) in [
        ("/v1/completions", json!({"prompt": "p", "max_tokens": 50, "logprobs": 20})),
        (PATH, json!({"messages": user("p"), "max_tokens": 50, "logprobs": true, "top_logprobs": 20})),
    ] {
        let (app, mut hand) = App::by_hand(Setup { answer_bytes: 64 << 20, ..Setup::default() });
        let request = Request::post(path).body(Body::from(asked.to_string())).unwrap();
        let asking = tokio::spawn({
            let app = app.clone();
            async move { Answer::of(app.send(request).await).await }
        });
        let running = hand.submission().await;
        let reserved = app.api.answer_budget.used_bytes();
        running.events.send(GenerationEvent::Started { cached_tokens: 0 }).unwrap();
        for _ in 0..50 {
            let token = GenerationEvent::Token { choice: 0, id: longest, score: Some(score.clone()) };
            running.events.send(token).unwrap();
        }
        running.events.send(GenerationEvent::Finished { choice: 0, reason: FinishReason::Length }).unwrap();
        let answer = asking.await.unwrap();
        assert_eq!(answer.status, 200);
        // Beside the text there are the names and lists that it is written from.
        let least = answer.text.len() + 50 * 21 * 64;
        assert!(reserved > least && reserved < 10 * least, "{path}: {reserved} bytes for {}", answer.text.len());
    }
}
