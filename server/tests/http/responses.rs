//! Responses: what the engine gets of an input, and the answer in OpenAI's shape, whole and in events.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use server::chat_template::ChatTemplate;
use server::request::{FailureKind, FinishReason, GenerationEvent, GenerationRequest};
use server::telemetry::Outcome;

use crate::answer::Answer;
use crate::app::{App, MODEL, Setup, ids, wait_for};
use crate::scripted_engine::{generate, token};

const PATH: &str = "/v1/responses";
const TURNS: &str = "{% for message in messages %}[{{ message.role }}]{{ message.content }}{% endfor %}\
                     {% if add_generation_prompt %}[model]{% endif %}";

/// A server with a template, which generates `text`, and the requests that reach its engine.
fn watched(text: &str) -> (App, Arc<Mutex<Vec<GenerationRequest>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (tokens, log) = (ids(text), Arc::clone(&seen));
    let chat = ChatTemplate::compile(TURNS, Vec::new(), 10_000).unwrap();
    let app = App::scripted(Setup { chat, ..Setup::default() }, move |request| {
        log.lock().unwrap().push(request.clone());
        generate(request, &tokens)
    });
    (app, seen)
}

async fn answered(app: &App, body: Value) -> Value {
    let answer = app.post(PATH, &body).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    answer.json()
}

/// The events of a stream, each checked to be named as its type is and numbered in order.
async fn streamed(app: &App, mut body: Value) -> Vec<Value> {
    body["stream"] = json!(true);
    let answer = app.post(PATH, &body).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream; charset=utf-8", "{}", answer.text);
    events(&answer.text)
}

fn events(text: &str) -> Vec<Value> {
    let event = |(number, event): (usize, &str)| {
        let (name, data) = event.split_once('\n').unwrap_or_else(|| panic!("no name: {event}"));
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name, format!("event: {}", data["type"].as_str().unwrap()));
        assert_eq!(data["sequence_number"], json!(number), "{data}");
        data
    };
    text.split_terminator("\n\n").enumerate().map(event).collect()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// Takes the names and the times out of a response, after a look at them.
fn without_names(response: &mut Value) {
    for (name, beginning) in [("/id", "resp_"), ("/output/0/id", "msg_")] {
        let id = response.pointer_mut(name).unwrap().take();
        assert!(id.as_str().is_some_and(|id| id.starts_with(beginning)), "{id}");
    }
    for name in ["created_at", "completed_at"] {
        let time = response[name].take();
        assert!(time.is_null() || time.as_u64().is_some_and(|time| time > 1_700_000_000), "{time}");
    }
}

#[tokio::test]
async fn a_response_has_openais_shape() {
    let (app, seen) = watched("a fine tool");
    let body = json!({"model": MODEL, "input": "Some text", "instructions": "Be brief", "metadata": {"a": "b"}});
    let mut response = answered(&app, body).await;
    assert!(response["completed_at"].is_u64());
    without_names(&mut response);
    let source = ids("[system]Be brief[user]Some text[model]");
    let (input, output) = (source.len(), ids("a fine tool").len() + 1);
    assert_eq!(
        response,
        json!({
            "id": null, "object": "response", "created_at": null, "completed_at": null, "status": "completed",
            "error": null, "incomplete_details": null, "model": MODEL,
            "output": [{
                "id": null, "type": "message", "status": "completed", "role": "assistant",
                "content": [{"type": "output_text", "text": "a fine tool", "annotations": [], "logprobs": []}],
            }],
            "usage": {
                "input_tokens": input, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": input},
                "output_tokens": output, "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": input + output,
            },
            "instructions": "Be brief", "max_output_tokens": null, "temperature": 1.0, "top_p": 1.0,
            "top_logprobs": 0, "tool_choice": "auto", "parallel_tool_calls": true, "metadata": {"a": "b"},
            "max_tool_calls": null, "user": null, "safety_identifier": null, "prompt_cache_key": null,
            "prompt_cache_retention": null, "background": false, "previous_response_id": null,
            "reasoning": {"effort": null, "summary": null}, "service_tier": "default", "store": false,
            "text": {"format": {"type": "text"}, "verbosity": "medium"}, "tools": [], "truncation": "disabled",
        })
    );
    assert_eq!(*seen.lock().unwrap()[0].source, source);
    assert_eq!(app.count(Outcome::Completed), 1);
}

