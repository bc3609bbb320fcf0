//! The settings of a process, complete and checked: what `config.toml`, a file and flags come to.
//!
//! Called by `main` (through `cli`) once; everything else is handed a [`Config`] or parts of one. Reads no
//! environment, loads no model.

mod error;
mod layers;
mod limits;
mod reader;
mod server;

use std::path::{Path, PathBuf};

use kernels::cpu::Level;
use kernels::{KvFormat, Precision, Scheme};
use model::scheme_name;

pub use error::{ConfigError, Fault, Problem};
pub use layers::Layer;
pub use limits::Limits;
use reader::Reader;
pub use server::{LOG_LEVELS, LogFormat, ServerConfig};

/// The documented defaults, as the repository's `config.toml`.
pub const DEFAULTS: &str = include_str!("../../../config.toml");
/// Values of `model.device`.
pub const DEVICES: [(&str, Device); 3] = [("auto", Device::Auto), ("cpu", Device::Cpu), ("cuda", Device::Cuda)];
/// Values of `model.dtype`.
pub const DTYPES: [&str; 3] = ["auto", "f32", "bf16"];
/// Values of `model.quantize`.
pub const QUANTIZATIONS: [&str; 4] = ["auto", "none", "int8", "int4"];
/// Schemes by name.
pub const SCHEMES: [(&str, Scheme); 2] =
    [(scheme_name(Scheme::Int8), Scheme::Int8), (scheme_name(Scheme::Int4), Scheme::Int4)];
/// Values of `model.cross_kv`.
pub const CROSS_KVS: [&str; 3] = ["auto", "same", "int8"];
/// Values of `limits.page_pool_fit`.
pub const POOL_FITS: [(&str, PoolFit); 2] = [("refuse", PoolFit::Refuse), ("shrink", PoolFit::Shrink)];

const DEFAULTS_ORIGIN: &str = "built-in config.toml";
const MIB: i64 = 1 << 20;
const GIB: i64 = 1 << 30;

/// Every setting, within its range and consistent with the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The process and its socket.
    pub server: ServerConfig,
    /// What is served, and how it is computed.
    pub model: ModelChoice,
    /// What is particular to GPUs.
    pub cuda: CudaConfig,
    /// What is refused or put off.
    pub limits: Limits,
}

/// What is served, and how it is computed.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelChoice {
    /// Where the weights come from.
    pub source: ModelSource,
    /// Where the tokenizer comes from.
    pub tokenizer: TokenizerSource,
    /// Name clients know the model by.
    pub served_name: String,
    /// Where the arithmetic runs.
    pub device: Device,
    /// Arithmetic of whatever is not quantised.
    pub precision: Precision,
    /// What the matrices of the layers are quantised to.
    pub quantize: Quantize,
    /// How the sources' keys and values are kept.
    pub cross_kv: CrossKv,
    /// Threads of the model, at least one.
    pub threads: usize,
    /// Most capable CPU instructions to use; the best there are when absent.
    pub instruction_set: Option<Level>,
}

/// Where the weights come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// The checkpoint inside the program.
    Demo,
    /// A folder in the published layout.
    Checkpoint(PathBuf),
    /// Random weights of the published shape with this name (not checked here).
    Shape(String),
}

/// Where the tokenizer comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenizerSource {
    /// Out of the checkpoint.
    Checkpoint,
    /// A `tokenizer.json`.
    File(PathBuf),
    /// There is none: ids in, ids out.
    None,
}

/// What the matrices of the layers are quantised to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantize {
    /// As the checkpoint is.
    Auto,
    /// Nothing; a checkpoint that is quantised is refused.
    None,
    /// This; a checkpoint of another scheme is refused.
    To(Scheme),
}

/// How the sources' keys and values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrossKv {
    /// As measured to be best beside the precision.
    Auto,
    /// In the precision.
    Same,
    /// In 8 bits.
    Int8,
}

/// Where the arithmetic runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// On a GPU where there is one that computes what is asked, else on the processor.
    Auto,
    /// The processor.
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
}

/// What is particular to GPUs. `config.toml` has the reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaConfig {
    /// Tokens of a request are the same in any batch.
    pub deterministic: bool,
    /// Kernels of a step begin before the one before is done.
    pub overlap_kernels: bool,
    /// Decoder rows that a step is filled up to, ascending; a step that has more than all of them is filled up to
    /// `limits.step_rows`.
    pub step_row_buckets: Vec<usize>,
    /// Longest source, in tokens, whose steps are captured at the start.
    pub step_source_tokens: usize,
    /// Longest target, in tokens, whose steps are captured at the start.
    pub step_target_tokens: usize,
}

/// What is done about a page pool that does not fit into the memory that the process may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolFit {
    /// The server does not start.
    Refuse,
    /// The pool is made smaller.
    Shrink,
}

impl Config {
    /// The defaults, then `file`, then `flags` (`section -> key -> value`), checked as a whole.
    pub fn resolve(file: Option<&Path>, flags: toml::Table) -> Result<Self, ConfigError> {
        let mut layers = Vec::new();
        if let Some(path) = file {
            let text = model::input::read_settings(path)
                .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
            layers.push(Layer::parse(&path.display().to_string(), &text)?);
        }
        layers.push(Layer { origin: "command line".to_owned(), table: flags });
        Self::from_layers(layers)
    }

