//! Encoder-decoders made of decoder-only checkpoints: which tensor comes from where, and what is refused.

mod computation;
mod files;
mod gguf;
mod merged;
mod refusals;
mod sources;
mod tokenizers;
mod weights;
