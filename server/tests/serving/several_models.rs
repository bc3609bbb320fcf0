//! Two models in one process: each request is answered by the one that it names.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use server::request::Salt;
use server::telemetry::Outcome;

use crate::answer::Answer;
use crate::app::{App, join_all};
use crate::demo::rows;
use crate::eval::fixture;

/// Ids that both models know.
const IDS: [u32; 6] = [5, 9, 100, 200, 7, 30];

/// Settings of a fixture with a vocabulary of 512, served without its tokenizer.
fn small() -> String {
    let folder = fixture("t5gemma-unbalanced");
    format!(
        "[model]\npath = {:?}\nserved_name = \"small\"\ntokenizer = \"none\"\n\
        [limits]\nsource_tokens = 16\ntarget_tokens = 24\n",
        folder.display().to_string()
    )
}

async fn get(app: &App, path: &str) -> Answer {
    Answer::read(app.send(Request::get(path).body(Body::empty()).unwrap()).await).await
}

fn metric(app: &App, name: &str, labels: &str) -> String {
    let (text, beginning) = (app.api.entrance.metrics.text(), format!("{name}{{{labels}}} "));
    let found = text.lines().find_map(|line| line.strip_prefix(&beginning));
    found.unwrap_or_else(|| panic!("no {beginning} in {text}")).to_owned()
}

#[tokio::test]
async fn two_models_answer_side_by_side_as_each_does_alone() {
    let text = json!({"model": "demo", "prompt": rows()[0].input, "max_tokens": 24, "temperature": 0});
    let ids = json!({"model": "small", "prompt": IDS, "max_tokens": 20, "temperature": 0, "logprobs": 2,
        "return_token_ids": true});
    let (demo, small_alone) = (App::start(""), App::start(&small()));
    let alone = [demo.post(&text).await.choice(), small_alone.post(&ids).await.choice()];
    let (both, _engines) = App::of_models(&["", &small()]);
    let (one, other) = (both.spawn(&text), both.spawn(&ids));
    let (one, other) = (one.await.unwrap(), other.await.unwrap());
    assert_eq!([one.json()["model"].clone(), other.json()["model"].clone()], [json!("demo"), json!("small")]);
    assert_eq!([one.choice(), other.choice()], alone);
    let mut streamed = ids.clone();
    streamed["stream"] = json!(true);
    assert_eq!(both.post(&streamed).await.choice(), alone[1]);
    // A large body is parsed elsewhere, and may name its model last.
    let large = format!(
        "{{\"prompt\": {IDS:?}, {}\"max_tokens\": 20, \"temperature\": 0, \"logprobs\": 2, \
        \"return_token_ids\": true, \"model\": \"small\"}}",
        " ".repeat(64 << 10)
    );
    let large = Request::post("/v1/completions").body(Body::from(large)).unwrap();
    assert_eq!(Answer::read(both.send(large).await).await.choice(), alone[1]);
}

#[tokio::test]
async fn a_request_without_a_model_is_for_the_first_and_one_for_no_model_is_told_all_names() {
    let (app, _engines) = App::of_models(&["", &small()]);
    let answer = app.post(&json!({"prompt": "a tool", "max_tokens": 1})).await;
    assert_eq!(answer.json()["model"], "demo");
    let unknown = app.post(&json!({"prompt": "a tool", "model": "gpt-4"})).await;
    assert_eq!(unknown.status, 404);
    let error = &unknown.json()["error"];
    assert_eq!((&error["code"], &error["param"]), (&json!("model_not_found"), &json!("model")));
    assert_eq!(error["message"], "The model `gpt-4` does not exist; this server serves `demo`, `small`");
    // Nobody knows which model a request was for that is no request, or names none that is served.
    assert_eq!(app.post(&json!([])).await.status, 400);
    assert_eq!(metric(&app, "encdec_requests_total", "model=\"\",outcome=\"refused\""), "2");
    assert_eq!(metric(&app, "encdec_refusals_total", "model=\"\",reason=\"model_not_found\""), "1");
}

