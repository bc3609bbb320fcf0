//! `POST /tokenize`, `POST /detokenize` and `GET /tokenizer_info`, in vLLM's shapes: between text and ids, without the
//! engine.
//!
//! Asked by the router. The tokenizer runs on its own threads, within the bounds of a prompt.

mod asked;
mod detokenize;
mod fields;
mod info;
mod memory;
mod text_body;
mod tokenize;

pub use detokenize::{DetokenizeMessage, detokenize};
pub use fields::{DETOKENIZE_FIELDS, TOKENIZE_FIELDS};
pub use info::{TokenizerInfo, tokenizer_info};
pub use tokenize::{TokenizeMessage, tokenize};
