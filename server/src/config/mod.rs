//! The settings of a process, complete and checked, from `config.toml`, a file and flags.
//!
//! Called once by `main` (through `cli`); everything else receives a [`Config`] or parts of one. Reads no
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

pub use error::{ConfigError, Fault, KeyValue, Problem};
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
    /// The model that is served, and its arithmetic.
    pub model: ModelChoice,
    /// Settings of GPUs.
    pub cuda: CudaConfig,
    /// Bounds beyond which requests are refused or wait.
    pub limits: Limits,
}

/// The model that is served, and its arithmetic.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelChoice {
    /// Origin of the weights.
    pub source: ModelSource,
    /// Origin of the tokenizer.
    pub tokenizer: TokenizerSource,
    /// Name that clients give as `model`.
    pub served_name: String,
    /// Device that computes.
    pub device: Device,
    /// Number type of everything that is not quantised.
    pub precision: Precision,
    /// Quantisation of the matrices of the layers.
    pub quantize: Quantize,
    /// Format of the sources' keys and values.
    pub cross_kv: CrossKv,
    /// Threads of the model, at least one.
    pub threads: usize,
    /// Most capable CPU instructions to use; the best of the machine if absent.
    pub instruction_set: Option<Level>,
}

/// Origin of the weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// The checkpoint inside the program.
    Demo,
    /// A folder in the published layout.
    Checkpoint(PathBuf),
    /// Random weights of the published shape with this name (not checked here).
    Shape(String),
}

/// Origin of the tokenizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenizerSource {
    /// The checkpoint's own.
    Checkpoint,
    /// A `tokenizer.json`.
    File(PathBuf),
    /// None: token ids in and out.
    None,
}

/// Quantisation of the matrices of the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantize {
    /// The checkpoint's own scheme, or none.
    Auto,
    /// No quantisation; a quantised checkpoint is refused.
    None,
    /// A fixed scheme; a checkpoint of another scheme is refused.
    To(Scheme),
}

/// Format of the sources' keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrossKv {
    /// The format that measured best beside the precision.
    Auto,
    /// The model's precision.
    Same,
    /// Integers of 8 bits.
    Int8,
}

/// Device that computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The GPU if there is one that supports the settings, otherwise the CPU.
    Auto,
    /// The processor.
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
}

/// Settings of GPUs. `config.toml` has the reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaConfig {
    /// Whether the tokens of a request are the same in any batch.
    pub deterministic: bool,
    /// Whether a kernel of a step may begin before the previous one is done.
    pub overlap_kernels: bool,
    /// Numbers of decoder rows that a step is padded to, ascending; a step with more rows than all of them is padded to
    /// `limits.step_rows`.
    pub step_row_buckets: Vec<usize>,
    /// Longest source, in tokens, whose steps are captured at the start.
    pub step_source_tokens: usize,
    /// Longest target, in tokens, whose steps are captured at the start.
    pub step_target_tokens: usize,
}

/// Reaction to a page pool that does not fit into the memory limit of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolFit {
    /// The server does not start.
    Refuse,
    /// The pool is made smaller.
    Shrink,
}

impl Config {
    /// Resolves the defaults, then `file`, then `flags` (`section -> key -> value`), and checks them as a whole.
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

    /// Resolves the defaults and `layers`, of which later ones win.
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

    /// Name of a model that the settings do not name.
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
    /// The format of keys and values beside arithmetic in `precision`.
    pub fn beside(self, precision: Precision) -> KvFormat {
        match (self, precision) {
            // Beside bfloat16's own rounding error that of int8 is small; float32 is chosen to have neither.
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
