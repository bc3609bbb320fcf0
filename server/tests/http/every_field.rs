//! Each field that an endpoint describes is read: a value that it cannot have is refused by its name. Fields of which
//! any value is accepted are described so.

use serde_json::{Value, json};

use crate::app::{App, Setup};
use crate::scripted_engine::generate;

/// Values of which no field takes all.
fn misfits() -> [Value; 5] {
    [json!({"no": {"such": "thing"}}), json!(-7.5), json!([[[{}]]]), json!(true), json!("no such value \u{1}")]
}

/// A small body that each path with a body accepts.
fn bodies() -> Vec<(&'static str, Value)> {
    let messages = || json!({"messages": [{"role": "user", "content": "p"}], "max_tokens": 4});
    let ranking = || json!({"query": "a", "documents": ["b", "c"]});
    vec![
        ("/v1/completions", json!({"prompt": "p", "max_tokens": 4})),
        ("/v1/chat/completions", messages()),
        ("/v1/completions/render", json!({"prompt": "p", "max_tokens": 4})),
        ("/v1/chat/completions/render", messages()),
        ("/v1/responses", json!({"input": "p", "max_output_tokens": 4})),
        ("/v1/embeddings", json!({"input": "p"})),
        ("/v1/encode", json!({"input": "p"})),
        ("/v1/classify", json!({"input": "p"})),
        ("/classify", json!({"input": "p"})),
        ("/pooling", json!({"input": "p"})),
        ("/v1/score", json!({"text_1": "a", "text_2": "b", "method": "embedding"})),
        ("/v1/rerank", ranking()),
        ("/v2/rerank", ranking()),
        ("/rerank", ranking()),
        ("/v1/batches", json!({"input_file_id": "file-x", "endpoint": "/v1/completions", "completion_window": "1h"})),
        ("/tokenize", json!({"prompt": "p"})),
        ("/detokenize", json!({"tokens": [5]})),
    ]
}

#[tokio::test]
async fn each_field_of_each_path_is_read_or_says_that_it_changes_nothing() {
    let (_folder, store) = crate::batches::store();
    let labels = ["a", "b", "c"].map(str::to_owned).into();
    let setup = Setup { labels, batches: Some(store), ..Setup::default() };
    let app = App::scripted(setup, |request| generate(request, &[5]));
    let description = app.get("/openapi.json").await.json();
    let paths = description["paths"].as_object().unwrap();
    let described = paths
        .iter()
        .filter(|(_, path)| !path["post"]["requestBody"]["content"]["application/json"].is_null())
        .map(|(path, _)| path);
    let bodies = bodies();
    let mut described: Vec<&str> = described.map(String::as_str).collect();
    let mut known: Vec<&str> = bodies.iter().map(|(path, _)| *path).collect();
    described.sort_unstable();
    known.sort_unstable();
    assert_eq!(known, described);
    let mut unread = Vec::new();
    for (path, body) in &bodies {
        let schema = &paths[*path]["post"]["requestBody"]["content"]["application/json"]["schema"];
        let fields = schema["properties"].as_object().unwrap();
        assert!(fields.len() > 1, "{path}");
        for (field, declared) in fields {
            let mut is_refused = false;
            for misfit in misfits() {
                let mut body = body.clone();
                body[field] = misfit;
                let answer = app.post(path, &body).await;
                let param = if answer.status == 400 { answer.json()["error"]["param"].clone() } else { Value::Null };
                let named = |name: &str| name.split(['.', '[']).next() == Some(field.as_str());
                assert!(answer.status.as_u16() < 500, "{path} {field}: {}", answer.text);
                is_refused |= param.as_str().is_some_and(named);
            }
            let about = declared["description"].as_str().unwrap_or_default();
            let is_idle = about == "Any value is accepted and changes nothing.";
            if is_refused == is_idle {
                unread.push(format!("{path} {field}: {about}"));
            }
        }
    }
    assert_eq!(unread, Vec::<String>::new());
}
