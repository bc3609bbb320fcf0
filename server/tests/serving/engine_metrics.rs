//! Metrics of an engine at work: encoder, cache of sources, pages, steps and times.

use serde_json::json;

use crate::app::App;
use crate::demo::rows;

#[tokio::test]
async fn metrics_tell_how_often_and_how_long_the_encoder_ran_and_which_sources_were_evicted() {
    let rows = rows();
    let pages = |index: usize| rows[index].input_ids.len().div_ceil(16);
    // Room for either source, and for one target page, but not for both.
    let app = App::with_pages("", pages(0).max(pages(1)) + 1);
    let body = |index: usize| json!({"prompt": rows[index].input_ids, "max_tokens": 4, "temperature": 0});
    for index in [0, 1, 1] {
        assert_eq!(app.post(&body(index)).await.choices().len(), 1);
    }
    app.idle().await;
    let metrics = app.engine_metrics();
    let encoder = &metrics.encoder;
    assert_eq!((encoder.cache_misses.get(), metrics.cross_cache_hits.get(), encoder.cache_evictions.get()), (2, 1, 1));
    assert_eq!((encoder.seconds.get_sample_count(), encoder.batch_tokens.get_sample_count()), (2, 2));
    let tokens = rows[0].input_ids.len() + rows[1].input_ids.len();
    assert_eq!(encoder.batch_tokens.get_sample_sum(), tokens as f64);
    assert!(encoder.seconds.get_sample_sum() > 0.0);
    let page_bytes = metrics.steps.page_bytes.get();
    assert!(page_bytes > 0);
    assert_eq!(encoder.cache_bytes.get(), pages(1) as i64 * page_bytes);
}

#[tokio::test]
async fn metrics_tell_what_steps_read_and_hold_and_how_wide_searches_are() {
    let (app, rows) = (App::start(""), rows());
    let source = &rows[0].input_ids;
    let body = json!({"prompt": source, "max_tokens": 6, "n": 2, "ignore_eos": true, "speculation": "off"});
    assert_eq!(app.post(&body).await.choices().len(), 2);
    let metrics = app.engine_metrics();
    let counts = || (metrics.step_rows.get_sample_count(), metrics.steps.tokens.get_sample_sum());
    assert_eq!(counts(), (7, (source.len() + 12) as f64), "one step encodes, six run two rows");
    let text = app.api.entrance.metrics.text();
    let decoded = "encdec_decode_step_seconds_count{model=\"demo\",rows=\"2\"} 6";
    assert!(text.lines().any(|line| line == decoded), "{text}");
    let read = metrics.steps.read_bytes.get();
    assert!(read > 0, "decode steps read weights");
    let search = json!({"prompt": source, "max_tokens": 6, "use_beam_search": true, "best_of": 3, "n": 1});
    assert_eq!(app.post(&search).await.choices().len(), 1);
    assert_eq!((metrics.steps.beam_width.get_sample_count(), metrics.steps.beam_width.get_sample_sum()), (1, 3.0));
    assert!(metrics.steps.read_bytes.get() > read);
    app.idle().await;
    assert_eq!((metrics.steps.cross_pages.get(), metrics.steps.self_pages.get()), (0, 0));
}

#[tokio::test]
async fn times_of_a_prompt_in_the_engine_add_up() {
    let (app, rows) = (App::start(""), rows());
    let body = json!({"prompt": rows[0].input_ids, "max_tokens": 5, "n": 2, "ignore_eos": true});
    assert_eq!(app.post(&body).await.choices().len(), 2);
    let metrics = app.request_metrics();
    let [prefill, decode, run] = [&metrics.prefill_seconds, &metrics.decode_seconds, &metrics.run_seconds];
    let count = |of: &[&prometheus::Histogram]| of.iter().map(|times| times.get_sample_count()).collect::<Vec<_>>();
    assert_eq!(count(&[prefill, decode, run]), [1, 1, 1], "one prompt");
    let sum = prefill.get_sample_sum() + decode.get_sample_sum();
    assert!((run.get_sample_sum() - sum).abs() < 1e-9);
    assert_eq!(count(&[&metrics.time_per_token_seconds, &metrics.asked_tokens]), [2, 1], "two choices, one request");
    assert_eq!((metrics.asked_tokens.get_sample_sum(), metrics.asked_choices.get_sample_sum()), (5.0, 2.0));
}
