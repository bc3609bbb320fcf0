//! Fields that are known and not supported: each is taken with the value that changes nothing, and refused by its name
//! with another one.

use serde_json::{Value, json};

use crate::app::{App, Setup, ids};
use crate::scripted_engine::generate;

/// A field, its neutral value, and one that asks for something; none where anything is neutral.
type Case = (&'static str, Value, Option<Value>);

/// Fields of every generating endpoint.
fn of_generation() -> Vec<Case> {
    vec![
        ("logits_processors", json!([]), Some(json!(["x"]))),
        ("detokenize", json!(true), Some(json!(false))),
        ("mm_processor_kwargs", Value::Null, Some(json!({}))),
        ("spaces_between_special_tokens", json!(true), Some(json!(false))),
        ("truncate_prompt_tokens", Value::Null, Some(json!(5))),
        ("data_parallel_rank", Value::Null, Some(json!(0))),
        ("kv_transfer_params", Value::Null, Some(json!({}))),
        ("priority", json!(0), Some(json!(1))),
        ("request_id", Value::Null, Some(json!("x"))),
        ("vllm_xargs", Value::Null, Some(json!({}))),
    ]
}

/// Sends `body` with each field in turn.
async fn hold(path: &str, body: Value, cases: Vec<Case>) {
    let (setup, tokens) = (Setup { labels: vec!["a".to_owned(), "b".to_owned()], ..Setup::default() }, ids("a"));
    let app = App::scripted(setup, move |request| generate(request, &tokens));
    for (field, neutral, other) in cases {
        let ask = async |value: &Value| {
            let mut body = body.clone();
            body[field] = value.clone();
            app.post(path, &body).await
        };
        for value in [&neutral, &Value::Null] {
            let answer = ask(value).await;
            assert_eq!(answer.status, 200, "{path} {field} {value}: {}", answer.text);
        }
        if let Some(other) = other {
            ask(&other).await.error(400, Some(field), None);
        }
    }
}

#[tokio::test]
async fn of_completions() {
    let own = vec![
        ("user", json!("me"), None),
        ("user", json!(7), None),
        ("prompt_embeds", Value::Null, Some(json!("AA=="))),
    ];
    hold("/v1/completions", json!({"prompt": "p"}), [own, of_generation()].concat()).await;
}

#[tokio::test]
async fn of_chat() {
    let own = vec![
        ("audio", Value::Null, Some(json!({"voice": "x"}))),
        ("function_call", json!("none"), Some(json!("auto"))),
        ("functions", json!([]), Some(json!([{"name": "f"}]))),
        ("metadata", json!({"a": "b"}), None),
        ("modalities", json!(["text"]), Some(json!(["text", "audio"]))),
        ("parallel_tool_calls", json!(true), None),
        ("prediction", Value::Null, Some(json!({"type": "content", "content": "x"}))),
        ("prompt_cache_key", json!("x"), None),
        ("prompt_cache_retention", json!("24h"), None),
        ("reasoning_effort", json!("none"), Some(json!("high"))),
        ("safety_identifier", json!("x"), None),
        ("service_tier", json!("auto"), Some(json!("flex"))),
        ("store", json!(false), Some(json!(true))),
        ("tool_choice", json!("none"), Some(json!("required"))),
        ("tools", json!([]), Some(json!([{"type": "function"}]))),
        ("user", json!("me"), None),
        ("verbosity", json!("medium"), Some(json!("low"))),
        ("web_search_options", Value::Null, Some(json!({}))),
        ("chat_template", Value::Null, Some(json!("{{ messages }}"))),
        ("documents", json!([]), Some(json!([{"text": "x"}]))),
        ("include_reasoning", json!(true), None),
        ("media_io_kwargs", Value::Null, Some(json!({}))),
    ];
    let body = json!({"messages": [{"role": "user", "content": "p"}], "max_tokens": 4});
    hold("/v1/chat/completions", body, [own, of_generation()].concat()).await;
}

#[tokio::test]
async fn of_responses() {
    let own = vec![
        ("access_programs", Value::Null, Some(json!([]))),
        ("background", json!(false), Some(json!(true))),
        ("context_management", json!([]), Some(json!([{"type": "compaction"}]))),
        ("conversation", Value::Null, Some(json!("conv_1"))),
        ("image", Value::Null, Some(json!("x"))),
        ("moderation", Value::Null, Some(json!({}))),
        ("previous_response_id", Value::Null, Some(json!("resp_1"))),
        ("prompt", Value::Null, Some(json!({"id": "x"}))),
        ("prompt_cache_options", json!({"a": 1}), None),
        ("service_tier", json!("auto"), Some(json!("flex"))),
        ("store", json!(false), Some(json!(true))),
        ("tools", json!([]), Some(json!([{"type": "function"}]))),
        ("truncation", json!("disabled"), Some(json!("auto"))),
        ("chat_template", Value::Null, Some(json!("{{ messages }}"))),
        ("media_io_kwargs", Value::Null, Some(json!({}))),
    ];
    hold("/v1/responses", json!({"input": "p", "max_output_tokens": 4}), [own, of_generation()].concat()).await;
}

/// Fields of scores and of rankings.
fn of_scoring() -> Vec<Case> {
    vec![
        ("activation", Value::Null, Some(json!(true))),
        ("instruction", Value::Null, Some(json!("x"))),
        ("mm_processor_kwargs", Value::Null, Some(json!({}))),
        ("priority", json!(0), Some(json!(1))),
        ("softmax", Value::Null, Some(json!(true))),
        ("use_activation", Value::Null, Some(json!(false))),
        ("user", json!("me"), None),
    ]
}

#[tokio::test]
async fn of_scores() {
    for method in ["likelihood", "embedding"] {
        hold("/v1/score", json!({"text_1": "a", "text_2": "b", "method": method}), of_scoring()).await;
    }
}

#[tokio::test]
async fn of_rankings() {
    let own = vec![
        ("max_chunks_per_doc", Value::Null, Some(json!(3))),
        ("max_tokens_per_doc", Value::Null, Some(json!(100))),
        ("rank_fields", Value::Null, Some(json!(["text"]))),
    ];
    let body = json!({"query": "a", "documents": ["b", "c"]});
    hold("/v1/rerank", body, [own, of_scoring()].concat()).await;
}

#[tokio::test]
async fn of_encodings() {
    for path in ["/v1/embeddings", "/v1/encode", "/v1/classify"] {
        let cases = vec![
            ("cache_salt", json!("x"), None),
            ("priority", json!(0), Some(json!(1))),
            ("request_id", Value::Null, Some(json!("x"))),
            ("user", json!("me"), None),
        ];
        hold(path, json!({"input": "a"}), cases).await;
    }
}

#[tokio::test]
async fn of_questions_for_the_tokenizer() {
    let cases = vec![
        ("chat_template", Value::Null, Some(json!("{{ messages }}"))),
        ("media_io_kwargs", Value::Null, Some(json!({}))),
        ("mm_processor_kwargs", Value::Null, Some(json!({}))),
        ("tools", json!([]), Some(json!([{"type": "function"}]))),
    ];
    hold("/tokenize", json!({"prompt": "a"}), cases.clone()).await;
    hold("/tokenize", json!({"messages": [{"role": "user", "content": "a"}]}), cases).await;
}
