//! Chat bodies that are accepted, and the errors of the others.

use serde_json::{Value, json};

use super::*;
use crate::api::fields::{IdBounds, Prompt, PromptBounds, StopBounds};
use crate::api::structure::StructureBounds;
use crate::chat_template::TemplateValue;
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

fn parse(value: Value) -> Result<GenerationCall, ApiError> {
    super::parse(value.to_string().as_bytes(), &BOUNDS)
}

/// A request with one more field.
fn with(name: &str, value: Value) -> Result<GenerationCall, ApiError> {
    let mut body = json!({"messages": [{"role": "user", "content": "Hello"}]});
    body[name] = value;
    parse(body)
}

fn conversation(call: GenerationCall) -> Conversation {
    match call.sources {
        CallSources::Conversation(conversation) => conversation,
        CallSources::Prompts(_) => panic!("chat has a conversation"),
    }
}

/// Roles and texts of these messages.
fn read(messages: Value) -> Result<Vec<(String, String)>, ApiError> {
    let messages = conversation(parse(json!({"messages": messages}))?).messages;
    Ok(messages.into_iter().map(|message| (message.role, message.content)).collect())
}

#[test]
fn messages_are_texts_or_lists_of_text_parts_with_roles_that_templates_know() {
    let pair = |role: &str, text: &str| (role.to_owned(), text.to_owned());
    let parts = json!([{"type": "text", "text": "a"}, {"text": "b", "type": "text"}]);
    let answer = json!({"role": "assistant", "content": "c", "refusal": null, "tool_calls": [], "annotations": []});
    assert_eq!(
        read(json!([{"role": "developer", "content": "d"}, {"content": parts, "role": "user"}, answer])),
        Ok(vec![pair("system", "d"), pair("user", "a\nb"), pair("assistant", "c")])
    );
    let named = parse(json!({"messages": [{"role": "user", "content": "", "name": "Ada"}]})).unwrap();
    assert_eq!(conversation(named).messages[0].name.as_deref(), Some("Ada"));
}

#[test]
fn messages_that_cannot_be_read_are_named_by_their_place() {
    let user = json!({"role": "user", "content": "x"});
    let part = |part: Value| json!([user, {"role": "user", "content": [part]}]);
    for (messages, place) in [
        (json!([]), "'messages' must not be an empty list"),
        (json!("x"), "'messages' must be a list of messages, not a string"),
        (json!([user, "x"]), "'messages[1]' must be an object"),
        (json!([{"content": "x"}]), "'messages[0].role' must be a string, not missing"),
        (json!([{"role": "tool", "content": "x"}]), "'messages[0].role' is a result of a tool"),
        (json!([{"role": "model", "content": "x"}]), "'messages[0].role' must be system, developer, user or"),
        (json!([user, {"role": "user"}]), "'messages[1].content' is missing"),
        (json!([user, {"role": "user", "content": []}]), "'messages[1].content' is missing"),
        (json!([user, {"role": "user", "content": 7}]), "'messages[1].content' must be a string or a list"),
        (part(json!({"type": "image_url", "image_url": {}})), "'messages[1].content[0].type' must be a text"),
        (part(json!({"type": "text"})), "'messages[1].content[0].text' must be a string"),
        (part(json!({"type": "text", "text": "x", "more": 1})), "messages[1].content[0].more"),
        (json!([{"role": "user", "content": "x", "name": "n".repeat(300)}]), "'messages[0].name' has 300 bytes"),
        (json!([{"role": "user", "content": "x", "more": 1}]), "messages[].more"),
        (
            json!([{"role": "assistant", "content": "x", "tool_calls": [{}]}]),
            "'messages[].tool_calls' is not supported",
        ),
        (json!([user, user, user, user, user]), "'messages' holds 5 messages; at most 4"),
    ] {
        let error = read(messages.clone()).expect_err("refused");
        assert!(error.to_string().contains(place), "{messages}: {error}");
        assert_eq!((error.status().as_u16(), error.param()), (400, Some("messages")), "{messages}");
    }
    assert_eq!(parse(json!({})), Err(ApiError::Missing { param: "messages" }));
}

#[test]
fn an_unfinished_answer_begins_the_target_and_leaves_the_source() {
    let [ask, begun] = [json!({"role": "user", "content": "a"}), json!({"role": "assistant", "content": "b "})];
    let body = |more: Value| {
        let mut body = json!({"messages": [ask, begun], "continue_final_message": true});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        parse(body)
    };
    let call = body(json!({"add_generation_prompt": false})).unwrap();
    assert_eq!(call.beginnings, [Prompt::Text("b ".to_owned())]);
    let conversation = conversation(call);
    assert_eq!((conversation.messages.len(), conversation.add_generation_prompt), (1, true));
    for wrong in [
        json!({"add_generation_prompt": true}),
        json!({"decoder_prompt": "x"}),
        json!({"messages": [ask]}),
        json!({"messages": [begun]}),
    ] {
        let error = body(wrong.clone()).expect_err("refused");
        assert_eq!(error.param(), Some("continue_final_message"), "{wrong}: {error}");
    }
}

