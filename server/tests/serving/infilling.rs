//! Spans between two texts, over the whole server and a tiny model that was trained to fill gaps in the alphabet.

use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use server::config::{Config, Layer};
use server::loading::LoadedModel;
use tempfile::TempDir;

use crate::answer::{Answer, Choice};
use crate::app::App;
use crate::train::{Place, finished};

/// Ids of the fixture's sentinels, and of the token before sources with short spans.
const SENTINELS: [u32; 8] = [4, 5, 6, 7, 8, 9, 10, 11];
const MODE: u32 = 12;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/infilling")
}

/// A copy of the fixture with another configuration.
fn changed(config: impl FnOnce(&mut Value)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["tokenizer.json", "model.safetensors"] {
        std::fs::copy(fixture().join(file), folder.path().join(file)).unwrap();
    }
    let mut json: Value = serde_json::from_slice(&std::fs::read(fixture().join("config.json")).unwrap()).unwrap();
    config(&mut json);
    std::fs::write(folder.path().join("config.json"), json.to_string()).unwrap();
    folder
}

/// A copy of the fixture that does not say how it was trained.
fn unmarked() -> TempDir {
    changed(|config| drop(config.as_object_mut().unwrap().remove("encdec_denoising").unwrap()))
}

fn settings(folder: &Path) -> String {
    format!("[model]\npath = {:?}\n", folder.display().to_string())
}

fn app() -> App {
    App::start(&settings(&fixture()))
}

