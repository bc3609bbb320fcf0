//! Defaults that a checkpoint's `generation_config.json` sets, over the whole server.

use std::fs;
use std::io::{Result, Write};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::app::App;
use crate::eval::changed;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The ids that a checkpoint with this file generates greedily, and what the log says when it is loaded.
async fn generated(generation: &Value, setting: &str) -> (Vec<u64>, String) {
    let model = changed("t5gemma-balanced", |_| (), |_| ());
    fs::write(model.path().join("generation_config.json"), generation.to_string()).unwrap();
    let settings = format!(
        "[model]\npath = {:?}\ntokenizer = \"none\"\ngeneration_config = {setting:?}\n",
        model.path().display().to_string()
    );
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let app = tracing::subscriber::with_default(subscriber, || App::start(&settings));
    let body = json!({"prompt": [5, 6, 7], "temperature": 0, "ignore_eos": true, "return_token_ids": true});
    let answer = app.post(&body).await.json();
    let ids = serde_json::from_value(answer["choices"][0]["token_ids"].clone()).unwrap();
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    (ids, log)
}

#[tokio::test]
async fn its_values_hold_for_requests_and_are_named_in_the_log_once_unless_it_is_ignored() {
    let (free, log) = generated(&json!({"eos_token_id": 1}), "auto").await;
    assert_eq!((free.len(), log.contains("sets defaults")), (16, false), "{log}");
    let banning = json!({"eos_token_id": 1, "suppress_tokens": free, "max_new_tokens": 5});
    let (held, log) = generated(&banning, "auto").await;
    assert_eq!(held.len(), 5);
    assert!(held.iter().all(|id| !free.contains(id)), "{held:?}");
    assert_eq!(log.matches("generation_config.json sets defaults of requests: ").count(), 1, "{log}");
    assert!(log.contains("max_new_tokens 5"), "{log}");
    let (ignored, log) = generated(&banning, "ignore").await;
    assert_eq!((ignored, log.contains("sets defaults")), (free.clone(), false), "{log}");
    let first = json!({"eos_token_id": 1, "begin_suppress_tokens": [free[0]], "forced_eos_token_id": 1});
    let (begun, _) = generated(&first, "auto").await;
    assert_ne!(begun[0], free[0]);
    assert_eq!(begun[15], 1, "the last of all tokens");
}

#[tokio::test]
async fn the_list_of_models_has_them_under_the_keys_of_the_file() {
    let model = changed("t5gemma-balanced", |_| (), |_| ());
    let written = json!({
        "eos_token_id": 1, "repetition_penalty": 1.25, "suppress_tokens": [5, 6], "max_new_tokens": 7, "top_k": null,
    });
    fs::write(model.path().join("generation_config.json"), written.to_string()).unwrap();
    let listed = async |setting: &str| {
        let path = model.path().display().to_string();
        let app = App::start(&format!("[model]\npath = {path:?}\ngeneration_config = {setting:?}\n"));
        let request = Request::get("/v1/models").body(Body::empty()).unwrap();
        Answer::read(app.send(request).await).await.json()["data"][0]["defaults"].clone()
    };
    let defaults = json!({"repetition_penalty": 1.25, "suppress_tokens": [5, 6], "max_new_tokens": 7});
    assert_eq!(listed("auto").await, defaults);
    assert_eq!(listed("ignore").await, json!({}));
}