#[test]
fn without_it_the_whole_conversation_is_the_source() {
    let messages = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]);
    for (given, add) in [(Value::Null, true), (json!(true), true), (json!(false), false)] {
        let call = parse(json!({"messages": messages, "add_generation_prompt": given})).unwrap();
        assert_eq!(call.beginnings, []);
        let conversation = conversation(call);
        assert_eq!((conversation.messages.len(), conversation.add_generation_prompt), (2, add));
    }
}

#[test]
fn max_completion_tokens_is_max_tokens_and_as_many_as_fit_by_default() {
    assert_eq!(with("model", Value::Null).unwrap().max_tokens, None);
    assert_eq!(with("max_tokens", json!(7)).unwrap().max_tokens, Some(7));
    assert_eq!(with("max_completion_tokens", json!(8)).unwrap().max_tokens, Some(8));
    let both = |newer: u32| {
        let messages = json!([{"role": "user", "content": ""}]);
        parse(json!({"messages": messages, "max_tokens": 7, "max_completion_tokens": newer}))
    };
    assert_eq!(both(7).unwrap().max_tokens, Some(7));
    assert_eq!(both(8).unwrap_err().param(), Some("max_tokens"));
    assert!(with("max_completion_tokens", json!(0)).is_err());
}

#[test]
fn log_probabilities_are_asked_for_with_a_truth_value() {
    assert_eq!(with("logprobs", json!(false)).unwrap().log_probs, None);
    assert_eq!(with("logprobs", json!(true)).unwrap().log_probs, Some(0));
    assert_eq!(with("top_logprobs", json!(3)).unwrap_err().param(), Some("top_logprobs"));
    let body = json!({"messages": [{"role": "user", "content": ""}], "logprobs": true, "top_logprobs": 3});
    assert_eq!(parse(body).unwrap().log_probs, Some(3));
}

#[test]
fn variables_of_the_template_are_plain_values() {
    let read = with("chat_template_kwargs", json!({"a": true, "b": -7, "c": 0.5, "d": "x"})).unwrap();
    let named = |name: &str, value| (name.to_owned(), value);
    let expected = vec![
        named("a", TemplateValue::Boolean(true)),
        named("b", TemplateValue::Integer(-7)),
        named("c", TemplateValue::Number(0.5)),
        named("d", TemplateValue::Text("x".to_owned())),
    ];
    assert_eq!(conversation(read).variables, expected);
    let many: serde_json::Map<_, _> = (0..33).map(|index| (index.to_string(), json!(1))).collect();
    for wrong in [json!({"a": []}), json!({"messages": "x"}), json!({"tools": true}), json!([]), Value::Object(many)] {
        let error = with("chat_template_kwargs", wrong.clone()).expect_err("refused");
        assert_eq!(error.param(), Some("chat_template_kwargs"), "{wrong}: {error}");
    }
}

#[test]
fn fields_that_would_change_the_answer_are_refused_by_name_and_neutral_ones_are_not() {
    for (name, neutral, other) in [
        ("tools", json!([]), json!([{"type": "function"}])),
        ("tool_choice", json!("none"), json!("auto")),
        ("functions", json!([]), json!([{}])),
        ("function_call", json!("none"), json!("auto")),
        ("modalities", json!(["text"]), json!(["text", "audio"])),
        ("chat_template", Value::Null, json!("{{ messages }}")),
        ("store", json!(false), json!(true)),
        ("parallel_tool_calls", json!(true), json!(null)),
        ("frequency_penalty", json!(0), json!(2.5)),
        ("reasoning_effort", json!("none"), json!("high")),
    ] {
        assert!(with(name, neutral).is_ok(), "{name}");
        assert!(with(name, Value::Null).is_ok(), "{name} null");
        if !other.is_null() {
            assert_eq!(with(name, other).unwrap_err().param(), Some(name));
        }
    }
    let reason = with("tools", json!([{}])).unwrap_err().to_string();
    assert!(reason.contains("call no tools"), "{reason}");
    assert!(with("chat_template", json!("x")).unwrap_err().to_string().contains("--chat-template"));
    assert_eq!(with("bogus", json!(1)).unwrap_err().to_string(), "Unrecognized request argument supplied: bogus");
}

#[test]
fn a_model_without_a_tokenizer_does_not_chat() {
    let bounds = RequestBounds { takes_text: false, ..BOUNDS };
    let body = json!({"messages": [{"role": "user", "content": ""}]}).to_string();
    let error = super::parse(body.as_bytes(), &bounds).expect_err("refused");
    assert!(matches!(error, ApiError::NeedsTokenizer { param: "messages", .. }), "{error}");
}