/// Asks for "g h i" with further fields.
fn asked(fields: Value) -> Value {
    let mut body = json!({"prompt": "a b c d e f", "suffix": " j k l m n", "max_tokens": 12, "temperature": 0});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

async fn choice(app: &App, fields: Value) -> Choice {
    app.post(&asked(fields)).await.choice()
}

/// A bias with which the only other tokens that come are banned ones.
fn pushed(ids: &[u32]) -> Value {
    Value::Object(ids.iter().map(|id| (id.to_string(), json!(100))).collect())
}

async fn rendered(app: &App, body: &Value) -> Value {
    app.post_to("/v1/completions/render", body).await.json()
}

#[tokio::test]
async fn gaps_are_filled_wherever_they_are() {
    let app = app();
    for (prompt, suffix, span) in [
        ("a b c d e f", " j k l m n", " g h i"),
        ("u v w x y", " c d e f", " z a b"),
        ("p q r s", " u v w x y z", " t"),
    ] {
        let body = json!({"prompt": prompt, "suffix": suffix, "max_tokens": 12, "temperature": 0});
        assert_eq!(app.post(&body).await.choice().text, span, "{prompt:?} {suffix:?}");
    }
    // Before a text there may be as much as the model likes.
    let first = json!({"prompt": "", "suffix": " d e f g h i j k", "max_tokens": 12, "temperature": 0});
    let text = app.post(&first).await.choice().text;
    assert!(!text.is_empty() && " z a b c".ends_with(&text), "{text:?}");
    app.idle().await;
}

#[tokio::test]
async fn the_source_has_a_sentinel_in_the_gap_and_the_target_begins_with_it() {
    let app = app();
    let tokenizer = app.model().tokenizer.clone().unwrap();
    let ids = |text: &str| tokenizer.encode(text).unwrap();
    let (before, after) = (ids("a b c d e f"), ids(" j k l m n"));
    let source = [&[2, MODE], &before[..], &SENTINELS[..1], &after].concat();
    let shown = &rendered(&app, &asked(json!({}))).await[0];
    assert_eq!(shown["token_ids"], json!(source));
    assert_eq!(shown["decoder_token_ids"], json!([2, SENTINELS[0]]));
    assert_eq!(shown["prompt"], "<unused0>a b c d e f<extra_id_0> j k l m n");
    assert_eq!(shown["sampling_params"]["stop_token_ids"], json!(SENTINELS));
    // What is shown can be sent, and gives the same answer.
    let whole = app.post(&asked(json!({"return_token_ids": true}))).await.json();
    let mut again = shown["sampling_params"].clone();
    again["prompt"] = shown["token_ids"].clone();
    again["decoder_prompt"] = shown["decoder_token_ids"].clone();
    assert_eq!(app.post(&again).await.choice().text, " g h i");
    assert_eq!(whole["choices"][0]["prompt_token_ids"], json!(source));
    // The span and its end token were generated, the sentinel before them was not.
    assert_eq!(whole["choices"][0]["token_ids"].as_array().unwrap().len(), 4);
    assert_eq!(whole["usage"]["prompt_tokens"], json!(source.len()));
    assert_eq!(whole["usage"]["completion_tokens"], 4);
    // Ids as a prompt are taken as they are, and have no frame.
    let given = [&[2], &before[..]].concat();
    let shown = &rendered(&app, &asked(json!({"prompt": given}))).await[0];
    assert_eq!(shown["token_ids"], json!([&[MODE, 2], &before[..], &SENTINELS[..1], &after].concat()));
    assert_eq!(shown["prompt"], Value::Null);
    let unframed = &rendered(&app, &asked(json!({"add_special_tokens": false}))).await[0];
    assert_eq!(unframed["token_ids"], json!(source[1..]));
}

#[tokio::test]
async fn spans_come_as_streams_with_log_probabilities_in_several_choices_and_for_several_prompts() {
    let app = app();
    let fields = json!({"logprobs": 2, "return_token_ids": true});
    let whole = choice(&app, fields.clone()).await;
    assert_eq!((whole.text.as_str(), whole.finish.as_deref()), (" g h i", Some("stop")));
    assert_eq!((whole.log_probs.len(), &whole.tokens[0].2), (4, &json!(0)));
    assert!(whole.log_probs.iter().all(|log_prob| *log_prob > -0.5), "{:?}", whole.log_probs);
    let mut streamed = fields;
    streamed["stream"] = json!(true);
    assert_eq!(choice(&app, streamed).await, whole);
    let several = json!({
        "prompt": ["a b c d e f", "b c d e f"], "n": 2, "seed": 5, "temperature": 0.3, "logprobs": 0,
    });
    let (whole, alone) = (app.post(&asked(several.clone())).await, app.post(&asked(several)).await);
    assert_eq!(whole.choices().len(), 4);
    assert_eq!(whole.choices(), alone.choices());
    assert!(whole.choices().iter().all(|choice| choice.text == " g h i"), "{}", whole.text);
    for speculation in ["auto", "off"] {
        let drafted = choice(&app, json!({"speculation": speculation, "temperature": 1, "seed": 3})).await;
        assert_eq!(drafted.text, " g h i");
    }
    assert_eq!(choice(&app, json!({"best_of": 3, "temperature": 0.5, "seed": 1})).await.text, " g h i");
    assert_eq!(choice(&app, json!({"stop": [" i"]})).await.text, " g h");
    app.idle().await;
}

#[tokio::test]
async fn every_sentinel_ends_a_span_and_leaves_no_trace() {
    let app = app();
    for sentinel in SENTINELS {
        let pushed = pushed(&[sentinel]);
        let fields = json!({"logit_bias": pushed, "return_token_ids": true, "ignore_eos": true});
        let ended = choice(&app, fields).await;
        assert_eq!((ended.text.as_str(), ended.finish.as_deref()), ("", Some("stop")));
        assert_eq!(ended.ids, [u64::from(sentinel)]);
        let fields = json!({"logit_bias": pushed, "min_tokens": 2, "return_token_ids": true});
        let later = choice(&app, fields).await;
        assert_eq!((later.text.as_str(), later.ids.len(), later.ids[2]), (" g h", 3, u64::from(sentinel)));
    }
    let kept = choice(&app, json!({"logit_bias": pushed(&[5]), "include_stop_str_in_output": true})).await;
    assert_eq!(kept.text, "<extra_id_1>", "who asks for the end gets it");
}

#[tokio::test]
async fn a_search_ends_spans_at_the_next_sentinel_and_chooses_no_other() {
    let app = app();
    let searched = |fields: Value| {
        let mut body = asked(json!({"use_beam_search": true, "n": 2, "best_of": 3, "return_token_ids": true}));
        body.as_object_mut().unwrap().remove("temperature");
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body
    };
    let found = app.post(&searched(json!({}))).await.choices();
    assert_eq!((found.len(), found[0].text.as_str()), (2, " g h i"));
    let others: Vec<u32> = SENTINELS.into_iter().filter(|id| *id != 5).collect();
    let found = app.post(&searched(json!({"logit_bias": pushed(&others)}))).await.choices();
    assert_eq!(found[0].text, " g h i");
    let found = app.post(&searched(json!({"logit_bias": pushed(&[5])}))).await.choices();
    assert_eq!((found[0].text.as_str(), &found[0].ids[..]), ("", &[5][..]));
    let mut streamed = searched(json!({}));
    streamed["stream"] = json!(true);
    assert_eq!(app.post(&streamed).await.choices()[0].text, " g h i");
    assert_eq!(app.post(&searched(json!({"stop_token_ids": [30, 31, 32, 33, 34, 35, 36]}))).await.status, 200);
    let answer = app.post(&searched(json!({"stop_token_ids": [30, 31, 32, 33, 34, 35, 36, 37]}))).await;
    assert!(answer.error(400, Some("stop_token_ids"), None).contains("at most 7"), "{}", answer.text);
    app.idle().await;
}

#[tokio::test]
async fn a_form_says_where_a_span_ends() {
    let app = app();
    for (form, span) in [
        (json!({"structured_outputs": {"regex": "( [a-z]){2}"}}), " g h"),
        (json!({"structured_outputs": {"choice": [" x y", " g h i"]}}), " g h i"),
        (json!({"allowed_targets": [" x y", " g"]}), " g"),
    ] {
        assert_eq!(choice(&app, form.clone()).await.text, span, "{form}");
        let mut pushed_form = form;
        pushed_form["logit_bias"] = pushed(&SENTINELS);
        assert_eq!(choice(&app, pushed_form).await.text, span, "no sentinel ends it");
    }
    let open = json!({"structured_outputs": {"regex": "[ -~]{6}"}, "logit_bias": pushed(&SENTINELS)});
    let text = choice(&app, open).await.text;
    assert!(text.len() == 6 && !text.contains("extra"), "a sentinel is no text either: {text:?}");
}

#[tokio::test]
async fn what_has_no_meaning_beside_a_suffix_is_refused_by_name() {
    let app = app();
    for (name, value) in [("echo", json!(true)), ("decoder_prompt", json!("a")), ("prompt_logprobs", json!(0))] {
        let message = app.post(&asked(json!({ name: value }))).await.error(400, Some(name), None);
        assert!(message.contains(&format!("'{name}' is not allowed beside 'suffix'")), "{message}");
    }
    for (field, value, name) in [
        ("prompt", json!("a <extra_id_0> b"), "prompt"),
        ("prompt", json!(["a b", "a <extra_id_7> b"]), "prompt[1]"),
        ("prompt", json!([30, 6, 31]), "prompt"),
        ("suffix", json!("a <extra_id_3> b"), "suffix"),
    ] {
        let message = app.post(&asked(json!({ field: value }))).await.error(400, Some(field), None);
        assert!(message.contains(&format!("'{name}' holds a sentinel")), "{message}");
    }
    app.post(&asked(json!({"suffix": 7}))).await.error(400, Some("suffix"), None);
    let code = Some("context_length_exceeded");
    let message = app.post(&asked(json!({"suffix": " a".repeat(250)}))).await.error(400, Some("suffix"), code);
    assert!(message.contains("'suffix' has") && message.ends_with(", the prompt before it among them"), "{message}");
    app.post(&asked(json!({"prompt": " a".repeat(300), "suffix": " b"}))).await.error(400, Some("prompt"), code);
    app.post(&asked(json!({"suffix": " a".repeat(100_000)}))).await.error(400, Some("suffix"), code);
    let many: Vec<u32> = (30..87).collect();
    assert_eq!(app.post(&asked(json!({"stop_token_ids": many[..56]}))).await.status, 200);
    let message = app.post(&asked(json!({"stop_token_ids": many}))).await.error(400, Some("stop_token_ids"), None);
    assert!(message.contains("at most 56"), "{message}");
    let chat = json!({"messages": [{"role": "user", "content": "a"}], "suffix": "b"});
    app.post_to("/v1/chat/completions", &chat).await.error(400, Some("suffix"), None);
    app.post_to("/v1/responses", &json!({"input": "a", "suffix": "b"})).await.error(400, Some("suffix"), None);
    let sentinel = json!({"prompt": "a b <extra_id_0> e", "suffix": "", "max_tokens": 1});
    assert_eq!(app.post(&sentinel).await.status, 200, "who writes sentinels without a suffix knows them");
    app.idle().await;
}

#[tokio::test]
async fn without_sentinels_a_suffix_is_refused_with_the_reason() {
    let app = App::start("");
    let message = app.post(&json!({"prompt": "a", "suffix": "b"})).await.error(400, Some("suffix"), None);
    assert!(message.contains("needs a checkpoint that was trained to fill gaps"), "{message}");
    assert_eq!(app.post(&json!({"prompt": "a", "suffix": "", "max_tokens": 1})).await.status, 200);
    assert_eq!(app.post(&json!({"prompt": "a", "suffix": null, "max_tokens": 1})).await.status, 200);
}

#[tokio::test]
async fn sentinels_are_those_of_the_settings_of_the_training_or_known_by_name() {
    let unmarked = unmarked();
    for (folder, more, sentinels, mode) in [
        (fixture(), "", &SENTINELS[..], Some(MODE)),
        (unmarked.path().to_owned(), "", &SENTINELS[..], None),
        (unmarked.path().to_owned(), "infilling_mode = \"<unused0>\"", &SENTINELS[..], Some(MODE)),
        (fixture(), "sentinels = [\"<unused1>\", \"<unused2>\"]", &[13, 14], None),
    ] {
        let app = App::start(&(settings(&folder) + more));
        let infilling = app.model().infilling.as_ref().unwrap();
        assert_eq!((infilling.sentinels(), infilling.mode()), (sentinels, mode), "{more}");
        let list = Answer::read(app.send(Request::get("/v1/models").body(Body::empty()).unwrap()).await).await.json();
        let able = json!(["generate", "suffix", "chat", "embeddings", "encode", "score"]);
        assert_eq!(list["data"][0]["capabilities"], able);
    }
    let unnamed = App::start(&(settings(&fixture()) + "tokenizer = \"none\""));
    assert_eq!(unnamed.model().infilling, None, "a suffix is a text");
    let off = App::start(&(settings(&fixture()) + "sentinels = [\"none\"]"));
    assert_eq!(off.model().infilling, None, "whatever the checkpoint was trained with");
    off.post(&asked(json!({}))).await.error(400, Some("suffix"), None);
}

#[test]
fn pieces_that_are_not_there_or_have_no_use_stop_the_server() {
    let encoder = changed(|config| config["is_encoder_decoder"] = json!(false));
    let demo = "[model]\n".to_owned();
    for (base, more, part) in [
        (settings(&fixture()), "sentinels = [\"<nowhere>\"]", "the tokenizer has no piece \"<nowhere>\""),
        (demo.clone(), "infilling_mode = \"\u{2581}X\"", "no sentinels are known"),
        (demo, "sentinels = [\"\u{2581}Qt\"]\ntokenizer = \"none\"", "there is no tokenizer"),
        (settings(encoder.path()), "sentinels = [\"<extra_id_0>\"]", "an encoder without a decoder"),
        (settings(&fixture()), "sentinels = [\"none\"]\ninfilling_mode = \"<unused0>\"", "says that there are none"),
    ] {
        let config = Config::from_layers(vec![Layer::parse("test", &(base + more)).unwrap()]).unwrap();
        let message = LoadedModel::load(&config).err().expect(part).to_string();
        assert!(message.contains(part) && message.contains("[model] sentinels"), "{message}");
    }
}

#[tokio::test]
async fn a_model_that_was_trained_to_denoise_is_served_with_the_sentinels_of_its_training() {
    let place = Place::new();
    let unmarked = unmarked();
    let rows: String = (0..12).map(|_| "{\"text\": \"h i j k l m n o p q r s\"}\n").collect();
    std::fs::write(place.path("text.jsonl"), rows).unwrap();
    let settings_of_run = format!(
        "out = 'run'\nthreads = 1\n[model]\ninit = '{}'\n[objective]\nkind = 'ul2'\n[data]\ntrain = ['text.jsonl']\n\
         [[stage]]\nsteps = 3\nlearning_rate = 1e-4\n",
        unmarked.path().display()
    );
    std::fs::write(place.path("run.toml"), settings_of_run).unwrap();
    finished(&place.path("run.toml"));
    let app = App::start(&settings(&place.path("run/final")));
    let infilling = app.model().infilling.as_ref().unwrap();
    assert_eq!((infilling.sentinels(), infilling.mode()), (&SENTINELS[..], Some(MODE)));
    assert_eq!(choice(&app, json!({})).await.text, " g h i");
}
