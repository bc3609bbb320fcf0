//! Requests that are refused: each with OpenAI's error object, the status and the parameter at fault.

use std::path::Path;
use std::sync::Arc;

use model::Tokenizer;
use proptest::prelude::*;
use serde_json::{Value, json};
use server::api::BodyLimits;
use server::telemetry::Outcome;

use crate::app::{App, MODEL, Setup};

const FIELDS: &[&str] = &[
    "model",
    "prompt",
    "decoder_prompt",
    "add_special_tokens",
    "max_tokens",
    "min_tokens",
    "ignore_eos",
    "n",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "stop",
    "logprobs",
    "echo",
    "stream",
    "stream_options",
    "return_token_ids",
    "best_of",
    "logit_bias",
    "response_format",
];

#[tokio::test]
async fn every_refused_value_names_its_parameter_and_reaches_no_engine() {
    let (app, hand) = App::by_hand(Setup::default());
    let long: Vec<u32> = vec![9; 257];
    for (field, value, param, code, words) in [
        ("temperature", json!(-1), "temperature", None, "out of range"),
        ("top_p", json!(-0.1), "top_p", None, "between 0 and 1"),
        ("top_k", json!(-2), "top_k", None, "at least -1"),
        ("min_p", json!(2), "min_p", None, "between 0 and 1"),
        ("min_tokens", json!(17), "min_tokens", None, "at most max_tokens (16 by default)"),
        ("stop", json!(["a", ""]), "stop", None, "empty string"),
        ("stop", json!(["a", "b", "c", "d", "e"]), "stop", None, "at most 4"),
        ("stream_options", json!({"include_usage": true}), "stream_options", None, "only allowed when 'stream'"),
        ("prompt", json!([4096]), "prompt", None, "outside the model's vocabulary of 4096"),
        ("prompt", json!([[1], [2, 5000]]), "prompt", None, "token id 5000"),
        ("decoder_prompt", json!([4096]), "decoder_prompt", None, "token id 4096"),
        ("prompt", json!([]), "prompt", None, "empty list"),
        ("prompt", json!(["a", [1]]), "prompt", None, "a string, as the others"),
        ("prompt", json!(vec!["a"; 65]), "prompt", None, "65 prompts; at most 64"),
        ("n", json!(17), "n", None, "between 1 and 16"),
        ("logprobs", json!(21), "logprobs", None, "between 0 and 20"),
        ("stop", json!(["a", "b".repeat(65)]), "stop", None, "65 bytes; at most 64"),
        ("max_tokens", json!(0), "max_tokens", None, "at least 1"),
        (
            "max_tokens",
            json!(129),
            "max_tokens",
            Some("context_length_exceeded"),
            "maximum context length is 128 tokens. However, 'max_tokens' asks for 129 tokens of target",
        ),
        ("max_tokens", json!(1_u64 << 60), "max_tokens", Some("context_length_exceeded"), "length is 128 tokens"),
        (
            "prompt",
            json!(long),
            "prompt",
            Some("context_length_exceeded"),
            "maximum context length is 256 tokens. However, 'prompt' has 257 tokens",
        ),
        ("prompt", json!([[1], long]), "prompt", Some("context_length_exceeded"), "'prompt[1]' has 257 tokens"),
        ("prompt", json!([long]), "prompt", Some("context_length_exceeded"), "'prompt[0]' has 257 tokens"),
        ("prompt", json!(["a ".repeat(300)]), "prompt", Some("context_length_exceeded"), "length is 256 tokens"),
        ("decoder_prompt", json!(vec![9; 113]), "decoder_prompt", Some("context_length_exceeded"), "make 129 tokens"),
        ("decoder_prompt", json!(vec![9; 128]), "decoder_prompt", Some("context_length_exceeded"), "(128 tokens)"),
        (
            "decoder_prompt",
            json!("a ".repeat(200)),
            "decoder_prompt",
            Some("context_length_exceeded"),
            "length is 128 tokens",
        ),
        ("best_of", json!(17), "best_of", None, "between 1 and 16"),
        ("length_penalty", json!(2), "length_penalty", None, "only with 'use_beam_search'"),
        ("early_stopping", json!("sometimes"), "early_stopping", None, "true, false or"),
        ("suffix", json!("end"), "suffix", None, "needs a checkpoint that was trained to fill gaps"),
        ("max_new_tokens", json!(3), "max_new_tokens", None, "Unrecognized request argument supplied: max_new_tokens"),
    ] {
        let mut body = json!({"prompt": "p"});
        body[field] = value;
        let message = app.complete(body).await.error(400, Some(param), code);
        assert!(message.contains(words), "{field}: {message}");
    }
    let message =
        app.complete(json!({"prompt": "", "add_special_tokens": false})).await.error(400, Some("prompt"), None);
    assert!(message.contains("has no tokens"));
    let message = app.complete(json!({})).await.error(400, Some("prompt"), None);
    assert_eq!(message, "you must provide a 'prompt' parameter");
    assert!(hand.is_idle());
    app.all_slots_free().await;
    assert_eq!(app.count(Outcome::Refused), 34);
}

