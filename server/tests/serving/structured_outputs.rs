//! Structured output over the whole server: answers of models that want anything at all, in every kind of request.

use boon::{Compiler, Schemas};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::app::App;

/// A schema whose answers have a bounded length.
fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "section": {"enum": ["libs", "utils", "doc"]},
            "rank": {"type": "integer", "minimum": 1, "maximum": 99},
            "words": {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2},
        },
        "required": ["section", "rank", "words"], "additionalProperties": false,
    })
}

/// A request for an answer under the schema, written without white space.
fn request(fields: Value) -> Value {
    let form = json!({"json": schema(), "disable_any_whitespace": true});
    let mut body = json!({"prompt": [5, 6, 7], "max_tokens": 120, "structured_outputs": form});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

/// Whether a value is valid under the schema, to another reader of it.
fn is_valid(value: &Value) -> bool {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("schema.json", schema()).unwrap();
    let schema = compiler.compile("schema.json", &mut schemas).unwrap();
    schemas.validate(value, schema).is_ok()
}

/// The texts of an answer, each checked to be valid and whole.
fn valid(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    let one = |choice: &Value| {
        let text = choice["text"].as_str().unwrap().to_owned();
        assert_eq!(choice["finish_reason"], "stop", "{choice}");
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
        assert!(is_valid(&value), "{text}");
        text
    };
    answer.json()["choices"].as_array().unwrap().iter().map(one).collect()
}

#[tokio::test]
async fn every_answer_is_valid_where_all_tokens_are_almost_equally_probable() {
    let app = App::start("");
    for seed in 0..8 {
        let texts = valid(&app.post(&request(json!({"temperature": 100, "seed": seed, "n": 4}))).await);
        assert!(texts.iter().any(|text| *text != texts[0]), "{texts:?}");
    }
}

#[tokio::test]
async fn answers_in_a_batch_of_all_kinds_with_scarce_pages_are_what_they_are_alone() {
    let kinds = || {
        let mut kinds: Vec<Value> = (0..4)
            .flat_map(|seed| {
                [
                    request(json!({"temperature": 2, "seed": seed, "n": 2})),
                    json!({"prompt": [5, 6, 7], "max_tokens": 120, "n": 2, "seed": seed, "ignore_eos": true}),
                    json!({"prompt": [9, 8], "allowed_targets": ["red apple", "red pear", "green"], "seed": seed}),
                    json!({"prompt": [9, 8, 7], "guided_regex": "[a-z]{30,50}", "max_tokens": 80, "seed": seed}),
                ]
            })
            .collect();
        kinds.push(request(json!({"use_beam_search": true, "n": 3, "best_of": 4})));
        kinds
    };
    let alone = App::start("");
    let scarce = App::with_pages("[limits]\ntarget_tokens = 128\nsource_tokens = 64\n", 40);
    let together: Vec<_> = kinds().iter().map(|body| scarce.spawn(body)).collect();
    for (body, client) in kinds().iter().zip(together) {
        let (expected, answer) = (alone.post(body).await.json(), client.await.unwrap().json());
        assert_eq!(answer["choices"], expected["choices"], "{body}");
    }
    assert!(scarce.engine_metrics().preemptions.get() > 0, "pages are scarce");
}

#[tokio::test]
async fn beams_are_valid_and_differ() {
    let app = App::start("");
    let answer = app.post(&request(json!({"use_beam_search": true, "n": 4, "best_of": 6}))).await;
    let mut texts = valid(&answer);
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 4);
}