    /// The defaults under `layers`, of which later ones win.
    pub fn from_layers(mut layers: Vec<Layer>) -> Result<Self, ConfigError> {
        layers.insert(0, Layer::parse(DEFAULTS_ORIGIN, DEFAULTS)?);
        let mut problems = Vec::new();
        let settings = layers::merge(&layers, &mut problems);
        let mut reader = Reader::new(settings, problems);
        let config = Self {
            server: ServerConfig::read(&mut reader),
            model: ModelChoice::read(&mut reader),
            cuda: CudaConfig::read(&mut reader),
            limits: Limits::read(&mut reader),
        };
        let (problems, unread) = reader.finish();
        debug_assert!(unread.is_empty(), "keys of config.toml that nothing reads: {unread:?}");
        if problems.is_empty() { Ok(config) } else { Err(ConfigError::Invalid { problems }) }
    }
}

impl Layer {
    /// The settings in a file's text.
    pub fn parse(origin: &str, text: &str) -> Result<Self, ConfigError> {
        let table = text.parse().map_err(|error: toml::de::Error| {
            let start = error.span().map_or(0, |span| span.start);
            ConfigError::Syntax {
                origin: origin.to_owned(),
                line: 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count(),
                message: error.message().to_owned(),
            }
        })?;
        Ok(Self { origin: origin.to_owned(), table })
    }
}

impl ModelChoice {
    fn read(reader: &mut Reader) -> Self {
        let source = ModelSource::read(reader);
        let tokenizer = match reader.text("model.tokenizer").as_str() {
            "none" => TokenizerSource::None,
            "" if matches!(source, ModelSource::Shape(_)) => TokenizerSource::None,
            "" => TokenizerSource::Checkpoint,
            file => TokenizerSource::File(file.into()),
        };
        let served_name = match reader.text("model.served_name") {
            name if name.is_empty() => source.name(),
            name => name,
        };
        let [auto, f32, bf16] = DTYPES;
        let mut levels = vec![(auto, None)];
        levels.extend(Level::ALL.map(|level| (level.name(), Some(level))));
        let precisions = [(auto, Precision::Bf16), (f32, Precision::F32), (bf16, Precision::Bf16)];
        let [_, none, ..] = QUANTIZATIONS;
        let mut quantizations = vec![(auto, Quantize::Auto), (none, Quantize::None)];
        quantizations.extend(SCHEMES.map(|(name, scheme)| (name, Quantize::To(scheme))));
        let [auto, same, int8] = CROSS_KVS;
        let formats = [(auto, CrossKv::Auto), (same, CrossKv::Same), (int8, CrossKv::Int8)];
        Self {
            source,
            tokenizer,
            served_name,
            device: reader.choice("model.device", &DEVICES),
            precision: reader.choice("model.dtype", &precisions),
            cross_kv: reader.choice("model.cross_kv", &formats),
            quantize: reader.choice("model.quantize", &quantizations),
            threads: match reader.integer("model.threads", 0..=1024) {
                0 => std::thread::available_parallelism().map_or(1, usize::from),
                count => count,
            },
            instruction_set: reader.choice("model.instruction_set", &levels),
        }
    }
}

impl ModelSource {
    fn read(reader: &mut Reader) -> Self {
        let (path, shape) = (reader.text("model.path"), reader.text("model.shape"));
        if !shape.is_empty() {
            Self::Shape(shape)
        } else if !path.is_empty() {
            Self::Checkpoint(path.into())
        } else {
            Self::Demo
        }
    }

    /// What the model is called when nobody names it.
    fn name(&self) -> String {
        match self {
            Self::Demo => "demo".to_owned(),
            Self::Shape(shape) => shape.clone(),
            // "." and "/" name no folder.
            Self::Checkpoint(path) => path.file_name().map_or("model".into(), |name| name.to_string_lossy().into()),
        }
    }
}

impl CrossKv {
    /// The format beside arithmetic in `precision`.
    pub fn beside(self, precision: Precision) -> KvFormat {
        match (self, precision) {
            // Beside bfloat16's own rounding that of int8 hardly shows; whoever asks for float32 wants none.
            (Self::Auto, Precision::Bf16) | (Self::Int8, _) => KvFormat::Int8,
            (Self::Auto, Precision::F32) | (Self::Same, _) => precision.into(),
        }
    }
}

impl CudaConfig {
    fn read(reader: &mut Reader) -> Self {
        Self {
            deterministic: reader.flag("cuda.deterministic"),
            overlap_kernels: reader.flag("cuda.overlap_kernels"),
            step_row_buckets: reader.ascending("cuda.step_row_buckets", 1..=65_536),
            step_source_tokens: reader.integer("cuda.step_source_tokens", 1..=1_048_576),
            step_target_tokens: reader.integer("cuda.step_target_tokens", 1..=1_048_576),
        }
    }
}

#[cfg(test)]
mod tests;
