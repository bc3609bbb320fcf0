//! Which error comes first: that there is no such model, that the model cannot do this, or that a field is wrong.

use serde_json::{Value, json};

use crate::app::{App, Setup};

/// An encoder without a decoder and without a classification head.
fn encoder() -> App {
    App::by_hand(Setup { target_tokens: 0, ..Setup::default() }).0
}

/// Requests for what [`encoder`] lacks, each with a field that is wrong as well.
fn requests() -> Vec<(&'static str, Value)> {
    vec![
        ("/v1/classify", json!({"input": 7})),
        ("/classify", json!({"input": "a", "use_activation": 1})),
        ("/pooling", json!({"task": "classify"})),
        ("/v1/score", json!({"text_1": "a"})),
        ("/v1/rerank", json!({"query": "a", "documents": [], "length_normalize": 7})),
        ("/v1/completions", json!({"prompt": "a", "decoder_prompt": [5, 6], "max_tokens": 0})),
        ("/v1/completions", json!({"prompt": "a", "decoder_prompt": [5, 6]})),
        ("/v1/chat/completions", json!({"messages": []})),
    ]
}

#[tokio::test]
async fn a_model_that_is_not_served_is_told_before_anything_else() {
    let app = encoder();
    let others = [("/v1/embeddings", json!({"input": 7})), ("/v1/encode", json!({})), ("/tokenize", json!({}))];
    for (path, mut body) in requests().into_iter().chain(others) {
        body["model"] = json!("gpt-4");
        app.post(path, &body).await.error(404, Some("model"), Some("model_not_found"));
    }
}

#[tokio::test]
async fn what_a_model_cannot_do_is_told_before_the_rules_of_the_body() {
    let app = encoder();
    for (path, body) in requests() {
        app.post(path, &body).await.error(400, Some("model"), Some("model_cannot"));
    }
    app.post("/v1/score", &json!({"method": "embedding"})).await.error(400, Some("text_1"), None);
    app.post("/pooling", &json!({"task": "embed"})).await.error(400, Some("input"), None);
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_told_first() {
    let app = encoder();
    for path in ["/v1/classify", "/v1/completions", "/v1/score", "/tokenize"] {
        app.post(path, &json!(["gpt-4"])).await.error(400, None, None);
        app.post(path, &json!({"model": 7})).await.error(400, Some("model"), None);
    }
}
