//! Bodies of responses that are accepted, and the errors of the others.

use serde_json::{Value, json};

use super::*;
use crate::api::fields::{IdBounds, Prompt, PromptBounds, StopBounds};
use crate::api::structure::StructureBounds;
use crate::request::RequestDefaults;

const BOUNDS: RequestBounds = RequestBounds {
    structure: StructureBounds { grammar_bytes: 1000, targets: 10, target_bytes: 100 },
    prompts: PromptBounds { prompts: 64, ids: IdBounds { vocab: 1000, most: 50 } },
    decoder_prompt: IdBounds { vocab: 500, most: 41 },
    choices: 16,
    top_log_probs: 20,
    total_choices: 32,
    stop: StopBounds { strings: 4, bytes: 64 },
    messages: 4,
    start_token: 2,
    sampling: RequestDefaults::SAMPLING,
    search: RequestDefaults::SEARCH,
    has_max_tokens: false,
    takes_text: true,
    generates: true,
};

fn parse(value: Value) -> Result<ResponseCall, ApiError> {
    super::parse(value.to_string().as_bytes(), &BOUNDS)
}

/// A request with one more field.
fn with(name: &str, value: Value) -> Result<ResponseCall, ApiError> {
    let mut body = json!({"input": "Hello"});
    body[name] = value;
    parse(body)
}

fn messages(call: ResponseCall) -> Vec<(String, String)> {
    let CallSources::Conversation(conversation) = call.call.sources else { panic!("a response has a conversation") };
    conversation.messages.into_iter().map(|message| (message.role, message.content)).collect()
}

/// Roles and texts of this input.
fn read(input: Value) -> Result<Vec<(String, String)>, ApiError> {
    parse(json!({"input": input})).map(messages)
}

fn refused(read: Result<impl Sized, ApiError>) -> String {
    read.err().expect("refused").to_string()
}

fn pair(role: &str, text: &str) -> (String, String) {
    (role.to_owned(), text.to_owned())
}

#[test]
fn an_input_is_a_text_or_a_list_of_messages_with_instructions_in_front() {
    assert_eq!(read(json!("Hello")), Ok(vec![pair("user", "Hello")]));
    let parts = json!([{"type": "input_text", "text": "a"}, {"text": "b", "type": "input_text"}]);
    let answer = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "phase": null,
        "content": [{"type": "output_text", "text": "c", "annotations": [], "logprobs": []}],
    });
    let items =
        json!([{"role": "user", "content": parts}, answer, {"type": "message", "role": "user", "content": "d"}]);
    assert_eq!(read(items.clone()), Ok(vec![pair("user", "a\nb"), pair("assistant", "c"), pair("user", "d")]));
    let instructed = messages(parse(json!({"input": items, "instructions": "Be brief"})).unwrap());
    assert_eq!((instructed.len(), &instructed[0]), (4, &pair("system", "Be brief")));
    assert_eq!(read(json!([{"role": "developer", "content": "e"}])), Ok(vec![pair("system", "e")]));
}

