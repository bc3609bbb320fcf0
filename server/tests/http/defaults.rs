//! Defaults that a checkpoint sets: they hold where a request says nothing, and its fields take their place.

use kernels::Sampling;
use serde_json::{Value, json};
use server::request::{BeamSearch, Controls, EarlyStopping, GenerationRequest, RequestDefaults, TokenLimit};

use crate::app::{App, Setup};

fn defaults() -> RequestDefaults {
    RequestDefaults {
        controls: Controls { repetition_penalty: 1.5, banned: vec![9], banned_first: vec![8], ..Controls::default() },
        sampling: Sampling { temperature: 0.25, top_k: 7, top_p: 0.5, min_p: 0.125, seed: 0 },
        most_tokens: Some(TokenLimit::Target(20)),
        least_tokens: Some(TokenLimit::Generated(3)),
        ..RequestDefaults::default()
    }
}

fn searching() -> RequestDefaults {
    let search = BeamSearch { width: 3, length_penalty: 0.5, early_stopping: EarlyStopping::Full };
    RequestDefaults { search, ..RequestDefaults::default() }
}

/// The request that the engine gets for a body of this path.
async fn asked(defaults: RequestDefaults, path: &'static str, body: Value) -> GenerationRequest {
    let (app, mut hand) = App::by_hand(Setup { defaults, ..Setup::default() });
    let client = tokio::spawn(async move { app.post(path, &body).await });
    let submission = hand.submission().await;
    client.abort();
    submission.request
}

fn with(body: &Value, fields: Value) -> Value {
    let mut body = body.clone();
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn they_hold_on_every_generating_endpoint_where_a_request_says_nothing() {
    let message = json!([{"role": "user", "content": "p"}]);
    for (path, body) in [
        ("/v1/completions", json!({"prompt": "p", "seed": 0, "decoder_prompt": [5, 6]})),
        ("/v1/chat/completions", json!({"messages": message, "seed": 0, "decoder_prompt": [5, 6]})),
        ("/v1/responses", json!({"input": "p", "seed": 0, "decoder_prompt": [5, 6]})),
    ] {
        let request = asked(defaults(), path, body.clone()).await;
        assert_eq!(request.sampling, defaults().sampling, "{path}");
        assert_eq!(*request.controls, defaults().controls, "{path}");
        assert_eq!((request.max_tokens, request.min_tokens), (17, 3), "{path}: start token and prompt count");
        assert_eq!(request.beams, None);
        let searched = asked(searching(), path, body).await;
        assert_eq!(searched.beams, Some(searching().search), "{path}");
    }
}

#[tokio::test]
async fn fields_of_a_request_take_their_place() {
    let body = json!({"prompt": "p"});
    let given = json!({
        "temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0, "seed": 0, "repetition_penalty": 1, "max_tokens": 40,
        "min_tokens": 0,
    });
    let request = asked(defaults(), "/v1/completions", with(&body, given)).await;
    assert_eq!(request.sampling, RequestDefaults::SAMPLING);
    assert_eq!((request.controls.repetition_penalty, &request.controls.banned[..]), (1.0, &[9][..]));
    assert_eq!((request.max_tokens, request.min_tokens), (40, 0));
    let few = asked(defaults(), "/v1/completions", with(&body, json!({"max_tokens": 2}))).await;
    assert_eq!((few.max_tokens, few.min_tokens), (2, 2), "the default of the least yields to the given most");
    for (fields, width, penalty) in [
        (json!({"use_beam_search": false}), None, None),
        (json!({"temperature": 0.5}), None, None),
        (json!({"temperature": 0}), Some(3), Some(0.5)),
        (json!({"n": 4}), Some(4), Some(0.5)),
        (json!({"best_of": 2, "length_penalty": 1}), Some(2), Some(1.0)),
    ] {
        let request = asked(searching(), "/v1/completions", with(&body, fields.clone())).await;
        let found = request.beams;
        assert_eq!(
            (found.map(|beams| beams.width), found.map(|beams| beams.length_penalty)),
            (width, penalty),
            "{fields}"
        );
    }
}

#[tokio::test]
async fn they_are_rendered() {
    let (app, _hand) = App::by_hand(Setup { defaults: defaults(), ..Setup::default() });
    let answer = app.post("/v1/completions/render", &json!({"prompt": "p"})).await.json();
    let params = &answer[0]["sampling_params"];
    assert_eq!((&params["temperature"], &params["top_k"], &params["top_p"]), (&json!(0.25), &json!(7), &json!(0.5)));
    assert_eq!((&params["max_tokens"], &params["min_tokens"]), (&json!(19), &json!(3)));
    let (app, _hand) = App::by_hand(Setup { defaults: searching(), ..Setup::default() });
    let answer = app.post("/v1/completions/render", &json!({"prompt": "p"})).await.json();
    let params = &answer[0]["sampling_params"];
    assert_eq!((&params["use_beam_search"], &params["best_of"]), (&json!(true), &json!(3)));
}