#[tokio::test]
async fn what_is_allowed_field_by_field_can_be_too_much_together() {
    let (app, hand) = App::by_hand(Setup::default());
    let many = json!({"prompt": vec!["p"; 8], "n": 5});
    let message = app.complete(many).await.error(400, Some("n"), None);
    assert!(message.contains("makes 40 choices (prompts times n) in all; at most 32"), "{message}");
    let mut scored = json!({"prompt": "p", "n": 16, "max_tokens": 25, "logprobs": 20});
    let message = app.complete(scored.clone()).await.error(400, Some("logprobs"), None);
    assert!(message.contains("makes 8400 log-probabilities"), "{message}");
    // As text, the decoder prompt is counted once its tokens are known.
    scored["max_tokens"] = json!(24);
    scored["echo"] = json!(true);
    for decoder_prompt in [json!([9, 9]), json!("a fine tool")] {
        scored["decoder_prompt"] = decoder_prompt;
        app.complete(scored.clone()).await.error(400, Some("logprobs"), None);
    }
    assert!(hand.is_idle());
    app.all_slots_free().await;
}

#[tokio::test]
async fn a_megabyte_of_one_character_is_refused_before_it_is_tokenised() {
    let setup = Setup { body: BodyLimits { bytes: 4 << 20, ..Setup::default().body }, ..Setup::default() };
    let (app, hand) = App::by_hand(setup);
    for character in ["a", " ", "é", "\u{2581}"] {
        let text = character.repeat((1 << 20) / character.len());
        for field in ["prompt", "decoder_prompt"] {
            let mut body = json!({"prompt": "p"});
            body[field] = json!(text);
            let message = app.complete(body).await.error(400, Some(field), Some("context_length_exceeded"));
            assert!(message.contains("has at least"), "{message}");
        }
        let body = json!({"prompt": ["p", text]});
        app.complete(body).await.error(400, Some("prompt"), Some("context_length_exceeded"));
    }
    assert!(hand.is_idle());
}

#[tokio::test]
async fn where_the_tokenizer_gives_no_bound_a_text_is_bounded_by_its_bytes() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/demo/tokenizer.json");
    let mut parts: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    parts["model"]["byte_fallback"] = json!(false);
    let unbounded = Tokenizer::from_bytes(parts.to_string().as_bytes()).unwrap();
    assert_eq!(unbounded.longest_piece_bytes(), None);
    let (app, hand) = App::by_hand(Setup { tokenizer: Some(Arc::new(unbounded)), ..Setup::default() });
    for (field, limit) in [("prompt", 256 * 64), ("decoder_prompt", 128 * 64)] {
        let mut body = json!({"prompt": "p"});
        for excess in [1, 500_000] {
            body[field] = json!("a".repeat(limit + excess));
            let message = app.complete(body.clone()).await.error(400, Some(field), Some("context_length_exceeded"));
            assert!(message.contains(&format!("has {} bytes", limit + excess)), "{message}");
            assert!(message.contains(&format!("at most {limit} are taken")), "{message}");
        }
    }
    assert!(hand.is_idle());
}