#[tokio::test]
async fn the_best_of_given_targets_come_with_their_scores() {
    let app = App::start("");
    let targets = ["library", "tool", "a game", "documentation", "fonts"];
    let body = json!({
        "prompt": "A small library that reads calendar files.", "allowed_targets": targets, "max_tokens": 16,
        "use_beam_search": true, "n": 3, "best_of": 3,
    });
    let answer = app.post(&body).await.json();
    let choices = answer["choices"].as_array().unwrap();
    let scores: Vec<f64> = choices.iter().map(|choice| choice["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|better, worse| better >= worse), "{scores:?}");
    for choice in choices {
        assert!(targets.contains(&choice["text"].as_str().unwrap()), "{choice}");
        assert_eq!(choice["exact"], true, "{choice}");
    }
}

#[tokio::test]
async fn an_answer_that_max_tokens_cuts_says_so() {
    let answer = App::start("").post(&request(json!({"max_tokens": 4}))).await.json();
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["usage"]["completion_tokens"], 4);
}

#[tokio::test]
async fn other_fields_keep_their_meaning_beside_a_form() {
    let app = App::start("");
    let text = async |body: Value| app.post(&body).await.json()["choices"][0]["text"].as_str().unwrap().to_owned();
    // The form is of what is generated, and an echoed beginning stands before it.
    let begun = text(request(json!({"decoder_prompt": "library: ", "echo": true, "temperature": 100}))).await;
    let generated = begun.strip_prefix("library: ").unwrap_or_else(|| panic!("{begun:?}"));
    assert!(serde_json::from_str::<Value>(generated).is_ok(), "{begun:?}");
    // A stop string cuts the text.
    let cut = text(request(json!({"stop": ["\"rank\""]}))).await;
    assert!(cut.starts_with("{\"section\":\"") && cut.ends_with("\","), "{cut:?}");
    // The end waits for `min_tokens`.
    let long = json!({"prompt": [5], "guided_regex": "x(yz){0,40}", "min_tokens": 20, "max_tokens": 90});
    assert!(app.post(&long).await.json()["usage"]["completion_tokens"].as_u64().unwrap() >= 20);
    let only = json!({"prompt": [5], "guided_choice": ["red"], "min_tokens": 12, "max_tokens": 30});
    assert_eq!(text(only).await, "red", "where nothing else may follow, the text ends");
    // Controls choose among what the form allows.
    let choose = |bias: i32| {
        let first = app.model().tokenizer.as_ref().unwrap().encode("green").unwrap()[0];
        let biases = json!({first.to_string(): bias});
        json!({"prompt": [5], "guided_choice": ["red", "green"], "temperature": 0, "logit_bias": biases})
    };
    assert_eq!((text(choose(100)).await, text(choose(-100)).await), ("green".to_owned(), "red".to_owned()));
}

#[tokio::test]
async fn a_streamed_answer_is_valid_as_a_whole() {
    let app = App::start("");
    let answer = app.post(&request(json!({"stream": true, "temperature": 100, "seed": 3}))).await;
    let whole = app.post(&request(json!({"temperature": 100, "seed": 3}))).await;
    let events = answer.text.lines().filter_map(|line| line.strip_prefix("data: {"));
    let piece = |event: &str| {
        let event: Value = serde_json::from_str(&format!("{{{event}")).unwrap();
        event["choices"][0]["text"].as_str().unwrap().to_owned()
    };
    assert_eq!(events.map(piece).collect::<String>(), valid(&whole)[0]);
}

#[tokio::test]
async fn chat_and_responses_give_what_the_schema_describes() {
    let app = App::start("");
    let is_valid = |text: &Value| is_valid(&serde_json::from_str(text.as_str().unwrap()).unwrap());
    let named = json!({"name": "package", "schema": schema(), "strict": true});
    let chat = json!({
        "messages": [{"role": "user", "content": "a tool"}], "max_tokens": 1000,
        "response_format": {"type": "json_schema", "json_schema": named},
    });
    let answer = app.post_to("/v1/chat/completions", &chat).await.json();
    assert!(is_valid(&answer["choices"][0]["message"]["content"]), "{answer}");
    let mut format = named;
    format["type"] = json!("json_schema");
    let response = json!({"input": "a tool", "max_output_tokens": 1000, "text": {"format": format}});
    let answer = app.post_to("/v1/responses", &response).await.json();
    assert_eq!(answer["text"]["format"], format);
    assert!(is_valid(&answer["output"][0]["content"][0]["text"]), "{answer}");
}

#[tokio::test]
async fn a_grammar_without_measure_is_answered_400_while_others_are_served() {
    let app = App::start("");
    let rules: String = (0..2500).map(|rule| format!("r{rule}: r{} r{}\n", rule + 1, rule + 1)).collect();
    let hostile = json!({"prompt": [5], "guided_grammar": format!("start: r0\n{rules}r2500: \"x\"\n")});
    let nested = (0..30).fold(
        json!({"type": "string"}),
        |inner, _| json!({"type": "array", "items": inner, "anyOf": [{"minItems": 1}, {"maxItems": 7}]}),
    );
    let hostile = [hostile, json!({"prompt": [5], "guided_json": nested})].map(|body| app.spawn(&body));
    valid(&app.post(&request(json!({}))).await);
    for client in hostile {
        let answer = client.await.unwrap();
        assert_eq!(answer.status.as_u16(), 400, "{}", answer.text);
    }
}