#[tokio::test]
async fn a_request_that_is_refused_counts_for_the_first_model_unless_it_says_which() {
    let (app, _engines) = App::of_models(&["", &small()]);
    let counts = |model| metric(&app, "encdec_requests_total", &format!("model=\"{model}\",outcome=\"refused\""));
    let mut expected = [("demo", 0), ("small", 0), ("", 0)];
    for (body, counted, status) in [
        (json!({"prompt": "a tool", "temperature": "hot"}), 0, 400),
        (json!({"model": null, "prompt": "a tool", "temperature": "hot"}), 0, 400),
        (json!({"model": "small", "prompt": [5], "temperature": "hot"}), 1, 400),
        (json!({"model": "nobody", "prompt": [5], "temperature": "hot"}), 2, 404),
        (json!({"model": 7, "prompt": "a tool"}), 2, 400),
    ] {
        assert_eq!(app.post(&body).await.status, status, "{body}");
        expected[counted].1 += 1;
        for (model, count) in expected {
            assert_eq!(counts(model), count.to_string(), "{model:?} after {body}");
        }
    }
}

#[tokio::test]
async fn of_models_with_one_name_no_engine_starts() {
    let (error, metrics) = App::of_models_refused(&["", ""]);
    assert_eq!(error.to_string(), "two models are called `demo`: give each names of its own");
    assert_eq!(metrics.model("demo").engine.pages_free.get(), 0, "an engine counts its pages when it starts");
    assert!(App::start("").engine_metrics().pages_free.get() > 0);
}

#[tokio::test]
async fn an_alias_of_any_model_answers_with_it_and_is_listed_and_counted_under_its_name() {
    let small = small().replace("tokenizer = \"none\"", "tokenizer = \"none\"\naliases = [\"tiny\", \"org/tiny\"]");
    let (app, _engines) = App::of_models(&["", &small]);
    for name in ["tiny", "org/tiny", "small"] {
        let answer = app.post(&json!({"model": name, "prompt": IDS, "max_tokens": 1})).await;
        assert_eq!(answer.json()["model"], "small", "{name}");
        assert_eq!(get(&app, &format!("/v1/models/{name}")).await.json()["id"], "small");
    }
    assert_eq!(metric(&app, "encdec_requests_total", "model=\"small\",outcome=\"completed\""), "3");
    let list = get(&app, "/v1/models").await.json();
    assert_eq!(list["data"][1]["aliases"], json!(["tiny", "org/tiny"]));
    let able = |index: usize| list["data"][index]["capabilities"].clone();
    assert_eq!(able(0), json!(["generate", "chat", "embeddings", "encode", "score"]));
    assert_eq!(able(1), json!(["generate", "embeddings", "encode", "score"]), "no conversation without a tokenizer");
    let (error, _) = App::of_models_refused(&["", &small.replace("org/tiny", "demo")]);
    assert_eq!(error.to_string(), "two models are called `demo`: give each names of its own");
}

