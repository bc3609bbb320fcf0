//! Flags of `server adapt`.

use std::path::PathBuf;

use clap::Args;
use model::AdaptRequest;

/// An encoder-decoder made of decoder-only checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AdaptOptions {
    /// Folder of the Gemma 2 checkpoint that becomes the encoder.
    #[arg(long, value_name = "FOLDER")]
    encoder: PathBuf,
    /// Folder of the Gemma 2 checkpoint that becomes the decoder and gives the tokenizer; may be the same.
    #[arg(long, value_name = "FOLDER")]
    decoder: PathBuf,
    /// Folder to write to; it must be empty or not there yet.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Seed of cross-attention when the sources differ in shape, so that it cannot be copied.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

impl AdaptOptions {
    /// The request to the adaptation.
    pub fn request(&self) -> AdaptRequest {
        let Self { encoder, decoder, out, seed } = self.clone();
        AdaptRequest { encoder, decoder, out, seed }
    }
}
