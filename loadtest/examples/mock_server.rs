//! The server of the tests on a port of its own, to measure the program itself: `mock_server PORT FIRST_MS GAP_MS
//! PIECES`.

use std::time::Duration;

use mock::{Mock, Script};

#[path = "../tests/known_server/mock.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "a part of the tests, which use more of it")]
mod mock;

fn main() {
    let arguments: Vec<u32> = std::env::args().skip(1).filter_map(|number| number.parse().ok()).collect();
    let [port, first, gap, pieces] = arguments[..] else {
        eprintln!("error: write it as mock_server PORT FIRST_MS GAP_MS PIECES");
        std::process::exit(2);
    };
    let milliseconds = |number: u32| Duration::from_millis(number.into());
    let script = Script { first: milliseconds(first), gap: milliseconds(gap), pieces, ..Script::default() };
    let mock = Mock::listen(&format!("127.0.0.1:{port}"), script);
    println!("{}", mock.url());
    loop {
        std::thread::park();
    }
}
