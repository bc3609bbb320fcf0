//! Spans between two texts, over the whole server.

use serde_json::json;

use crate::app::App;

/// The demo with two pieces of its vocabulary as sentinels, and one as a mode token.
const SENTINELS: &str = "[model]\nsentinels = [\"\u{2581}Qt\", \"\u{2581}KDE\"]\ninfilling_mode = \"\u{2581}X\"\n";

#[tokio::test]
async fn a_source_has_a_sentinel_in_the_gap_and_the_target_begins_with_it_and_ends_at_the_next() {
    let app = App::start(SENTINELS);
    let tokenizer = app.model().tokenizer.clone().unwrap();
    let id = |piece: &str| tokenizer.id_of(piece).unwrap();
    let (sentinel, next, mode) = (id("\u{2581}Qt"), id("\u{2581}KDE"), id("\u{2581}X"));
    let body = json!({"prompt": "A small library", "suffix": " calendar files.", "max_tokens": 8, "temperature": 0});
    let rendered = app.post_to("/v1/completions/render", &body).await.json();
    let ids = |text: &str| tokenizer.encode(text).unwrap();
    let around = tokenizer.around();
    let source = [around.0, &[mode], &ids("A small library"), &[sentinel], &ids(" calendar files."), around.1].concat();
    assert_eq!(rendered[0]["token_ids"], json!(source));
    assert_eq!(rendered[0]["decoder_token_ids"], json!([app.model().start_token, sentinel]));
    // The next sentinel ends the span and leaves no trace.
    let mut ended = body.clone();
    ended["logit_bias"] = json!({next.to_string(): 100});
    ended["return_token_ids"] = json!(true);
    let answer = app.post(&ended).await.json();
    let choice = &answer["choices"][0];
    assert_eq!((&choice["text"], &choice["finish_reason"]), (&json!(""), &json!("stop")));
    assert_eq!((&choice["token_ids"], &choice["prompt_token_ids"]), (&json!([next]), &json!(source)));
    // Ids as a prompt are taken as they are.
    let given = json!({"prompt": [7, 8], "suffix": "files", "max_tokens": 1});
    let rendered = app.post_to("/v1/completions/render", &given).await.json();
    assert_eq!(rendered[0]["token_ids"], json!([&[mode, 7, 8, sentinel], &ids("files")[..]].concat()));
    for (name, value) in [("echo", json!(true)), ("decoder_prompt", json!("a")), ("prompt_logprobs", json!(0))] {
        let mut beside = body.clone();
        beside[name] = value;
        let answer = app.post(&beside).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text.contains(&format!("'{name}' is not allowed beside 'suffix'")), "{}", answer.text);
    }
    app.idle().await;
}

#[tokio::test]
async fn without_sentinels_a_suffix_is_refused_with_the_reason() {
    let app = App::start("");
    let answer = app.post(&json!({"prompt": "a", "suffix": "b"})).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("'suffix' needs a checkpoint that was trained to fill gaps"), "{}", answer.text);
    assert_eq!(app.post(&json!({"prompt": "a", "suffix": "", "max_tokens": 1})).await.status, 200);
}
