//! What clients hear while the model is still being loaded.

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use server::serve::Loading;
use tokio::net::TcpListener;

use crate::app::App;

#[tokio::test]
async fn while_the_model_is_loaded_the_server_is_alive_and_says_that_it_is_not_ready() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::new();
    let status = async |path: &str| client.get(format!("{url}{path}")).send().await.unwrap().status();
    let loading = Loading::begin(&listener).await.unwrap();
    assert_eq!((status("/health").await, status("/ready").await), (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE));
    let completion = client.post(format!("{url}/v1/completions")).json(&json!({"prompt": "early"}));
    let early = completion.try_clone().unwrap().send().await.unwrap();
    assert_eq!((early.status().as_u16(), &early.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(early.json::<Value>().await.unwrap()["error"]["code"], "loading");

    drop(loading);
    App::start("").listen_on(listener);
    assert_eq!(status("/ready").await, StatusCode::OK);
    assert_eq!(completion.send().await.unwrap().status(), StatusCode::OK);
}