#[tokio::test]
async fn each_model_has_limits_of_its_own() {
    let (app, _engines) = App::of_models(&["", &small()]);
    let list = get(&app, "/v1/models").await.json();
    let models: Vec<_> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| {
            (
                model["id"].as_str().unwrap(),
                model["max_source_tokens"].as_u64().unwrap(),
                model["max_target_tokens"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(models.len(), 2);
    assert_eq!(models[1], ("small", 16, 24));
    assert!(models[0].0 == "demo" && models[0].1 > 16 && models[0].2 > 24, "{models:?}");
    assert_eq!(get(&app, "/v1/models/small").await.json(), list["data"][1]);
    let refused = async |body: Value| {
        let answer = app.post(&body).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        answer.json()["error"]["message"].as_str().unwrap().to_owned()
    };
    let long = vec![5; 17];
    assert!(refused(json!({"model": "small", "prompt": long})).await.contains("maximum context length is 16 tokens"));
    assert_eq!(app.post(&json!({"model": "demo", "prompt": long, "max_tokens": 1})).await.status, 200);
    assert!(refused(json!({"model": "small", "prompt": [512]})).await.contains("vocabulary of 512"));
    assert_eq!(app.post(&json!({"model": "demo", "prompt": [512], "max_tokens": 1})).await.status, 200);
    assert!(refused(json!({"model": "small", "prompt": "a tool"})).await.contains("served without one"));
}

#[tokio::test]
async fn each_model_s_engine_and_requests_are_counted_under_its_name() {
    let (app, _engines) = App::of_models(&["", &small()]);
    for source in [[5, 6], [7, 8], [9, 10]] {
        app.post(&json!({"model": "demo", "prompt": source, "max_tokens": 2, "ignore_eos": true})).await;
    }
    for _ in 0..2 {
        let body = json!({"model": "small", "prompt": [5, 6], "max_tokens": 4, "ignore_eos": true});
        assert_eq!(app.post(&body).await.status, 200);
    }
    app.post(&json!({"model": "small", "prompt": [512]})).await;
    for (name, demo, small) in [
        ("encdec_encoder_runs_total", "3", "1"),
        ("encdec_encoder_tokens_total", "6", "2"),
        ("encdec_cross_cache_hits_total", "0", "1"),
        ("encdec_source_tokens_total", "6", "4"),
        ("encdec_generated_tokens_total", "6", "8"),
        ("encdec_open_requests", "0", "0"),
    ] {
        assert_eq!(
            [metric(&app, name, "model=\"demo\""), metric(&app, name, "model=\"small\"")],
            [demo, small],
            "{name}"
        );
    }
    let counts = |name: &str, outcome| app.api.models.find(name).unwrap().metrics.requests.requests(outcome);
    assert_eq!([counts("demo", Outcome::Completed), counts("demo", Outcome::Refused)], [3, 0]);
    assert_eq!([counts("small", Outcome::Completed), counts("small", Outcome::Refused)], [2, 1]);
}

#[tokio::test]
async fn a_large_body_for_a_model_without_places_takes_no_memory_from_bodies_for_others() {
    let (app, _engines) = App::of_models(&["", &small()]);
    let engine = &app.api.models.find("small").unwrap().engine;
    let _all_places = engine.reserve(Salt::default(), engine.limits().queued_rows).unwrap();
    for (name, is_kept) in [("small", false), ("demo", true)] {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<String, std::io::Error>>(1);
        let parts =
            futures_util::stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
        let request = Request::post("/v1/completions").body(Body::from_stream(parts)).unwrap();
        let answer = tokio::spawn({
            let app = app.clone();
            async move { Answer::read(app.send(request).await).await }
        });
        let begun = format!("{{\"model\": {name:?}, {}\"prompt\": [5], \"max_tokens\": 1", " ".repeat(32 << 10));
        sender.send(Ok(begun)).await.unwrap();
        // The first part has been taken once there is room for the next one.
        sender.send(Ok(" ".to_owned())).await.unwrap();
        sender.send(Ok(" ".to_owned())).await.unwrap();
        assert_eq!(app.api.body_budget.used_bytes() > 0, is_kept, "{name}");
        sender.send(Ok("}".to_owned())).await.unwrap();
        drop(sender);
        assert_eq!(answer.await.unwrap().status, if is_kept { 200 } else { 429 });
    }
}

#[tokio::test]
async fn all_engines_end_when_the_server_drains() {
    let (app, engines) = App::of_models(&["", &small()]);
    assert_eq!(get(&app, "/ready").await.status, 200);
    app.api.models.drain();
    assert_eq!(get(&app, "/ready").await.status, 503);
    for model in ["demo", "small"] {
        assert_eq!(app.post(&json!({"model": model, "prompt": [5], "max_tokens": 1})).await.status, 503);
    }
    join_all(engines);
}
