//! Why a model cannot be served.

use std::path::PathBuf;

use kernels::Scheme;
use model::scheme_name;

use super::failures::Failures;
use super::memory_need::{MemoryNeed, Remedy};
use crate::chat_template::CompileError;
use crate::engine::SelfTestFailed;
use crate::hub::HubError;
use crate::registry::RegistryError;

/// Why a model cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Files or shapes are wrong.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// Instructions or memory are missing.
    #[error(transparent)]
    Kernels(#[from] kernels::Error),
    /// The checkpoint's folder has no tokenizer.
    #[error(
        "{origin} holds no tokenizer.json: put it there, name one with --tokenizer FILE, or serve token ids only with \
         --tokenizer none"
    )]
    NoTokenizer {
        /// The folder.
        origin: String,
    },
    /// `generation_config.json` asks for something that cannot be honoured.
    #[error("{source}; correct the file, or serve without its defaults: [model] generation_config = \"ignore\"")]
    GenerationConfig {
        /// Every problem.
        source: model::Error,
    },
    /// `generation_config.json` asks for a beam search that is too wide.
    #[error(
        "generation_config.json asks for num_beams {width}, and at most {most} are allowed: raise limits.choices and \
         limits.running_rows, or serve without its defaults: [model] generation_config = \"ignore\""
    )]
    WideSearch {
        /// Beams asked for.
        width: u32,
        /// The limit.
        most: u32,
    },
    /// Pieces that are named for infilling are not there, or mean nothing.
    #[error(
        "{}: name pieces of the tokenizer in [model] sentinels and infilling_mode, or leave both empty",
        problems.join("; ")
    )]
    Sentinels {
        /// The problem of each.
        problems: Vec<String>,
    },
    /// The chat template cannot be used.
    #[error(
        "the chat template {origin} cannot be used: {problem}. Name another one with --chat-template FILE, or take the \
         plain form with --chat-template none"
    )]
    ChatTemplate {
        /// The file.
        origin: String,
        /// Where and why.
        problem: Box<CompileError>,
    },
    /// The file of a chat template cannot be read.
    #[error("cannot read the chat template {}", path.display())]
    UnreadableTemplate {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
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
        "limits.page_pool_bytes = {pool_bytes} holds {pages} pages of {page_bytes} bytes; at least 2 are needed for \
         the smallest request"
    )]
    PoolTooSmall {
        /// Size of the pool.
        pool_bytes: usize,
        /// Number of its pages.
        pages: usize,
        /// Size of one page.
        page_bytes: usize,
    },
    /// The process would exceed its memory limit under load.
    #[error("the server may take {need}, and {} allows {limit_mib} MiB: {remedy}", file.display())]
    MemoryLimit {
        /// Memory that it would take.
        need: MemoryNeed,
        /// Memory that it may take.
        limit_mib: u64,
        /// File that sets the limit.
        file: PathBuf,
        /// The remedy.
        remedy: Remedy,
    },
    /// A quantised checkpoint cannot be served in another precision.
    #[error(
        "{origin} is quantised to {}: leave --quantize away to use it so, or give the original checkpoint",
        scheme_name(*scheme)
    )]
    Quantized {
        /// The folder.
        origin: String,
        /// Scheme that it is quantised to.
        scheme: Scheme,
    },
    /// The GPU that was asked for cannot be used.
    #[error("the GPU cannot be used; --device auto would take the processor")]
    Gpu(#[source] kernels::Error),
    /// A checkpoint that only the processor computes was to run on a GPU.
    #[error("{origin} is no encoder-decoder, and computed on the processor only: leave --device cuda away")]
    OnlyProcessor {
        /// The folder.
        origin: String,
    },
    /// Models that cannot be served together.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The model does not answer the self-test.
    #[error(transparent)]
    SelfTest(#[from] SelfTestFailed),
    /// A checkpoint cannot be had from the hub.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// Several models are to be served, and some cannot be.
    #[error("{0}")]
    Several(Failures),
    /// The engine's thread cannot be started.
    #[error("cannot start the engine thread")]
    Thread(#[source] std::io::Error),
}
