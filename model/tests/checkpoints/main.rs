//! Files: checkpoints as they are found, written, damaged and adapted; configurations; tokenizers.
#![allow(clippy::unwrap_used)]

#[path = "../drift/mod.rs"]
mod drift;
#[path = "../fixture/mod.rs"]
mod fixture;
#[path = "../runner/mod.rs"]
mod runner;

mod adaptation;
mod checkpoint;
mod config;
mod damaged_checkpoint;
mod decoder_only;
mod detokenizer;
mod found_checkpoints;
mod published;
mod quantized_checkpoint;
mod second_generation;
mod tokenizer;
