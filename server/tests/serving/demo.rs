//! The demo writes the reference's synopses of its held-out descriptions.

use std::path::Path;

use serde::Deserialize;

/// One description, and the answer to it in float32, greedy, at most [`MAX_TOKENS`].
#[derive(Debug, Deserialize)]
pub struct Row {
    pub input: String,
    pub input_ids: Vec<u32>,
    pub greedy_ids: Vec<u32>,
    pub greedy_text: String,
    pub reference: String,
    pub greedy_logprobs: Vec<f64>,
    pub finish_reason: String,
}

pub const MAX_TOKENS: u32 = 48;

/// All of them.
pub fn rows() -> Vec<Row> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures/demo-expected.jsonl");
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The folder of the demo checkpoint.
pub fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/demo")
}
