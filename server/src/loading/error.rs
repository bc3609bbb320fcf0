//! Why a model cannot be served.

use std::path::PathBuf;

use kernels::Scheme;
use model::scheme_name;

use super::memory_need::{MemoryNeed, Remedy};
use crate::registry::RegistryError;

/// Why a model cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Files or shapes.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// Instructions or memory.
    #[error(transparent)]
    Kernels(#[from] kernels::Error),
    /// The checkpoint's folder has no tokenizer.
    #[error(
        "{origin} holds no tokenizer.json: put it there, name one with --tokenizer FILE, or serve token ids only with --tokenizer none"
    )]
    NoTokenizer {
        /// The folder.
        origin: String,
    },
    /// The tokenizer makes ids that the model has no rows for.
    #[error("the tokenizer has ids up to {max_id}, the model a vocabulary of {vocab}: they do not belong together")]
    ForeignTokenizer {
        /// Largest id of the tokenizer.
        max_id: u32,
        /// Rows of the embedding table.
        vocab: usize,
    },
    /// The page pool holds no request at all.
    #[error(
        "limits.page_pool_bytes = {pool_bytes} holds {pages} pages of {page_bytes} bytes; at least 2 are needed for the smallest request"
    )]
    PoolTooSmall {
        /// Configured.
        pool_bytes: usize,
        /// Pages it gives.
        pages: usize,
        /// Size of one.
        page_bytes: usize,
    },
    /// The process would be killed under load.
    #[error("the server may take {need}, and {} allows {limit_mib} MiB: {remedy}", file.display())]
    MemoryLimit {
        /// What it would take.
        need: MemoryNeed,
        /// What it may take.
        limit_mib: u64,
        /// Where that is set.
        file: PathBuf,
        /// What can be done.
        remedy: Remedy,
    },
    /// The numbers of a quantised checkpoint cannot be had back.
    #[error(
        "{origin} is quantised to {}: leave --quantize away to use it so, or give the original checkpoint",
        scheme_name(*scheme)
    )]
    Quantized {
        /// The folder.
        origin: String,
        /// What it is quantised to.
        scheme: Scheme,
    },
    /// The GPU that was asked for.
    #[error("the GPU cannot be used; --device auto would take the processor")]
    Gpu(#[source] kernels::Error),
    /// A checkpoint that is not served, for a GPU.
    #[error("{origin} is no encoder-decoder, and computed on the processor only: leave --device cuda away")]
    OnlyProcessor {
        /// The folder.
        origin: String,
    },
    /// Models that cannot be served together.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// No engine thread.
    #[error("cannot start the engine thread")]
    Thread(#[source] std::io::Error),
}
