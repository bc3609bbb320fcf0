//! Everything that can go wrong between a folder of files and a loaded model, as one enum.
//!
//! Raised all over this crate. Messages name the file and what to do; they never carry a file's contents.

use std::fmt;
use std::path::PathBuf;

use kernels::Scheme;

use crate::arithmetic::scheme_name;
use crate::checkpoint::FileFormat;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Listing every problem of a wrong checkpoint would fill screens; the first ones tell the story.
const LISTED_PROBLEMS: usize = 20;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried, as `read` or `write`.
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
    /// The checkpoint is of another model.
    #[error("{} describes model_type {found:?}{}: only {expected:?} checkpoints can be used here", path.display(), describe_model_type(found))]
    ModelType {
        /// The configuration file.
        path: PathBuf,
        /// Its `model_type`.
        found: String,
        /// The one that can be used.
        expected: &'static str,
    },
    /// Configuration files with missing or unusable pieces, all of them.
    #[error("{} cannot be used:{}", path.display(), Listing(problems))]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// Every problem found.
        problems: Vec<ConfigProblem>,
    },
    /// A name that is no published shape.
    #[error("no published shape is called {name:?}; there are {}", known.join(", "))]
    UnknownShape {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// A safetensors file that is cut short or damaged.
    #[error("{} is damaged ({damage}): fetch the file again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        damage: Damage,
    },
    /// A file that is something else than its name says.
    #[error("{} is {found}", path.display())]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: FileFormat,
    },
    /// A file that was cut or rewritten between opening and reading it.
    #[error("{} was changed while it was read: start again when nothing writes to it any more", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Weights that are no numbers.
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
    #[error("the tensors of {} do not fit its config.json:{}", origin.display(), Listing(problems))]
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
        /// What is wrong with it.
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

/// One missing or unusable piece of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Path of the field, as `decoder.head_dim`.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.reason)
    }
}

/// What is wrong with a safetensors file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// Nothing in it.
    #[error("it is empty")]
    Empty,
    /// A pointer left by Git LFS in the place of the file.
    #[error("it is a Git LFS pointer, not the file itself")]
    LargeFilePointer,
    /// Too short to hold its header, or the header is longer than any.
    #[error("its header should take {header_bytes} bytes, the file has {file_bytes}; at most {limit_bytes} are read")]
    HeaderLength {
        /// What the first eight bytes say.
        header_bytes: u64,
        /// Longest header that is read.
        limit_bytes: u64,
        /// Size of the file.
        file_bytes: u64,
    },
    /// The header is no table of tensors, or its offsets overlap, leave gaps or do not match the shapes.
    #[error("its header is unreadable: {source}")]
    Header {
        /// Where and why.
        source: serde_json::Error,
    },
    /// The tensors end elsewhere than the file.
    #[error("its tensors should end at byte {expected_bytes}, the file has {file_bytes}")]
    DataLength {
        /// Where the header says that the last tensor ends.
        expected_bytes: u64,
        /// Size of the file.
        file_bytes: u64,
    },
}

/// What is wrong with one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorProblem {
    /// It is not there.
    Missing {
        /// Its name.
        name: String,
        /// The shard that the index promised it in.
        shard: Option<String>,
    },
    /// It has another shape.
    Shape {
        /// Its name.
        name: String,
        /// Shape that the configuration calls for.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// Its numbers are of a kind that cannot be used.
    DType {
        /// Its name.
        name: String,
        /// Number type in the file.
        found: String,
        /// Number types that can be used in its place.
        usable: &'static str,
    },
}

impl fmt::Display for TensorProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name, shard: None } => write!(f, "{name} is missing"),
            Self::Missing { name, shard: Some(shard) } => {
                write!(f, "{name} is missing from {shard}, where the index places it")
            }
            Self::Shape { name, expected, found } => write!(f, "{name} has shape {found:?}, not {expected:?}"),
            Self::DType { name, found, usable } => {
                write!(
                    f,
                    "{name} is stored as {found}; usable {} {usable}",
                    if usable.contains(' ') { "are" } else { "is" }
                )
            }
        }
    }
}

/// What is wrong with a `tokenizer.json`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerProblem {
    /// Not JSON, or not in the expected form.
    #[error("it is not a tokenizer.json ({source})")]
    Json {
        /// Where and why.
        source: serde_json::Error,
    },
    /// The decoder is not Gemma's, so streamed text would differ from the whole.
    #[error(
        "its decoder is not Gemma's (Replace U+2581 by a space, ByteFallback, Fuse), the only one that can be streamed"
    )]
    Decoder,
    /// The tokenizers library refused it.
    #[error("{reason}")]
    Refused {
        /// The library's own words.
        reason: String,
    },
}

struct Listing<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Listing<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.0.iter().take(LISTED_PROBLEMS) {
            write!(f, "\n  - {problem}")?;
        }
        match self.0.len().saturating_sub(LISTED_PROBLEMS) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

fn describe_model_type(found: &str) -> &'static str {
    match found {
        "t5gemma" => " (an encoder-decoder)",
        "t5gemma2" => " (T5Gemma 2, whose attention is merged)",
        "gemma" | "gemma2" | "gemma3" | "gemma3_text" => " (a decoder-only Gemma)",
        "t5" | "mt5" | "umt5" => " (T5, another architecture)",
        _ => "",
    }
}