#[tokio::test]
async fn a_request_whose_pages_could_never_fit_is_refused_at_the_door() {
    let setup = Setup { pages: 4, ..Setup::default() };
    let (app, _hand) = App::by_hand(setup);
    let answer = app.complete(json!({"prompt": vec![9; 100]})).await;
    let message = answer.error(400, Some("prompt"), Some("context_length_exceeded"));
    assert!(message.contains("page pool"), "{message}");
}

#[tokio::test]
async fn text_for_a_model_without_tokenizer_is_refused() {
    let app = App::by_hand(Setup { tokenizer: None, ..Setup::default() }).0;
    for (body, param) in [
        (json!({"prompt": "p"}), "prompt"),
        (json!({"prompt": [1], "decoder_prompt": "p"}), "decoder_prompt"),
        (json!({"prompt": [1], "stop": "."}), "stop"),
    ] {
        let message = app.complete(body).await.error(400, Some(param), None);
        assert!(message.contains("served without one"), "{message}");
    }
}

#[tokio::test]
async fn a_text_whose_tokens_the_model_lacks_is_refused() {
    let app = App::by_hand(Setup { vocab: 300, ..Setup::default() }).0;
    for field in ["prompt", "decoder_prompt"] {
        let mut body = json!({"prompt": [1]});
        body[field] = json!("a tool");
        let message = app.complete(body).await.error(400, Some(field), None);
        assert!(message.contains("vocabulary of 300"), "{message}");
    }
}

/// Any JSON, small.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3_i64..6000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z_]{1,8}", inner), 0..3)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_value_of_any_field_is_the_servers_fault(
        fields in prop::collection::vec((prop::sample::select(FIELDS), any_json()), 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let status = runtime.block_on(async {
            let mut body = json!({"prompt": "p"});
            for (name, value) in fields {
                body[name] = value;
            }
            App::saying("a tool").complete(body).await.status.as_u16()
        });
        prop_assert!([200, 400, 404].contains(&status), "{}", status);
    }
}

#[tokio::test]
async fn scoring_as_with_a_decoder_alone_is_refused_and_told_how_it_is_done() {
    let (app, hand) = App::by_hand(Setup::default());
    // What evaluation harnesses send: context and continuation in the prompt, as ids or as text.
    for prompt in [json!([[5, 6, 7]]), json!(["context and continuation"]), json!("context and continuation")] {
        for max_tokens in [0, 1] {
            let body = json!({"model": MODEL, "prompt": prompt, "temperature": 0, "max_tokens": max_tokens,
                "logprobs": 1, "seed": 1234, "echo": true});
            let message = app.complete(body).await.error(400, Some("decoder_prompt"), None);
            assert!(message.contains("\"Score a target\" in docs/api.md"), "{message}");
        }
    }
    assert!(hand.is_idle());
    assert!(include_str!("../../../docs/api.md").contains("## Score a target"));
}

#[tokio::test]
async fn too_many_rows_are_the_fault_of_the_field_that_the_client_wrote() {
    let (app, hand) = App::by_hand(Setup::default());
    let prompts: Vec<String> = (0..17).map(|number| number.to_string()).collect();
    for (fields, param) in [
        (json!({"use_beam_search": true}), "prompt"),
        (json!({"use_beam_search": true, "n": 3}), "n"),
        (json!({"use_beam_search": true, "n": 3, "best_of": 4}), "best_of"),
        (json!({"n": 2}), "n"),
        (json!({"best_of": 2}), "best_of"),
    ] {
        let mut body = json!({"prompt": prompts});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        app.complete(body).await.error(400, Some(param), None);
    }
    assert!(hand.is_idle());
}

#[tokio::test]
async fn a_source_that_is_too_long_is_the_fault_of_the_longer_of_input_and_instructions() {
    let (app, hand) = App::by_hand(Setup::default());
    let long = "a ".repeat(400);
    for (input, instructions, param) in [("p", &long[..], "instructions"), (&long[..], "p", "input")] {
        let body = json!({"input": input, "instructions": instructions});
        let answer = app.post("/v1/responses", &body).await;
        answer.error(400, Some(param), Some("context_length_exceeded"));
    }
    assert!(hand.is_idle());
}
