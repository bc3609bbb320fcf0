//! Targets are scored as the model sees them, and the sources that they share are encoded once.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::app::App;

const SOURCE: &str = "A small library that reads and writes calendar files.";
const TARGETS: [&str; 3] = ["game of cards", "library to read and write calendar files", "fonts for a desktop"];

async fn ask(app: &App, path: &str, body: &Value) -> Answer {
    let request = Request::post(path).body(Body::from(body.to_string())).unwrap();
    Answer::read(app.send(request).await).await
}

async fn answered(app: &App, path: &str, body: &Value) -> Value {
    let answer = ask(app, path, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

fn scores(answer: &Value) -> Vec<f64> {
    answer["data"].as_array().unwrap().iter().map(|entry| entry["score"].as_f64().unwrap()).collect()
}

/// Log-probabilities of a target's tokens, as the completions endpoint reports them.
async fn log_probs(app: &App, source: &str, target: &str) -> Vec<f64> {
    let body = json!({"prompt": source, "decoder_prompt": target, "echo": true, "logprobs": 0, "max_tokens": 0});
    app.post(&body).await.choice().log_probs
}

fn assert_close(one: &[f64], other: &[f64]) {
    let differ = |(one, other): (&f64, &f64)| (one - other).abs() > 1e-5;
    assert!(one.len() == other.len() && !one.iter().zip(other).any(differ), "{one:?} and {other:?}");
}

#[tokio::test]
async fn a_score_is_the_log_probability_of_the_target_after_the_source() {
    let app = App::start("");
    let (mut sums, mut means, mut open) = (Vec::new(), Vec::new(), Vec::new());
    for target in TARGETS {
        let whole = log_probs(&app, SOURCE, &format!("{target}<eos>")).await;
        sums.push(whole.iter().sum::<f64>());
        means.push(whole.iter().sum::<f64>() / whole.len() as f64);
        open.push(log_probs(&app, SOURCE, target).await.iter().sum::<f64>());
    }
    let answer = answered(&app, "/v1/score", &json!({"text_1": SOURCE, "text_2": TARGETS})).await;
    assert_close(&scores(&answer), &means);
    assert_eq!((&answer["object"], &answer["model"]), (&json!("list"), &json!("demo")));
    assert_eq!(answer["data"][1]["index"], 1);
    let sum = json!({"queries": SOURCE, "documents": TARGETS, "length_normalize": false});
    assert_close(&scores(&answered(&app, "/v1/score", &sum).await), &sums);
    let beginning = json!({"text_1": SOURCE, "text_2": TARGETS, "length_normalize": false, "score_end": false});
    assert_close(&scores(&answered(&app, "/v1/score", &beginning).await), &open);
    app.idle().await;
}

#[tokio::test]
async fn many_targets_of_one_source_run_its_encoder_once() {
    let app = App::start("");
    let targets: Vec<_> = (0..40).map(|index| format!("library number {index}")).collect();
    let answer = answered(&app, "/v1/score", &json!({"text_1": SOURCE, "text_2": targets})).await;
    assert_eq!(scores(&answer).len(), 40);
    assert_eq!(app.engine_metrics().encoder_runs.get(), 1);
    app.idle().await;
}

#[tokio::test]
async fn targets_that_begin_alike_are_scored_as_each_alone_and_their_beginning_is_computed_once() {
    let app = App::start("");
    let common = "library to read and write calendar files, with bindings for Python, ".repeat(3);
    let targets: Vec<_> = (0..20).map(|index| format!("{common}version {}", (index * 7) % 20)).collect();
    let rows = || app.engine_metrics().step_rows.get_sample_sum();
    let mut alone = Vec::new();
    for target in &targets {
        alone.extend(scores(&answered(&app, "/v1/score", &json!({"text_1": SOURCE, "text_2": target})).await));
    }
    let rows_alone = rows();
    let answer = answered(&app, "/v1/score", &json!({"text_1": SOURCE, "text_2": targets})).await;
    assert_close(&scores(&answer), &alone);
    let rows_together = rows() - rows_alone;
    assert!(2.0 * rows_together < rows_alone, "{rows_together} rows instead of {rows_alone}");
    // A target that is there twice, and one that another one continues.
    let twice = json!({"text_1": SOURCE, "text_2": [TARGETS[1], TARGETS[1], "library to"], "score_end": false});
    let twice = scores(&answered(&app, "/v1/score", &twice).await);
    let open = json!({"text_1": SOURCE, "text_2": [TARGETS[1], "library to"], "score_end": false});
    let open = scores(&answered(&app, "/v1/score", &open).await);
    assert_close(&twice, &[open[0], open[0], open[1]]);
    app.idle().await;
}

#[tokio::test]
async fn prompt_log_probabilities_add_up_to_the_score_for_a_list_of_targets_too() {
    let app = App::start("");
    let body = json!({"text_1": SOURCE, "text_2": TARGETS, "length_normalize": false, "score_end": false});
    let expected = scores(&answered(&app, "/v1/score", &body).await);
    let runs = app.engine_metrics().encoder_runs.get();
    let source = format!("{SOURCE} And another.");
    for (source, is_known) in [(SOURCE, true), (&source, false)] {
        let body = json!({"prompt": source, "decoder_prompt": TARGETS, "prompt_logprobs": 1, "max_tokens": 1});
        let answer = answered(&app, "/v1/completions", &body).await;
        let sum = |choice: &Value| -> f64 {
            let positions = choice["prompt_logprobs"].as_array().unwrap();
            assert_eq!(positions[0], Value::Null);
            let own = |position: &Value| {
                let entries = position.as_object().unwrap().values();
                let best = entries.clone().map(|entry| entry["logprob"].as_f64().unwrap()).fold(-1e9, f64::max);
                let first = entries.clone().find(|entry| entry["rank"] == 1).unwrap();
                assert_eq!(first["logprob"].as_f64().unwrap(), best);
                // The token itself is the best one, or stands beside it.
                entries.map(|entry| entry["logprob"].as_f64().unwrap()).fold(0.0, f64::min)
            };
            positions[1..].iter().map(own).sum()
        };
        let sums: Vec<_> = answer["choices"].as_array().unwrap().iter().map(sum).collect();
        if is_known {
            assert_close(&sums, &expected);
        }
    }
    assert_eq!(app.engine_metrics().encoder_runs.get(), runs + 1, "three targets run the encoder once");
    app.idle().await;
}

#[tokio::test]
async fn pairs_of_two_lists_are_scored_one_by_one_and_ids_as_their_texts() {
    let app = App::start("");
    let sources = [SOURCE, "A game for two players."];
    let both = json!({"text_1": sources, "text_2": [TARGETS[1], TARGETS[0]]});
    let both = scores(&answered(&app, "/v1/score", &both).await);
    for (index, (source, target)) in sources.iter().zip([TARGETS[1], TARGETS[0]]).enumerate() {
        let alone = scores(&answered(&app, "/v1/score", &json!({"text_1": source, "text_2": target})).await);
        assert_close(&alone, &both[index..=index]);
    }
    let body = json!({"prompt": SOURCE, "decoder_prompt": TARGETS[1], "max_tokens": 1, "return_token_ids": true});
    let source_ids = app.post(&body).await.choice().prompt_ids;
    let tokenizer = app.model().tokenizer.clone().unwrap();
    let target_ids = tokenizer.encode(TARGETS[1]).unwrap();
    let ids = json!({"text_1": [source_ids], "text_2": [target_ids]});
    assert_close(&scores(&answered(&app, "/v1/score", &ids).await), &both[..1]);
}

#[tokio::test]
async fn documents_are_ranked_and_given_back_as_asked() {
    let app = App::start("");
    let body = json!({"query": SOURCE, "documents": TARGETS});
    let ranking = answered(&app, "/v1/rerank", &body).await;
    let results = ranking["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    assert_eq!((&results[0]["index"], &results[0]["document"]["text"]), (&json!(1), &json!(TARGETS[1])));
    let order: Vec<_> = results.iter().map(|result| result["relevance_score"].as_f64().unwrap()).collect();
    assert!(order.is_sorted_by(|one, other| one >= other), "{order:?}");
    let first = json!({"query": SOURCE, "documents": TARGETS, "top_n": 1, "return_documents": false});
    for path in ["/v2/rerank", "/rerank"] {
        let ranking = answered(&app, path, &first).await;
        assert_eq!(ranking["results"].as_array().unwrap().len(), 1);
        assert_eq!(ranking["results"][0].get("document"), None);
    }
    let objects = json!({"query": SOURCE, "documents": [{"text": TARGETS[0]}, TARGETS[1]]});
    assert_eq!(answered(&app, "/v1/rerank", &objects).await["results"][0]["index"], 1);
    // The other way round each document is a source, after which the query is scored.
    let runs = app.engine_metrics().encoder_runs.get();
    let turned = json!({"query": "library for calendar files", "documents": [SOURCE, "Cards."], "source": "documents"});
    let ranking = answered(&app, "/v1/rerank", &turned).await;
    assert_eq!(ranking["results"][0]["index"], 0);
    assert_eq!(app.engine_metrics().encoder_runs.get(), runs + 1, "the other one was known already");
    let score = scores(&answered(&app, "/v1/score", &json!({"text_1": SOURCE, "text_2": turned["query"]})).await);
    assert_close(&score, &[ranking["results"][0]["relevance_score"].as_f64().unwrap()]);
}

#[tokio::test]
async fn embeddings_score_by_the_cosine_of_their_mean_states() {
    let app = App::start("");
    let texts = [SOURCE, TARGETS[0], TARGETS[1]];
    let body = json!({"text_1": SOURCE, "text_2": texts, "method": "embedding"});
    let found = scores(&answered(&app, "/v1/score", &body).await);
    let body = json!({"input": texts, "pooling": "mean", "encoding_format": "float"});
    let embeddings = answered(&app, "/v1/embeddings", &body).await;
    let vector = |index: usize| -> Vec<f64> {
        let numbers = embeddings["data"][index]["embedding"].as_array().unwrap();
        numbers.iter().map(|number| number.as_f64().unwrap()).collect()
    };
    let dot = |one: &[f64], other: &[f64]| one.iter().zip(other).map(|(one, other)| one * other).sum::<f64>();
    let cosine = |other: usize| {
        let (one, other) = (vector(0), vector(other));
        dot(&one, &other) / (dot(&one, &one) * dot(&other, &other)).sqrt()
    };
    assert_close(&found, &[cosine(0), cosine(1), cosine(2)]);
    assert!((found[0] - 1.0).abs() < 1e-5, "{found:?}");
    app.idle().await;
}

#[tokio::test]
async fn what_cannot_be_scored_is_refused_by_the_name_of_its_field() {
    let app = App::start("[limits]\nprompts = 2\ntotal_choices = 4\nqueued_rows = 4\n");
    let long = "word ".repeat(4000);
    let wrong = [
        ("/v1/score", json!({"text_2": "a"}), "text_1", "must provide"),
        ("/v1/score", json!({"text_1": "a"}), "text_2", "must provide"),
        ("/v1/score", json!({"text_1": ["a", "b"], "text_2": "c"}), "text_2", "one text for each source"),
        ("/v1/score", json!({"text_1": "a", "queries": "b", "text_2": "c"}), "queries", "another name"),
        ("/v1/score", json!({"text_1": ["a", "b", "c"], "text_2": "c"}), "text_1", "at most 2"),
        ("/v1/score", json!({"text_1": "a", "text_2": vec!["b"; 5]}), "text_2", "at most 4"),
        ("/v1/score", json!({"text_1": "a", "text_2": [[4096]]}), "text_2", "vocabulary"),
        ("/v1/score", json!({"text_1": "a", "text_2": "", "score_end": false}), "text_2", "no tokens"),
        ("/v1/score", json!({"text_1": "a", "text_2": "b", "top_n": 1}), "top_n", "Unrecognized"),
        ("/v1/score", json!({"text_1": "a", "text_2": "b", "method": "x"}), "method", "likelihood"),
        ("/v1/score", json!({"text_1": "a", "text_2": "b", "method": "embedding", "score_end": true}), "score_end", ""),
        ("/v1/score", json!({"text_1": "a", "text_2": "b", "priority": 1}), "priority", "not supported"),
        ("/v1/score", json!({"text_1": "a", "text_2": ["b", 7]}), "text_2", "a string"),
        ("/v1/rerank", json!({"documents": ["a"]}), "query", "must provide"),
        ("/v1/rerank", json!({"query": "a"}), "documents", "must provide"),
        ("/v1/rerank", json!({"query": ["a", "b"], "documents": ["a"]}), "query", "at most 1"),
        ("/v1/rerank", json!({"query": "a", "documents": []}), "documents", "empty"),
        ("/v1/rerank", json!({"query": "a", "documents": vec!["b"; 5]}), "documents", "at most 4"),
        (
            "/v1/rerank",
            json!({"query": "a", "documents": vec!["b"; 3], "source": "documents"}),
            "documents",
            "at most 2",
        ),
        ("/v1/rerank", json!({"query": "a", "documents": [{"title": "b"}]}), "documents", "only field"),
        ("/v1/rerank", json!({"query": "a", "documents": [7]}), "documents", "a string or an object"),
        ("/v1/rerank", json!({"query": "a", "documents": ["b"], "top_n": -1}), "top_n", "at least 0"),
        ("/v1/rerank", json!({"query": "a", "documents": ["b"], "source": "x"}), "source", "query"),
        ("/v1/rerank", json!({"query": "a", "documents": ["b"], "max_chunks_per_doc": 1}), "max_chunks_per_doc", ""),
    ];
    for (path, body, param, part) in wrong {
        let message = ask(&app, path, &body).await.error(400, Some(param), None);
        assert!(message.contains(part), "{body}: {message}");
    }
    for (body, name) in [
        (json!({"text_1": long, "text_2": "a"}), "text_1"),
        (json!({"text_1": "a", "text_2": ["b", long]}), "text_2"),
        (json!({"text_1": "a", "text_2": [vec![7; 5000]]}), "text_2"),
    ] {
        ask(&app, "/v1/score", &body).await.error(400, Some(name), Some("context_length_exceeded"));
    }
    assert_eq!(app.engine().free_slots(), 4, "nothing keeps a place");
}