#[tokio::test]
async fn an_answer_of_before_is_part_of_the_next_input() {
    let (app, seen) = watched("Two");
    let first = answered(&app, json!({"input": "One"})).await;
    let mut items = vec![json!({"role": "user", "content": "One"})];
    items.extend(first["output"].as_array().unwrap().clone());
    items.push(json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Three"}]}));
    answered(&app, json!({"input": items})).await;
    assert_eq!(*seen.lock().unwrap()[1].source, ids("[user]One[assistant]Two[user]Three[model]"));
}

#[tokio::test]
async fn a_text_that_was_cut_is_incomplete_and_a_begun_one_is_continued() {
    let (app, seen) = watched("a fine tool");
    let mut cut = answered(&app, json!({"input": "One", "max_output_tokens": 1})).await;
    without_names(&mut cut);
    assert_eq!((&cut["status"], &cut["output"][0]["status"]), (&json!("incomplete"), &json!("incomplete")));
    assert_eq!(cut["incomplete_details"], json!({"reason": "max_output_tokens"}));
    let items = json!([{"role": "user", "content": "One"}, {"role": "assistant", "content": "a"}]);
    answered(&app, json!({"input": items, "continue_final_message": true})).await;
    let seen = seen.lock().unwrap();
    assert_eq!((seen[0].max_tokens, &seen[1].decoder_prompt), (1, &ids("a")));
    assert_eq!(*seen[1].source, ids("[user]One[model]"));
}

#[tokio::test]
async fn a_stream_has_openais_events_and_ends_with_the_whole_response() {
    let (app, _) = watched("a fine tool");
    let body = json!({"input": "One", "metadata": {"a": "b"}});
    let events = streamed(&app, body.clone()).await;
    let named = types(&events);
    let opening =
        ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"];
    let closing =
        ["response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed"];
    assert_eq!((&named[..4], &named[named.len() - 4..]), (&opening[..], &closing[..]));
    let deltas = &events[4..events.len() - 4];
    assert!(deltas.iter().all(|event| event["type"] == "response.output_text.delta"), "{named:?}");
    let texts: Vec<&str> = deltas.iter().map(|event| event["delta"].as_str().unwrap()).collect();
    assert_eq!(texts.concat(), "a fine tool");
    assert!(texts.iter().all(|text| !text.is_empty()), "{texts:?}");
    for response in [&events[0]["response"], &events[1]["response"]] {
        assert_eq!((&response["status"], &response["output"]), (&json!("in_progress"), &json!([])));
        assert_eq!((&response["usage"], &response["metadata"]), (&Value::Null, &json!({"a": "b"})));
    }
    let item = json!({"type": "message", "status": "in_progress", "role": "assistant", "content": []});
    let mut added = events[2]["item"].clone();
    let id = added.as_object_mut().unwrap().remove("id").unwrap();
    assert_eq!((added, &events[2]["output_index"]), (item, &json!(0)));
    for event in &events[3..events.len() - 2] {
        let place = (&event["item_id"], &event["output_index"], &event["content_index"]);
        assert_eq!(place, (&id, &json!(0), &json!(0)), "{event}");
    }
    let [text, part, item, last] = &events[events.len() - 4..] else { panic!("{named:?}") };
    assert_eq!((&text["text"], &part["part"]["text"]), (&json!("a fine tool"), &json!("a fine tool")));
    assert_eq!(item["item"], last["response"]["output"][0]);
    let (mut streamed, mut whole) = (last["response"].clone(), answered(&app, body).await);
    assert_eq!(streamed["id"], events[0]["response"]["id"]);
    without_names(&mut streamed);
    without_names(&mut whole);
    assert_eq!(streamed, whole);
}

#[tokio::test]
async fn a_stream_that_was_cut_says_so_in_its_last_event() {
    let (app, _) = watched("a fine tool");
    let events = streamed(&app, json!({"input": "One", "max_output_tokens": 2})).await;
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.incomplete");
    assert_eq!(last["response"]["incomplete_details"], json!({"reason": "max_output_tokens"}));
    assert_eq!(last["response"]["usage"]["output_tokens"], json!(2));
}

#[tokio::test]
async fn log_probabilities_come_with_each_piece_and_again_with_the_whole() {
    let (app, _) = watched("a tool");
    let body = json!({"input": "One", "include": ["message.output_text.logprobs"], "top_logprobs": 2});
    let whole = answered(&app, body.clone()).await;
    let log_probs = whole["output"][0]["content"][0]["logprobs"].as_array().unwrap();
    assert_eq!(log_probs.len(), ids("a tool").len() + 1);
    let last = log_probs.last().unwrap();
    assert_eq!((&last["token"], &last["logprob"], &last["bytes"]), (&json!("<eos>"), &json!(-0.5), &json!(b"<eos>")));
    assert_eq!(last["top_logprobs"].as_array().map(Vec::len), Some(2));
    let events = streamed(&app, body).await;
    let deltas = events.iter().filter(|event| event["type"] == "response.output_text.delta");
    let pieces: Vec<Value> = deltas.flat_map(|event| event["logprobs"].as_array().unwrap().clone()).collect();
    assert_eq!(pieces, *log_probs);
    let of_type = |kind: &str| events.iter().find(|event| event["type"] == kind).unwrap();
    assert_eq!(of_type("response.output_text.done")["logprobs"], json!(log_probs));
    assert_eq!(of_type("response.completed")["response"]["output"][0]["content"][0]["logprobs"], json!(log_probs));
}

#[tokio::test]
async fn a_stream_that_fails_ends_with_the_failed_response() {
    let app = App::scripted(Setup::default(), |_| {
        let failed = GenerationEvent::Failed { message: "the device is gone".to_owned(), kind: FailureKind::Lasting };
        vec![GenerationEvent::Started { cached_tokens: 0 }, token(0, ids("a")[0]), failed]
    });
    let events = streamed(&app, json!({"input": "One"})).await;
    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["response"]["status"]), (&json!("response.failed"), &json!("failed")));
    let error = &last["response"]["error"];
    assert_eq!(error["code"], "server_error");
    assert!(error["message"].as_str().unwrap().contains("the device is gone"), "{error}");
    assert_eq!(app.count(Outcome::Failed), 1);
    app.post(PATH, &json!({"input": "One"})).await.error(500, None, Some("internal_error"));
}

