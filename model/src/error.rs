//! Everything that can go wrong between a folder of files and a loaded model, as one enum.
//!
//! Raised all over this crate; knows none of its modules but the names of quantisation schemes. Messages name the file
//! and what to do; they never carry a file's contents.

mod config_problem;
mod damage;
mod file_format;
mod listing;
mod tensor_problem;
mod tokenizer_problem;

use std::path::PathBuf;

use kernels::Scheme;

use crate::arithmetic::scheme_name;
use listing::Listing;

pub use config_problem::ConfigProblem;
pub use damage::Damage;
pub use file_format::FileFormat;
pub use tensor_problem::TensorProblem;
pub use tokenizer_problem::TokenizerProblem;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// The action that was tried, as `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A name that should be a regular file is something else, or a folder is not one.
    #[error("{} is not {expected}", path.display())]
    WrongKind {
        /// The path.
        path: PathBuf,
        /// `a folder` or `a regular file`.
        expected: &'static str,
    },
    /// A folder without a file that a checkpoint must have.
    #[error("{} holds no {missing}: give the folder of a checkpoint in the Hugging Face layout", folder.display())]
    NotACheckpoint {
        /// The folder.
        folder: PathBuf,
        /// The file it lacks.
        missing: &'static str,
    },
    /// A folder with an adapter of PEFT.
    #[error(
        "{} holds an adapter ({file}), not a whole model: merge it into its base (PEFT's merge_and_unload, then \
         save_pretrained without the adapter) and name the folder of the result",
        folder.display()
    )]
    Adapter {
        /// The folder.
        folder: PathBuf,
        /// The file that shows it.
        file: &'static str,
    },
    /// A file larger than anything its kind may hold.
    #[error("{} has {bytes} bytes; at most {limit_bytes} are read of such a file", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// A file that is not the JSON it should be.
    #[error("{} is not valid JSON of its kind ({source}): fetch the file again", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The checkpoint is of another architecture.
    #[error(
        "{} describes model_type {found:?}{}: only {expected:?} checkpoints can be used here",
        path.display(),
        describe_model_type(found)
    )]
    ModelType {
        /// The configuration file.
        path: PathBuf,
        /// Its `model_type`.
        found: String,
        /// The one that can be used.
        expected: &'static str,
    },
    /// A configuration with missing or unusable fields, all of them.
    #[error("{} cannot be used:{}", path.display(), Listing(problems))]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// Every problem found.
        problems: Vec<ConfigProblem>,
    },
    /// A name of no published shape.
    #[error("no published shape is called {name:?}; there are {}", known.join(", "))]
    UnknownShape {
        /// The name that was given.
        name: String,
        /// The known names.
        known: Vec<&'static str>,
    },
    /// A GGUF file that cannot be used.
    #[error("{} cannot be used: {reason}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// The reason, and what to do.
        reason: &'static str,
    },
    /// A safetensors or GGUF file that is cut short or damaged.
    #[error("{} is damaged ({damage}): fetch the file again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The damage.
        damage: Damage,
    },
    /// A file of another format than its name says.
    #[error("{} is {found}", path.display())]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// Its real format.
        found: FileFormat,
    },
    /// A file that was cut or rewritten between opening and reading it.
    #[error("{} was changed while it was read: start again when nothing writes to it any more", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Weights that are not finite.
    #[error(
        "{tensor} in {} holds NaN or infinite numbers, with which nothing can be computed: take another checkpoint",
        path.display()
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// Files that the shard index names and the folder lacks.
    #[error("{} names files that are missing beside it: {}; fetch them", index.display(), shards.join(", "))]
    MissingShards {
        /// The index file.
        index: PathBuf,
        /// The missing files.
        shards: Vec<String>,
    },
    /// The shard index names a file elsewhere.
    #[error("{} names the file {shard:?}: shards must lie in the same folder as the index", index.display())]
    ShardOutside {
        /// The index file.
        index: PathBuf,
        /// The name in question.
        shard: String,
    },
    /// The tensors are not those that the configuration calls for.
    #[error("the tensors of {} do not fit its configuration:{}", origin.display(), Listing(problems))]
    Tensors {
        /// The checkpoint's folder.
        origin: PathBuf,
        /// Every problem found.
        problems: Vec<TensorProblem>,
    },
    /// Another scheme was asked for than the one the weights are quantised to.
    #[error(
        "the checkpoint is quantised to {}, not to {}: quantise the original anew, or take it as it is",
        scheme_name(*stored),
        scheme_name(*wanted)
    )]
    OtherScheme {
        /// In the checkpoint.
        stored: Scheme,
        /// Asked for.
        wanted: Scheme,
    },
    /// A checkpoint that should be quantised and is already.
    #[error("{} is quantised to {} already: quantise the original", origin.display(), scheme_name(*scheme))]
    AlreadyQuantized {
        /// The checkpoint's folder.
        origin: PathBuf,
        /// In the checkpoint.
        scheme: Scheme,
    },
    /// Sources that cannot become an encoder-decoder, or not there, with every reason.
    #[error("the sources cannot be adapted:{}", Listing(problems))]
    Adaptation {
        /// Every reason found.
        problems: Vec<String>,
    },
    /// A folder to write to has files in it.
    #[error("{} is not empty: name a new folder", folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder to write to that another process writes to.
    #[error("{} is being written by another process: wait for it, or name another folder", folder.display())]
    BeingWritten {
        /// The folder.
        folder: PathBuf,
    },
    /// A `tokenizer.json` that cannot be used.
    #[error("the tokenizer cannot be used: {problem}")]
    Tokenizer {
        /// The problem.
        problem: TokenizerProblem,
    },
    /// A text that the tokenizer could not turn into ids.
    #[error("the text cannot be tokenised: {reason}")]
    Tokenise {
        /// The tokenizer's own words.
        reason: String,
    },
    /// The backend refused.
    #[error(transparent)]
    Kernels(#[from] kernels::Error),
}

fn describe_model_type(found: &str) -> &'static str {
    match found {
        "t5gemma" => " (an encoder-decoder)",
        "t5gemma2" => " (an encoder-decoder of the second generation)",
        "gemma" | "gemma2" | "gemma3" | "gemma3_text" => " (a decoder-only Gemma)",
        "t5" | "mt5" | "umt5" => " (T5, another architecture)",
        _ => "",
    }
}
