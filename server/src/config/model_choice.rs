//! The settings under `[model]`: which model runs, what it is called, and its arithmetic.
//!
//! Read by `config`, once for each model. A model is looked for on the disk only to tell a folder from an id of the
//! hub, and whether a checkpoint is mounted.

use std::path::PathBuf;

use kernels::cpu::Level;
use kernels::{KvFormat, Precision, Scheme};
use model::scheme_name;

use super::checkpoint_name::CheckpointName;
use super::hub_id::HubId;
use super::reader::Reader;

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

/// Values of `model.speculation`.
const SPECULATIONS: [(&str, Speculation); 2] = [("auto", Speculation::Auto), ("off", Speculation::Off)];
/// Values of `model.generation_config`.
const GENERATION_CONFIGS: [(&str, GenerationConfig); 2] =
    [("auto", GenerationConfig::Auto), ("ignore", GenerationConfig::Ignore)];

/// The model that runs, and its arithmetic.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelChoice {
    /// Origin of the weights.
    pub source: ModelSource,
    /// Origin of the tokenizer.
    pub tokenizer: TokenizerSource,
    /// Origin of the chat template.
    pub chat_template: ChatTemplateSource,
    /// Whether the checkpoint sets defaults of requests.
    pub generation_config: GenerationConfig,
    /// Whether tokens are drafted.
    pub speculation: Speculation,
    /// Sentinels of a checkpoint that was trained to denoise, in their order; those that are known if empty.
    pub sentinels: Vec<String>,
    /// The mode token before sources with a sentinel; empty for that of the known sentinels, if they have one.
    pub infilling_mode: String,
    /// Name that clients give as `model`, and the label of the model's metrics.
    pub served_name: String,
    /// Other names that clients may give.
    pub aliases: Vec<String>,
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

/// Origin of the chat template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatTemplateSource {
    /// The checkpoint's own, or the plain form if it has none.
    Checkpoint,
    /// A Jinja file.
    File(PathBuf),
    /// The plain form.
    Plain,
}

/// Origin of the weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// The checkpoint inside the program.
    Demo,
    /// A folder in the published layout.
    Checkpoint(PathBuf),
    /// A repository of the hub, to be fetched.
    Hub(HubId),
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

/// Whether tokens are drafted and verified several at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speculation {
    /// Where it pays.
    Auto,
    /// Never.
    Off,
}

/// Whether `generation_config.json` sets defaults of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerationConfig {
    /// Its values are the defaults.
    Auto,
    /// Only its special tokens count.
    Ignore,
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

impl ModelChoice {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let source = ModelSource::read(reader);
        let tokenizer = match reader.text("model.tokenizer").as_str() {
            "none" => TokenizerSource::None,
            "" if matches!(source, ModelSource::Shape(_)) => TokenizerSource::None,
            "" => TokenizerSource::Checkpoint,
            file => TokenizerSource::File(file.into()),
        };
        let chat_template = match reader.text("model.chat_template").as_str() {
            "none" => ChatTemplateSource::Plain,
            "" => ChatTemplateSource::Checkpoint,
            file => ChatTemplateSource::File(file.into()),
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
            chat_template,
            speculation: reader.choice("model.speculation", &SPECULATIONS),
            generation_config: reader.choice("model.generation_config", &GENERATION_CONFIGS),
            sentinels: reader.texts("model.sentinels"),
            infilling_mode: reader.text("model.infilling_mode"),
            served_name,
            aliases: reader.texts("model.aliases"),
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
        let mounted = Some(reader.text("model.mounted_path")).filter(|mounted| !mounted.is_empty());
        if !shape.is_empty() {
            Self::Shape(shape)
        } else {
            match path.parse() {
                Err(_) => match mounted.map(PathBuf::from).filter(|mounted| mounted.exists()) {
                    Some(mounted) => Self::Checkpoint(mounted),
                    None => Self::Demo,
                },
                Ok(CheckpointName::Folder(folder)) => Self::Checkpoint(folder),
                Ok(CheckpointName::Hub(id)) => Self::Hub(id),
            }
        }
    }

    /// Name of a model that the settings do not name.
    fn name(&self) -> String {
        match self {
            Self::Demo => "demo".to_owned(),
            Self::Shape(shape) => shape.clone(),
            Self::Hub(id) => id.repository.clone(),
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