#[tokio::test]
async fn stop_strings_and_a_stop_after_the_last_token_end_a_stream_once() {
    let app = App::scripted(Setup::default(), |_| {
        let mut events = vec![GenerationEvent::Started { cached_tokens: 0 }];
        events.extend(ids("one END two").into_iter().map(|id| token(0, id)));
        events.push(GenerationEvent::Finished { choice: 0, reason: FinishReason::Length });
        events
    });
    let events = streamed(&app, json!({"input": "One", "stop": "END"})).await;
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.completed");
    assert_eq!(last["response"]["output"][0]["content"][0]["text"], "one ");
    assert_eq!(types(&events).iter().filter(|kind| kind.ends_with(".done")).count(), 3);
}

#[tokio::test]
async fn errors_name_the_fields_of_responses() {
    let (app, _) = watched("x");
    for (body, param, code, words) in [
        (
            json!({"input": "a b ".repeat(200)}),
            "input",
            Some("context_length_exceeded"),
            "maximum context length is 256",
        ),
        (
            json!({"input": "One", "max_output_tokens": 129}),
            "max_output_tokens",
            Some("context_length_exceeded"),
            "'max_output_tokens' asks for 129 tokens",
        ),
        (
            json!({"input": "One", "max_output_tokens": 7, "min_tokens": 8}),
            "min_tokens",
            None,
            "at most max_output_tokens (7)",
        ),
        (json!({"input": "One", "model": "gpt-9"}), "model", Some("model_not_found"), "does not exist"),
    ] {
        let status = if code == Some("model_not_found") { 404 } else { 400 };
        let message = app.post(PATH, &body).await.error(status, Some(param), code);
        assert!(message.contains(words), "{message}");
    }
    app.all_slots_free().await;
}

#[tokio::test]
async fn nothing_is_stored_and_whoever_asks_for_it_is_told_so() {
    let app = App::saying("x");
    for (method, path) in
        [("GET", "/v1/responses/resp_1"), ("DELETE", "/v1/responses/resp_1"), ("POST", "/v1/responses/resp_1/cancel")]
    {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let message = Answer::of(app.send(request).await).await.error(404, None, Some("response_not_found"));
        assert!(message.contains("stores no responses"), "{message}");
    }
    for (path, instead) in [("input_tokens", "POST /tokenize"), ("compact/", "send a shorter conversation")] {
        let answer = app.post(&format!("{PATH}/{path}"), &json!({"input": "One"})).await;
        let message = answer.error(404, None, Some("unknown_url"));
        assert!(message.contains(instead), "{message}");
    }
}

#[tokio::test]
async fn what_an_answer_repeats_is_part_of_the_memory_that_it_reserves() {
    let (app, mut hand) = App::by_hand(Setup::default());
    let mut reserved = Vec::new();
    for more in [json!({}), json!({"stream": true}), json!({"instructions": "a \u{1}".repeat(20)})] {
        let mut body = json!({"input": "One", "max_output_tokens": 100});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let asking = tokio::spawn({
            let app = app.clone();
            async move { app.post(PATH, &body).await }
        });
        drop(hand.submission().await);
        reserved.push(app.api.answer_budget.used_bytes());
        asking.await.unwrap();
        hand.cancelled().await;
        wait_for(|| (app.api.answer_budget.used_bytes() == 0).then_some(())).await;
    }
    // The text of a stream is kept, and written in four events at the end.
    assert!(reserved[1] >= reserved[0] + 5 * 100 * 16, "{reserved:?}");
    assert!(reserved[2] >= reserved[0] + 4 * 8 * 20, "{reserved:?}");
}
