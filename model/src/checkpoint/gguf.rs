//! A GGUF file, the format of llama.cpp: a decoder-only Gemma in one file.
//!
//! Opened by `open_checkpoint` as a source of adaptation. Its settings become the `config.json` that transformers would
//! have, and its tensors go by their names in transformers, so that whoever asks for them need not know the format.

mod blocks;
mod file;
mod header;
mod names;

pub(super) use blocks::Blocks;
pub(super) use file::GgufFile;

#[cfg(test)]
mod tests;
