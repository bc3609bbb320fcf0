//! Flags of `server adapt`.

use std::path::PathBuf;

use clap::Args;

use crate::config::CheckpointName;

/// An encoder-decoder made of decoder-only checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AdaptOptions {
    /// Gemma 2 or 3 that becomes the encoder: a folder, a GGUF file, or an id of the hub as OWNER/NAME@REVISION.
    #[arg(long, value_name = "SOURCE")]
    pub encoder: CheckpointName,
    /// Gemma 2 or 3 that becomes the decoder and gives the tokenizer; may be the same.
    #[arg(long, value_name = "SOURCE")]
    pub decoder: CheckpointName,
    /// The tokenizer.json of sources that are GGUF files.
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// Folder to write to; it must be empty or not there yet.
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// Seed of cross-attention when the sources differ in shape, so that it cannot be copied.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
}
