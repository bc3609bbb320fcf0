//! Compressed bodies: inflated within the limits of plain ones.

use std::io::Write;

use axum::body::Body;
use axum::http::{Request, header};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::json;

use crate::answer::Answer;
use crate::app::{App, Setup};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

async fn post(app: &App, encoding: &str, body: Vec<u8>) -> Answer {
    let request = Request::post("/v1/completions").header(header::CONTENT_ENCODING, encoding);
    Answer::of(app.send(request.body(Body::from(body)).unwrap()).await).await
}

#[tokio::test]
async fn a_compressed_request_is_answered_like_a_plain_one() {
    let app = App::saying("a tool");
    let text = format!("{{\"prompt\": \"p\", \"user\": \"{}\"}}", "x".repeat(100_000));
    let text = text.as_bytes();
    let packed =
        [("gzip", gzip(text)), ("deflate", deflate(text)), ("zstd", compress_to_vec(text, CompressionLevel::Fastest))];
    for (encoding, body) in packed {
        let answer = post(&app, encoding, body).await;
        assert_eq!(answer.status, 200, "{encoding}: {}", answer.text);
        assert_eq!(answer.json()["choices"][0]["text"], "a tool");
        assert_eq!(app.api.body_budget.used_bytes(), 0);
    }
}

#[tokio::test]
async fn a_body_that_inflates_to_too_much_is_refused() {
    let (app, hand) = App::by_hand(Setup::default());
    let limit = app.api.limits.body.bytes;
    for (encoding, pack) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("deflate", deflate)] {
        let bomb = pack(&vec![b' '; 4 * limit]);
        assert!(bomb.len() < limit / 16);
        post(&app, encoding, bomb).await.error(413, None, Some("request_too_large"));
        let broken = post(&app, encoding, b"{\"prompt\": \"p\"}".to_vec()).await;
        let message = broken.error(400, None, None);
        assert!(message.contains(&format!("not valid {encoding}")), "{message}");
    }
    assert!(hand.is_idle());
    assert_eq!(app.api.body_budget.used_bytes(), 0);
}

#[tokio::test]
async fn a_compressed_body_is_not_inflated_when_the_queue_has_no_place() {
    let (app, mut hand) = App::by_hand(Setup { queued_rows: 1, ..Setup::default() });
    let broken = b"{\"prompt\": \"p\"}".to_vec();
    post(&app, "gzip", broken.clone()).await.error(400, None, None);
    let _client = app.spawn(json!({"prompt": "p"}));
    let _queued = hand.submission().await;
    post(&app, "gzip", broken).await.error(429, None, Some("overloaded"));
}
