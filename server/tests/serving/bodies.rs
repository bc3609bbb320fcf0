//! Memory that bodies cost: their bytes, whatever their contents.

use futures_util::future::join_all;
use reqwest::Client;

use crate::process::ServerProcess;

const BODY_BYTES: usize = 1 << 19;
/// At once.
const BODIES: usize = 4;
/// One after the other: what stays must not add up.
const ROUNDS: usize = 2;
/// The bodies, as much again for a text that is taken out of one, and a little.
const PEAK_KIB: u64 = 8 << 10;
const LEFT_KIB: u64 = 2 << 10;

/// A body of [`BODY_BYTES`] that repeats `element`; `{}` in it stands for a number of its own.
fn filled(begin: &str, element: &str, end: &str) -> String {
    let mut body = begin.to_owned();
    for number in 0.. {
        let next = element.replace("{}", &number.to_string());
        if body.len() + next.len() + end.len() + 1 > BODY_BYTES {
            break;
        }
        if number > 0 {
            body.push(',');
        }
        body.push_str(&next);
    }
    body + end
}

#[tokio::test]
async fn bodies_take_their_bytes_and_leave_nothing_behind_whatever_stands_in_them() {
    let server = ServerProcess::start(&["--threads", "1"]);
    let (client, url) = (Client::new(), format!("http://{}/v1/completions", server.address));
    for (what, body, words) in [
        ("lists of one id", filled("{\"prompt\":[", "[1]", "]}"), "at most 64"),
        ("one text", filled("{\"prompt\":\"", "a", "\"}"), "length is 1024 tokens"),
        ("ids", filled("{\"prompt\":[", "1", "]}"), "length is 1024 tokens"),
        ("unknown fields", filled("{\"prompt\":\"p\",", "\"x{}\":0", "}"), "supplied: x0, x1, x2, x3, x4, x5, x6, x7"),
        (
            "an unsupported field",
            filled("{\"prompt\":\"p\",\"logits_processors\":[", "[]", "]}"),
            "'logits_processors' is not supported",
        ),
        ("words that may not come", filled("{\"prompt\":\"p\",\"bad_words\":[", "[7]", "]}"), "at most 768"),
        ("stop tokens", filled("{\"prompt\":\"p\",\"stop_token_ids\":[", "7", "]}"), "at most 64"),
    ] {
        let send = || async {
            let answer = client.post(&url).body(body.clone()).send().await.unwrap();
            assert_eq!(answer.status(), 400);
            let text = answer.text().await.unwrap();
            assert!(text.contains(words), "{what}: {text}");
        };
        // What connections and threads take once is not the bodies'.
        join_all((0..BODIES).map(|_| send())).await;
        let before = server.memory();
        for _ in 0..ROUNDS {
            join_all((0..BODIES).map(|_| send())).await;
        }
        let after = server.memory();
        let (peak, left) = (after.peak_kib - before.now_kib, after.now_kib.saturating_sub(before.now_kib));
        assert!(peak < PEAK_KIB && left < LEFT_KIB, "{what}: {peak} KiB at most, {left} KiB after");
    }
}
