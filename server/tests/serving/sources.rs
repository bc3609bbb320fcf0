//! A source is encoded once, whoever asks how often.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use server::client_connection::Peer;

use crate::answer::Answer;
use crate::app::App;
use crate::demo::rows;

fn counts(app: &App) -> (u64, u64) {
    (app.engine_metrics().encoder_runs.get(), app.engine_metrics().cross_cache_hits.get())
}

#[tokio::test]
async fn a_second_request_with_the_same_source_runs_no_encoder() {
    let (app, rows) = (App::start(""), rows());
    let body = |max_tokens: u32| json!({"prompt": rows[0].input, "max_tokens": max_tokens, "temperature": 0});
    let first = app.post(&body(48)).await;
    assert_eq!((first.cached_tokens(), counts(&app)), (0, (1, 0)));
    let second = app.post(&body(48)).await;
    assert_eq!((second.cached_tokens(), counts(&app)), (rows[0].input_ids.len() as u64, (1, 1)));
    assert_eq!(first.choices(), second.choices());
    // The same ids are the same source, however they were given.
    let ids = app.post(&json!({"prompt": rows[0].input_ids, "max_tokens": 1})).await;
    assert_eq!((ids.cached_tokens(), counts(&app)), (rows[0].input_ids.len() as u64, (1, 2)));
    let other = app.post(&json!({"prompt": rows[0].input_ids[1..], "max_tokens": 1})).await;
    assert_eq!((other.cached_tokens(), counts(&app)), (0, (2, 2)), "the end of a source is another source");
    let text = app.api.entrance.metrics.text();
    for line in [
        "encdec_encoder_runs_total{model=\"demo\"} 2",
        "encdec_cross_cache_hits_total{model=\"demo\"} 2",
        "encdec_pages{model=\"demo\",state=\"held\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
    }
}

#[tokio::test]
async fn four_continuations_run_the_encoder_once_and_hold_one_set_of_cross_pages() {
    let rows = rows();
    let source_pages = rows[1].input_ids.len().div_ceil(16);
    // Room for one source and four targets of a page each: with a second set of cross pages they could not run at once.
    let app = App::with_pages("", source_pages + 4);
    let body = json!({
        "prompt": rows[1].input_ids, "n": 4, "max_tokens": 16, "ignore_eos": true, "seed": 5, "speculation": "off",
    });
    let answer = app.post(&body).await;
    assert_eq!(answer.choices().len(), 4);
    assert_eq!((answer.cached_tokens(), counts(&app)), (0, (1, 0)));
    app.idle().await;
    let (steps, metrics) = (&app.engine_metrics().step_rows, app.engine_metrics());
    assert_eq!((steps.get_sample_sum(), steps.get_sample_count()), (64.0, 17), "one step encodes, 16 run four rows");
    assert_eq!(metrics.preemptions.get(), 0);
    assert_eq!(metrics.pages_cached.get(), source_pages as i64);
}

#[tokio::test]
async fn the_same_source_twice_at_the_same_moment_is_encoded_once() {
    let (app, rows) = (App::start(""), rows());
    let body = |prompt: Value| json!({"prompt": prompt, "max_tokens": 12, "temperature": 0});
    let (one, other) = tokio::join!(app.spawn(&body(json!(rows[2].input))), app.spawn(&body(json!(rows[2].input))));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.choices(), other.choices());
    assert_eq!(one.cached_tokens() + other.cached_tokens(), rows[2].input_ids.len() as u64);
    assert_eq!(counts(&app), (1, 1));
    let list = app.post(&body(json!([rows[3].input, rows[3].input, rows[3].input]))).await;
    assert_eq!(list.cached_tokens(), 2 * rows[3].input_ids.len() as u64);
    assert_eq!(counts(&app), (2, 3));
    let choices = list.choices();
    assert!(choices.iter().all(|choice| *choice == choices[0]));
}

#[tokio::test]
async fn a_source_whose_pages_others_needed_is_encoded_again_with_the_same_answer() {
    let rows = rows();
    let app = App::with_pages("", 20);
    let body = |row: usize| json!({"prompt": rows[row].input, "max_tokens": 16, "temperature": 0, "logprobs": 1});
    let first = app.post(&body(4)).await;
    app.post(&body(5)).await;
    let again = app.post(&body(4)).await;
    assert_eq!((again.cached_tokens(), counts(&app)), (0, (3, 0)));
    assert_eq!(first.choices(), again.choices());
}

#[tokio::test]
async fn a_source_is_shared_only_with_those_who_give_the_same_salt() {
    let (app, rows) = (App::start(""), rows());
    let ids = &rows[0].input_ids;
    let cached = async |salt: Value| {
        let body = json!({"prompt": ids, "max_tokens": 1, "cache_salt": salt});
        app.post(&body).await.cached_tokens()
    };
    let all = ids.len() as u64;
    assert_eq!((cached(Value::Null).await, cached(Value::Null).await), (0, all));
    assert_eq!((cached(json!("one")).await, cached(json!("two")).await), (0, 0), "nor from those who give none");
    assert_eq!((cached(json!("one")).await, cached(json!("two")).await), (all, all));
    assert_eq!(counts(&app), (3, 3));
}

#[tokio::test]
async fn peers_that_do_not_share_learn_nothing_of_each_others_sources() {
    let (app, rows) = (App::start("[server]\nshare_sources = \"peer\"\n"), rows());
    let ids = &rows[0].input_ids;
    let cached = async |peer: &str| {
        let body = json!({"prompt": ids, "max_tokens": 1}).to_string();
        let mut request = Request::post("/v1/completions").body(Body::from(body)).unwrap();
        request.extensions_mut().insert(Peer(peer.parse().unwrap()));
        Answer::read(app.send(request).await).await.cached_tokens()
    };
    let all = ids.len() as u64;
    assert_eq!((cached("192.0.2.1:1000").await, cached("192.0.2.2:1000").await), (0, 0));
    assert_eq!((cached("192.0.2.1:2000").await, cached("192.0.2.2:2000").await), (all, all), "by address, not by port");
    assert_eq!(counts(&app), (2, 2), "each source went through the encoder for each of them, which takes its time");
}
