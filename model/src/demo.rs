//! The demo checkpoint, compiled into the program: a small real T5Gemma that writes one-line synopses.
//!
//! Read by `Checkpoint::embedded` only.

pub(crate) const CONFIG: &[u8] = include_bytes!("../demo/config.json");
pub(crate) const GENERATION_CONFIG: &[u8] = include_bytes!("../demo/generation_config.json");
pub(crate) const TENSORS: &[u8] = include_bytes!("../demo/model.safetensors");
const TOKENIZER: &[u8] = include_bytes!("../demo/tokenizer.json");
const TOKENIZER_CONFIG: &[u8] = include_bytes!("../demo/tokenizer_config.json");
const CHAT_TEMPLATE: &[u8] = include_bytes!("../demo/chat_template.jinja");

/// A file of the demo without tensors, by its name in a folder.
pub(crate) fn file(name: &str) -> Option<&'static [u8]> {
    match name {
        "config.json" => Some(CONFIG),
        "generation_config.json" => Some(GENERATION_CONFIG),
        "tokenizer.json" => Some(TOKENIZER),
        "tokenizer_config.json" => Some(TOKENIZER_CONFIG),
        "chat_template.jinja" => Some(CHAT_TEMPLATE),
        _ => None,
    }
}
