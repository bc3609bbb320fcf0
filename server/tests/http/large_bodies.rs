//! Bodies that are too large or not wanted: their clients can read the answer.

use serde_json::{Value, json};
use server::api::loading_routes;
use server::http_server::{HttpServer, ServerShared};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::app::{App, CONNECTIONS, PATIENCE, Setup};
use crate::listening::{Running, read_until};

#[tokio::test]
async fn the_client_of_a_body_that_is_too_large_can_read_the_answer() {
    let (server, _hand) = Running::start(Setup::default(), PATIENCE).await;
    // Declared, and far more than sockets buffer: the server has to take the rest in.
    let body = json!({"prompt": "a".repeat(3 << 20)});
    let response = server.post(&body).await.unwrap().expect("an answer, not a reset connection");
    assert_eq!(response.status(), 413);
    assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], "request_too_large");

    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    let chunk = [b"10000\r\n", vec![b' '; 0x10000].as_slice(), b"\r\n"].concat();
    for _ in 0..40 {
        client.write_all(&chunk).await.unwrap();
    }
    client.write_all(b"0\r\n\r\n").await.unwrap();
    let answer = read_until(&mut client, "request_too_large").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn the_client_of_a_large_body_that_is_not_wanted_can_read_the_answer() {
    let (server, mut hand) = Running::start(Setup { queued_rows: 1, ..Setup::default() }, PATIENCE).await;
    let body = json!({"prompt": "a".repeat(3 << 20)}).to_string();
    let full = json!({"prompt": "a".repeat(1 << 19)}).to_string();
    let _waiting = server.request(json!({"prompt": "p"})).await;
    let _queued = hand.submission().await;
    for (path, body, status, code) in [
        ("/v1/unknown", &body, 404, "unknown_url"),
        ("/v1/models", &body, 405, "method_not_supported"),
        ("/v1/completions", &full, 429, "overloaded"),
    ] {
        let url = format!("http://{}{path}", server.address);
        let answer = reqwest::Client::new().post(url).body(body.clone()).send().await.expect("an answer");
        assert_eq!(answer.status(), status);
        assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], code);
    }
}

#[tokio::test]
async fn a_client_that_waits_for_permission_to_send_too_much_is_told_no() {
    let (server, _hand) = Running::start(Setup::default(), PATIENCE).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\nexpect: 100-continue\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let answer = read_until(&mut client, "request_too_large").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn the_client_of_a_large_body_can_read_that_the_models_are_still_loaded() {
    let (app, _hand) = App::by_hand(Setup::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let _server = HttpServer::start(listener, CONNECTIONS, loading_routes(&app.api.entrance), ServerShared::default());
    for path in ["/v1/completions", "/v1/models"] {
        let asked = reqwest::Client::new().post(format!("http://{address}{path}")).body("a".repeat(8 << 20));
        let answer = asked.send().await.expect("an answer, not a reset connection");
        assert_eq!(answer.status(), 503, "{path}");
        assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], "loading");
    }
}
