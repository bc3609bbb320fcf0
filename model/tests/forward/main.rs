//! Whole models against the fixtures, in every precision, and the ways in which a forward pass may be asked for.
#![allow(clippy::unwrap_used)]

#[path = "../drift/mod.rs"]
mod drift;
#[path = "../fixture/mod.rs"]
mod fixture;
#[path = "../runner/mod.rs"]
mod runner;

mod bf16;
mod drawn_tokens;
mod encoder_model;
mod invariance;
mod output_table;
mod parity;
mod profiled;
mod quantized;
mod readouts;
mod second_generation;
