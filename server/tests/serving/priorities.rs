//! Requests that nobody waits for give way to others, over the whole server.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use crate::answer::Answer;
use crate::app::{App, wait_until};

#[tokio::test]
async fn a_request_in_the_background_makes_room_and_gets_the_same_answer() {
    let app = App::start("[limits]\nrunning_rows = 1\n");
    let long = json!({"prompt": "A small library that reads calendar files.", "max_tokens": 300, "temperature": 0,
        "ignore_eos": true});
    let short = json!({"prompt": "A game of cards for the terminal.", "max_tokens": 4, "temperature": 0});
    let background = {
        let (app, body) = (app.clone(), long.to_string());
        tokio::spawn(async move {
            let request = Request::post("/v1/completions").header("priority", "u=7").body(Body::from(body)).unwrap();
            Answer::read(app.send(request).await).await
        })
    };
    wait_until(|| app.engine_metrics().running_rows.get() == 1).await;
    let answer = app.post(&short).await;
    assert!(!background.is_finished(), "the only row was given up");
    assert_eq!(answer.status, 200);
    let given_way = background.await.unwrap();
    let texts = |answer: &Answer| answer.json()["choices"][0]["text"].clone();
    assert_eq!(texts(&given_way), texts(&app.post(&long).await));
    assert!(app.engine_metrics().preemptions.get() >= 1);
    app.idle().await;
}
