//! Inputs that are longer than the model takes, cut where a client asks for it.

use serde_json::{Value, json};
use server::api::BodyLimits;

use crate::app::{App, END, START, Setup, ids, tokenizer};
use crate::embeddings::app;
use crate::scripted_engine::generate;

const TEXT: &str = "a small library that reads and writes calendar files";

/// The last token that the encoder read, and how many there were.
async fn last_token(app: &App, mut body: Value) -> (u32, u64) {
    body["pooling"] = json!("last");
    body["normalize"] = json!(false);
    let answer = app.post("/v1/embeddings", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = answer.json();
    let state = answer["data"][0]["embedding"][0].as_f64().unwrap();
    (state as u32, answer["usage"]["prompt_tokens"].as_u64().unwrap())
}

/// The first token that the encoder read.
async fn first_token(app: &App, body: &Value) -> u32 {
    let answer = app.post("/pooling", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["data"][0]["data"][0][0].as_f64().unwrap() as u32
}

#[tokio::test]
async fn the_first_tokens_are_kept_or_the_last_ones_as_asked() {
    let app = app();
    let given = [11, 12, 13, 14, 15];
    assert_eq!(last_token(&app, json!({"input": given, "truncate_prompt_tokens": 3})).await, (13, 3));
    let left = json!({"input": given, "truncate_prompt_tokens": 3, "truncation_side": "left"});
    assert_eq!((first_token(&app, &left).await, last_token(&app, left).await), (13, (15, 3)));
    assert_eq!(last_token(&app, json!({"input": given, "truncate_prompt_tokens": 200})).await, (15, 5));
    let text = ids(TEXT);
    let framed = json!({"input": TEXT, "truncate_prompt_tokens": 4});
    assert_eq!(last_token(&app, framed).await, (text[2], 4), "the start token is one of them");
    let left = json!({"input": TEXT, "truncate_prompt_tokens": 4, "truncation_side": "left"});
    assert_eq!((first_token(&app, &left).await, last_token(&app, left).await), (START, (*text.last().unwrap(), 4)));
    let bare = json!({"input": TEXT, "truncate_prompt_tokens": 4, "add_special_tokens": false});
    assert_eq!(last_token(&app, bare).await, (text[3], 4));
}

#[tokio::test]
async fn what_no_model_could_read_is_cut_to_what_it_takes() {
    let app = App::scripted(Setup { source_tokens: 8, ..Setup::default() }, |request| generate(request, &[5]));
    let long = "word ".repeat(2000);
    for input in [json!(long), json!(vec![7; 500])] {
        for path in ["/v1/embeddings", "/v1/encode", "/pooling"] {
            let refused = app.post(path, &json!({"input": input})).await;
            refused.error(400, Some("input"), Some("context_length_exceeded"));
            let body = json!({"input": input, "truncate_prompt_tokens": -1});
            let answer = app.post(path, &body).await;
            assert_eq!((answer.status.as_u16(), &answer.json()["usage"]["prompt_tokens"]), (200, &json!(8)));
        }
    }
}

#[tokio::test]
async fn numbers_that_mean_nothing_are_refused() {
    let app = app();
    for number in [json!(0), json!(-2), json!(257), json!("3")] {
        let body = json!({"input": "a", "truncate_prompt_tokens": number});
        let message = app.post("/v1/embeddings", &body).await.error(400, Some("truncate_prompt_tokens"), None);
        assert!(number.is_string() || message.ends_with("it must be between 1 and 256, or -1"), "{message}");
    }
    let side = json!({"input": "a", "truncate_prompt_tokens": 3, "truncation_side": "middle"});
    app.post("/v1/embeddings", &side).await.error(400, Some("truncation_side"), None);
}

#[tokio::test]
async fn texts_that_are_scored_are_cut_on_both_sides_of_their_pairs() {
    let app = App::scripted(Setup { source_tokens: 8, target_tokens: 6, ..Setup::default() }, |request| {
        assert!(request.source.len() <= 8 && request.decoder_prompt.len() <= 6, "{request:?}");
        generate(request, &[5])
    });
    let long = "word ".repeat(2000);
    for (path, mut body) in [
        ("/v1/score", json!({"text_1": long, "text_2": [vec![7; 500]], "method": "embedding"})),
        ("/v1/score", json!({"text_1": [vec![7; 500]], "text_2": long})),
        ("/v1/rerank", json!({"query": "a", "documents": [long, "b", "a b c d e f g h i"]})),
    ] {
        let refused = app.post(path, &body).await;
        assert_eq!(refused.json()["error"]["code"], "context_length_exceeded", "{}", refused.text);
        body["truncate_prompt_tokens"] = json!(-1);
        let answer = app.post(path, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

#[tokio::test]
async fn the_end_of_a_target_that_was_cut_is_not_scored() {
    let mut body = json!({"text_1": [[5]], "text_2": [[6, 7, 8], [6, 7]], "truncate_prompt_tokens": 2});
    assert_eq!(targets(Setup::default(), &body).await, [vec![6, 7], vec![6, 7, END]]);
    body["truncation_side"] = json!("left");
    assert_eq!(targets(Setup::default(), &body).await, [vec![6, 7, END], vec![7, 8, END]]);
}

#[tokio::test]
async fn a_target_that_brings_its_end_is_cut_as_one_without_it() {
    for (truncation, cut) in [(json!(2), vec![6, 7]), (json!(-1), vec![6, 7, 8, END])] {
        let targets_given = [vec![6, 7, END], vec![6, 7, 8, END]];
        let body = json!({"text_1": [[5]], "text_2": targets_given, "truncate_prompt_tokens": truncation});
        let setup = Setup { target_tokens: 4, ..Setup::default() };
        let mut expected = [vec![6, 7, END], cut];
        expected.sort();
        assert_eq!(targets(setup, &body).await, expected);
    }
}

/// The targets that the engine is asked to score for a body of two, in their order.
async fn targets(setup: Setup, body: &Value) -> [Vec<u32>; 2] {
    let (app, mut hand) = App::by_hand(setup);
    let body = body.clone();
    let asking = tokio::spawn(async move { app.post("/v1/score", &body).await });
    let submissions = [hand.submission().await, hand.submission().await];
    asking.abort();
    submissions.map(|one| one.request.decoder_prompt)
}

#[tokio::test]
async fn a_text_that_is_truncated_has_a_bound_too() {
    let body = BodyLimits { bytes: 4 << 20, ..Setup::default().body };
    let longest = 4000;
    let setup = Setup { source_tokens: 8, target_tokens: 8, truncated_text_bytes: longest, body, ..Setup::default() };
    let app = App::scripted(setup, |request| generate(request, &[5]));
    for excess in [0, 1, 3 << 20] {
        let text = "a".repeat(longest + excess);
        for (path, field, mut body) in [
            ("/v1/embeddings", "input", json!({"input": ["a", text]})),
            ("/v1/score", "text_1", json!({"text_1": text, "text_2": "a"})),
            ("/v1/score", "text_2", json!({"text_1": "a", "text_2": ["a", text]})),
            ("/v1/rerank", "documents", json!({"query": "a", "documents": [text], "method": "embedding"})),
        ] {
            body["truncate_prompt_tokens"] = json!(3);
            let answer = app.post(path, &body).await;
            if excess == 0 {
                assert_eq!(answer.status, 200, "{}", answer.text);
                continue;
            }
            let message = answer.error(400, Some(field), Some("context_length_exceeded"));
            let words = format!("at most {longest} are taken: send the part of it that is to be kept");
            assert!(message.contains(&words), "{message}");
        }
    }
}

#[tokio::test]
async fn a_text_that_the_model_reads_whole_may_be_truncated_whatever_its_bytes() {
    let app = App::scripted(Setup { truncated_text_bytes: 100, ..Setup::default() }, |request| generate(request, &[5]));
    let token_bytes = tokenizer().longest_piece_bytes().unwrap();
    for (bytes, status) in [(256 * token_bytes, 200), (256 * token_bytes + 1, 400)] {
        let body = json!({"input": "a".repeat(bytes), "truncate_prompt_tokens": 3});
        assert_eq!(app.post("/v1/embeddings", &body).await.status, status, "{bytes}");
    }
}
