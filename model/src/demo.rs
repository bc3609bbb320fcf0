//! The demo checkpoint, compiled into the program: a small real T5Gemma that writes one-line synopses.
//!
//! Read by `Checkpoint::embedded`; nothing else needs these bytes.

pub(crate) const CONFIG: &[u8] = include_bytes!("../demo/config.json");
pub(crate) const GENERATION_CONFIG: &[u8] = include_bytes!("../demo/generation_config.json");
pub(crate) const TENSORS: &[u8] = include_bytes!("../demo/model.safetensors");
pub(crate) const TOKENIZER: &[u8] = include_bytes!("../demo/tokenizer.json");