#[test]
fn an_input_that_cannot_be_read_is_told_by_its_place() {
    let user = json!({"role": "user", "content": "x"});
    for (input, message) in [
        (json!(7), "'input' must be a string or a list of messages, not a number"),
        (json!(null), "you must provide a 'input' parameter"),
        (json!([]), "'input' must not be an empty list"),
        (json!([user, user, user, user, user]), "'input' holds 5 messages; at most 4 are allowed"),
        (
            json!([user, {"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]),
            "'input[1].content[0].type' must be a text",
        ),
        (json!([{"role": "tool", "content": "x"}]), "'input[0].role' is a result of a tool"),
        (json!([{"role": "user", "content": "x", "odd": 1}]), "Unrecognized request argument supplied: input[].odd"),
        (
            json!([{"type": "item_reference", "id": "msg_1"}]),
            "'input[].type' must be message: this server takes no other",
        ),
        (json!([{"type": "function_call_output", "call_id": "c", "output": "o"}]), "'input[].type' must be message"),
    ] {
        let error = read(input.clone()).expect_err("refused");
        assert_eq!(error.param(), Some("input"));
        assert!(error.to_string().starts_with(message), "{input}: {error}");
    }
    let without_text = RequestBounds { takes_text: false, ..BOUNDS };
    let error = super::parse(json!({"input": "x"}).to_string().as_bytes(), &without_text).expect_err("refused");
    assert!(matches!(error, ApiError::NeedsTokenizer { param: "input", .. }), "{error}");
}

#[test]
fn defaults_are_openais_and_settings_are_repeated() {
    let ResponseCall { call, settings } = parse(json!({"input": "Hello"})).unwrap();
    assert_eq!((call.max_tokens, call.choices, call.log_probs, call.stream), (None, 1, None, false));
    assert_eq!((settings.temperature, settings.top_p, settings.tool_choice), (1.0, 1.0, "auto"));
    let ResponseCall { call, settings } = parse(json!({
        "input": "Hello", "instructions": "Be brief", "max_output_tokens": 7, "temperature": 0.5, "top_p": 0.25,
        "top_logprobs": 3, "include": ["message.output_text.logprobs", "reasoning.encrypted_content"], "stream": true,
        "metadata": {"a": "b"}, "tool_choice": "none", "parallel_tool_calls": false, "seed": 5, "stop": "x",
        "stream_options": {"include_obfuscation": false}, "text": {"format": {"type": "text"}},
        "reasoning": {"effort": "none"}, "user": "u", "safety_identifier": "s", "prompt_cache_key": "k",
        "prompt_cache_retention": "24h", "max_tool_calls": 9,
    }))
    .unwrap();
    assert_eq!((call.max_tokens, call.log_probs, call.stream, call.seed), (Some(7), Some(3), true, Some(5)));
    assert_eq!(call.stop, ["x"]);
    let repeated = serde_json::to_value(&settings).unwrap();
    for (name, value) in [
        ("instructions", json!("Be brief")),
        ("max_output_tokens", json!(7)),
        ("temperature", json!(0.5)),
        ("top_p", json!(0.25)),
        ("top_logprobs", json!(3)),
        ("metadata", json!({"a": "b"})),
        ("tool_choice", json!("none")),
        ("parallel_tool_calls", json!(false)),
        ("store", json!(false)),
        ("truncation", json!("disabled")),
        ("text", json!({"format": {"type": "text"}, "verbosity": "medium"})),
        ("reasoning", json!({"effort": "none", "summary": null})),
        ("user", json!("u")),
        ("safety_identifier", json!("s")),
        ("prompt_cache_key", json!("k")),
        ("prompt_cache_retention", json!("24h")),
        ("max_tool_calls", json!(9)),
    ] {
        assert_eq!(repeated[name], value, "{name}");
    }
}

#[test]
fn an_unfinished_answer_begins_the_target_and_is_named_by_its_place() {
    let items = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]);
    let body = json!({"input": items, "instructions": "c", "continue_final_message": true});
    let ResponseCall { call, .. } = parse(body.clone()).unwrap();
    assert_eq!(
        (&call.beginnings[..], &*call.names.target.beginning),
        (&[Prompt::Text("b".to_owned())][..], "input[1]")
    );
    assert_eq!(messages(parse(body).unwrap()), [pair("system", "c"), pair("user", "a")]);
    let problem = "'continue_final_message' needs a last message of the assistant, after others";
    assert_eq!(refused(with("continue_final_message", json!(true))), problem);
    let both = parse(json!({"input": items, "continue_final_message": true, "decoder_prompt": "x"}));
    assert!(refused(both).starts_with("'continue_final_message' and 'decoder_prompt' exclude each other"));
}

#[test]
fn what_is_not_supported_is_refused_by_name_and_accepted_where_it_changes_nothing() {
    for (name, refused, neutral) in [
        ("store", json!(true), json!(false)),
        ("background", json!(true), json!(false)),
        ("truncation", json!("auto"), json!("disabled")),
        ("previous_response_id", json!("resp_1"), json!(null)),
        ("conversation", json!("conv_1"), json!(null)),
        ("prompt", json!({"id": "pmpt_1"}), json!(null)),
        ("tools", json!([{"type": "web_search"}]), json!([])),
        ("tool_choice", json!("required"), json!("auto")),
        ("service_tier", json!("flex"), json!("auto")),
        (
            "text",
            json!({"format": {"type": "json_object", "strict": true}}),
            json!({"format": {"type": "text"}, "verbosity": "medium"}),
        ),
        ("reasoning", json!({"effort": "high"}), json!({"effort": "none", "summary": null})),
        ("stream_options", json!({"include_usage": true}), json!(null)),
        ("include", json!(["message.output_text.tokens"]), json!([])),
        ("metadata", json!({"a": {}}), json!({})),
        ("max_output_tokens", json!(0), json!(null)),
        ("top_logprobs", json!(2), json!(0)),
        ("n", json!(2), json!(null)),
        ("user", json!(7), json!("u")),
        ("frequency_penalty", json!(2.5), json!(0)),
    ] {
        let error = with(name, refused).expect_err(name);
        let param = error.param().unwrap().split('.').next().unwrap().to_owned();
        assert_eq!(param, name, "{error}");
        if name != "n" {
            assert!(with(name, neutral).is_ok(), "{name}");
        }
    }
    let stored = refused(with("previous_response_id", json!("resp_1")));
    assert!(stored.ends_with("Leave it out and send the whole conversation in 'input'"), "{stored}");
    let problem = "'include[1]' must be the name of a part of a response, such as message.output_text.logprobs";
    assert_eq!(refused(with("include", json!(["message.output_text.logprobs", 7]))), problem);
}

#[test]
fn options_of_a_stream_need_a_stream() {
    let problem = "'stream_options' is only allowed when 'stream' is true";
    assert_eq!(refused(with("stream_options", json!({}))), problem);
}
