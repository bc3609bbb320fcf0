//! The server's description of itself, as programs read it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use server::access::{KeyName, KeySources, Keys, NewKey};
use server::api::KeyCheck;

use crate::answer::Answer;
use crate::app::{App, Setup};

/// The properties of the body of a path.
fn body<'a>(description: &'a Value, path: &str) -> &'a Value {
    &description["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
}

/// Every reference within `value`.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn fields_are_described_with_their_ranges_and_the_limits_of_this_server() {
    let app = App::saying("x");
    let description = app.get("/openapi.json").await.json();
    assert_eq!(description["openapi"], "3.1.0");
    let completions = body(&description, "/v1/completions");
    assert_eq!((&completions["additionalProperties"], &completions["required"]), (&json!(false), &json!(["prompt"])));
    let fields = &completions["properties"];
    let choices = &fields["n"];
    assert_eq!(choices["type"], json!(["integer", "null"]));
    assert_eq!((&choices["minimum"], &choices["maximum"], &choices["default"]), (&json!(1), &json!(16), &json!(1)));
    assert!(choices["description"].as_str().unwrap().contains("1 to 16; with all prompts at most 32"), "{choices}");
    assert_eq!(fields["temperature"]["maximum"].as_f64(), Some(100.0));
    assert_eq!(fields["use_beam_search"]["type"], json!(["boolean", "null"]));
    assert_eq!(fields["detokenize"]["enum"], json!([true, null]));
    assert_eq!(fields["prompt"]["anyOf"][0]["anyOf"][1]["maxItems"], json!(64));
    assert!(fields["stream_options"]["anyOf"][0]["properties"].get("include_usage").is_some());
    assert_eq!(fields["logit_bias"]["anyOf"][0]["maxProperties"], json!(1024));
    assert_eq!(fields["best_of"]["minimum"], json!(1), "the default of n");
    let truncation = &body(&description, "/v1/embeddings")["properties"]["truncate_prompt_tokens"]["anyOf"][0]["anyOf"];
    assert_eq!(*truncation, json!([{"type": "integer", "minimum": 1, "maximum": 256}, {"enum": [-1]}]));
    let messages = &body(&description, "/v1/chat/completions")["properties"]["messages"];
    let content = &messages["anyOf"][0]["items"]["properties"]["content"]["anyOf"];
    assert_eq!(content[1]["items"]["anyOf"][0]["type"], json!("string"), "parts may be plain strings: {content}");
    assert!(body(&description, "/tokenize")["properties"].get("return_token_strs").is_some());
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    let description = App::saying("x").get("/openapi.json").await.json();
    let mut found = BTreeSet::new();
    references(&description, &mut found);
    assert!(found.len() > 10, "{found:?}");
    for reference in found {
        let path = reference.strip_prefix('#').expect("it is in the same document");
        assert!(description.pointer(path).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn a_server_with_keys_says_which_paths_need_one() {
    let key = NewKey::make(&KeyName::new("a").unwrap());
    let ring = KeySources { listed: vec![key.line], ..KeySources::default() }.read().unwrap();
    let keys = KeyCheck { keys: Keys::of(ring), ..KeyCheck::default() };
    let (app, _hand) = App::by_hand(Setup { keys, ..Setup::default() });
    let request = axum::http::Request::get("/openapi.json").header("authorization", format!("Bearer {}", key.secret));
    let answer = Answer::of(app.send(request.body(axum::body::Body::empty()).unwrap()).await).await;
    let description = answer.json();
    assert_eq!(description["paths"]["/v1/models"]["get"]["security"], json!([{"key": []}]));
    assert_eq!(description["paths"]["/health"]["get"]["security"], Value::Null);
    assert_eq!(description["components"]["securitySchemes"]["key"]["scheme"], "bearer");
    let open = App::saying("x").get("/openapi.json").await.json();
    assert_eq!(open["paths"]["/v1/models"]["get"]["security"], Value::Null);
}
