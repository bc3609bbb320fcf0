//! What a training run is told: the contents of `train.toml`, with a default for everything but model and data.
//!
//! Deserialised by the server, checked by [`Settings::check`], read all over `training`. Paths are as written; the
//! server resolves them against the file's folder.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A whole run.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Folder of the run: checkpoints, metrics, report, the final model. Made when absent; a run in it is resumed.
    pub out: PathBuf,
    /// Seed of everything random: weights, order of the rows, denoising, dropout.
    #[serde(default = "defaults::seed")]
    pub seed: u64,
    /// Threads; 0 takes all cores.
    #[serde(default)]
    pub threads: usize,
    /// `cpu` or `cuda` (in a program built with `train-cuda`).
    #[serde(default)]
    pub device: Device,
    /// Number type of the computation; the weights that are updated are float32. The CPU computes in `f32` only.
    #[serde(default)]
    pub precision: Precision,
    /// What is trained.
    pub model: ModelSettings,
    /// What it is trained for.
    pub objective: Objective,
    /// A teacher whose distribution is learned, for `causal`, `prefix_lm` and `seq2seq`.
    pub distillation: Option<Distillation>,
    /// Where the rows come from.
    pub data: DataSettings,
    /// Steps before the first stage in which only cross-attention is trained, at that stage's highest learning rate. By
    /// default 1000 for a model that was adapted from an unbalanced pair and not trained since, else 0.
    pub cross_attention_warmup_steps: Option<u64>,
    /// What is trained when, one after another; at least one.
    #[serde(default, rename = "stage")]
    pub stages: Vec<Stage>,
    /// AdamW.
    #[serde(default)]
    pub optimizer: OptimizerSettings,
    /// What is kept on disk.
    #[serde(default)]
    pub checkpoints: CheckpointSettings,
    /// Looking at rows that are not trained on.
    #[serde(default)]
    pub validation: ValidationSettings,
}

/// Where the computation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
}

/// Number type of the computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// float32.
    #[default]
    F32,
    /// bfloat16, on CUDA.
    Bf16,
}

/// Number type of the weights in checkpoints that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SavedPrecision {
    /// float32.
    F32,
    /// bfloat16, rounded to nearest even.
    #[default]
    Bf16,
}

/// What is trained.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// Folder of the checkpoint to start from: T5Gemma, decoder-only Gemma 2, or either with a classification head.
    pub init: Option<PathBuf>,
    /// Instead of `init`: a `config.json` whose shape is filled with random weights.
    pub config: Option<PathBuf>,
    /// `tokenizer.json` or a folder that has one; by default that of `init`. Not needed for rows of token ids.
    pub tokenizer: Option<PathBuf>,
    /// What the encoder's tokens see; `causal` is an ablation and cannot be served.
    #[serde(default)]
    pub encoder_attention: EncoderAttention,
    /// Share of the residual branches, embeddings and MLP products that is dropped.
    #[serde(default)]
    pub dropout: f32,
    /// Share of the attention probabilities that is dropped.
    #[serde(default)]
    pub attention_dropout: f32,
    /// Share of the classification head's input that is dropped.
    #[serde(default)]
    pub classifier_dropout: f32,
    /// Compute each layer again in the backward pass instead of keeping its activations: less memory, a third more time.
    #[serde(default)]
    pub activation_checkpointing: bool,
    /// Number type of the weights that are written for serving.
    #[serde(default)]
    pub save_as: SavedPrecision,
}

/// What the encoder's tokens see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderAttention {
    /// All tokens (within the window of sliding layers).
    #[default]
    Bidirectional,
    /// Only earlier ones.
    Causal,
}

/// What a model is trained for.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Objective {
    /// Each token of `text` from those before it; decoder-only models.
    Causal {},
    /// The second half of `text` from the first.
    PrefixLm {},
    /// Denoising of `text`.
    Ul2 {
        /// Which mixture of denoisers.
        #[serde(default)]
        mix: DenoiserMix,
        /// Pieces that stand for a span, in their order; by default the tokenizer's `<unusedN>` that are no mode tokens.
        #[serde(default)]
        sentinels: Vec<String>,
        /// Pieces put before the source of R, X and S denoisers, in this order; none when empty. By default the
        /// tokenizer's first three `<unusedN>` for the mix `ul2`, none for `t5gemma2`.
        mode_tokens: Option<Vec<String>>,
    },
    /// `target` from `input`.
    Seq2seq {
        /// Text between source and target in a decoder-only model.
        #[serde(default = "defaults::separator")]
        separator: String,
    },
    /// `label` of `input`, by a linear head on the last token of the encoder (or of a decoder-only model).
    Classify {
        /// All labels in their order; by default those of the training data, sorted.
        #[serde(default)]
        labels: Vec<String>,
    },
}

/// A mixture of denoisers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DenoiserMix {
    /// The seven of Tay et al. 2022 (arXiv 2205.05131, table 1), each equally often.
    #[default]
    Ul2,
    /// The five of T5Gemma 2 (arXiv 2512.14856, section 3), 1:1:1:1:4.
    T5gemma2,
}

/// Learning a teacher's distribution.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Distillation {
    /// Folder of the teacher: decoder-only Gemma 2 or T5Gemma with the same vocabulary.
    pub teacher: PathBuf,
    /// Both distributions are softened by it.
    #[serde(default = "defaults::one")]
    pub temperature: f32,
    /// Share of the teacher's cross-entropy in the loss; the rest is that of the data.
    #[serde(default = "defaults::one")]
    pub weight: f32,
}

/// Where rows come from and how they are grouped.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DataSettings {
    /// JSONL files that are trained on: `text`, `input` with `target` or `label`, or `input_ids` with `target_ids`.
    pub train: Vec<PathBuf>,
    /// JSONL files that are validated on.
    #[serde(default)]
    pub valid: Vec<PathBuf>,
    /// What a malformed row does.
    #[serde(default)]
    pub bad_rows: BadRows,
    /// Folder of the token cache; by default `cache` in the run's folder.
    pub cache: Option<PathBuf>,
    /// Tokens of a source at most; what is longer is cut.
    #[serde(default = "defaults::source_tokens")]
    pub max_source_tokens: usize,
    /// Tokens of a target at most, its end token counted; what is longer is cut.
    #[serde(default = "defaults::target_tokens")]
    pub max_target_tokens: usize,
    /// How texts become rows of `causal`, `prefix_lm` and `ul2`.
    #[serde(default)]
    pub packing: Packing,
    /// Tokens of a text's row at most, and of a packed one exactly.
    #[serde(default = "defaults::text_tokens")]
    pub max_text_tokens: usize,
    /// Tokens of source and target that go through the network together, at most (one row may be more).
    #[serde(default = "defaults::batch_tokens")]
    pub batch_tokens: usize,
    /// Batches whose gradients are added up for one step.
    #[serde(default = "defaults::accumulate")]
    pub accumulate: usize,
}

/// What a malformed row does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BadRows {
    /// Ends the run with the file and line.
    #[default]
    Fail,
    /// Is reported with its file and line and left out.
    Skip,
}

/// How texts become rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    /// A row for each text; rows of similar length share a batch.
    #[default]
    Rows,
    /// Texts one after another, an end token between them, cut into rows of equal length.
    Packed,
}

/// A stretch of steps.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Which weights change.
    #[serde(default)]
    pub train: Trainable,
    /// Steps.
    pub steps: u64,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// How it falls after the warm-up.
    #[serde(default)]
    pub schedule: Schedule,
    /// Steps over which it rises from 0, counted in the stage.
    #[serde(default)]
    pub warmup_steps: u64,
    /// Share of the highest rate at which `cosine` and `linear` end.
    #[serde(default)]
    pub final_fraction: f64,
}

/// Which weights change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trainable {
    /// All.
    #[default]
    All,
    /// Those of cross-attention and its two norms.
    CrossAttention,
}

/// How a learning rate falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Half a cosine.
    #[default]
    Cosine,
    /// A line.
    Linear,
    /// Not at all.
    Constant,
}

/// AdamW (Loshchilov and Hutter, arXiv 1711.05101), with the loss's extras.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerSettings {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the second moment's root.
    pub epsilon: f64,
    /// Share of a matrix's weights that a step takes away, times the learning rate; norms too, as in torch.
    pub weight_decay: f64,
    /// Longest gradient, over all weights together; 0 never clips.
    pub clip_norm: f64,
    /// Weight of the squared log-normaliser in the loss.
    pub z_loss: f64,
    /// A step whose loss is more than so many times the recent mean is left out; 0 never does.
    pub skip_loss_factor: f64,
}

/// What is kept on disk.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointSettings {
    /// Steps between checkpoints; 0 writes one at the end only.
    pub every_steps: u64,
    /// Checkpoints kept beside the best one.
    pub keep: usize,
    /// Checkpoints whose mean is the final model; 0 and 1 take the last (or the best, with early stopping).
    pub average_last: usize,
}

/// Looking at rows that are not trained on.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ValidationSettings {
    /// Steps between validations; 0 validates at the end only.
    pub every_steps: u64,
    /// Rows at most, from the start; 0 takes all.
    pub rows: usize,
    /// Rows whose continuation is written into the report.
    pub samples: usize,
    /// Tokens of such a continuation at most.
    pub sample_tokens: usize,
    /// What early stopping and the choice of the best checkpoint look at.
    pub metric: Metric,
    /// Validations without a better metric after which the run stops; 0 never stops.
    pub patience: usize,
}

/// A figure of validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Mean cross-entropy a target token; lower is better.
    #[default]
    Loss,
    /// Share of target tokens (or labels) that are the most probable ones; higher is better.
    Accuracy,
}

impl Default for OptimizerSettings {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
            clip_norm: 1.0,
            z_loss: 0.0,
            skip_loss_factor: 0.0,
        }
    }
}

impl Default for CheckpointSettings {
    fn default() -> Self {
        Self { every_steps: 500, keep: 2, average_last: 0 }
    }
}

impl Default for ValidationSettings {
    fn default() -> Self {
        Self { every_steps: 500, rows: 1000, samples: 8, sample_tokens: 48, metric: Metric::Loss, patience: 0 }
    }
}

mod defaults {
    pub const fn seed() -> u64 {
        1
    }
    pub const fn one() -> f32 {
        1.0
    }
    pub fn separator() -> String {
        "\n\n".to_owned()
    }
    pub const fn source_tokens() -> usize {
        512
    }
    pub const fn target_tokens() -> usize {
        128
    }
    pub const fn text_tokens() -> usize {
        512
    }
    pub const fn batch_tokens() -> usize {
        8192
    }
    pub const fn accumulate() -> usize {
        1
    }
}

impl Settings {
    /// Finds what cannot be used, before anything is read or computed.
    ///
    /// # Errors
    /// [`super::Error::Settings`] with every problem, each naming its key.
    pub fn check(&self) -> super::Result<()> {
        let at_least_one = |key: &str, value: usize| (value == 0).then(|| format!("{key} must be at least 1"));
        let share = |key: &str, value: f32| (!(0.0..1.0).contains(&value)).then(|| format!("{key} must be in [0, 1)"));
        let model = &self.model;
        let mut problems: Vec<String> = [
            (model.init.is_some() == model.config.is_some())
                .then(|| "model: give either init (a checkpoint) or config (a shape for random weights)".to_owned()),
            self.stages.is_empty().then(|| "[[stage]]: give at least one, with steps and learning_rate".to_owned()),
            self.data.train.is_empty().then(|| "data.train names no file".to_owned()),
            (self.precision == Precision::Bf16 && self.device == Device::Cpu)
                .then(|| "precision = \"bf16\" needs device = \"cuda\"".to_owned()),
            share("model.dropout", model.dropout),
            share("model.attention_dropout", model.attention_dropout),
            share("model.classifier_dropout", model.classifier_dropout),
            at_least_one("data.max_source_tokens", self.data.max_source_tokens),
            at_least_one("data.max_target_tokens", self.data.max_target_tokens),
            (self.data.max_text_tokens < 2).then(|| "data.max_text_tokens must be at least 2".to_owned()),
            at_least_one("data.batch_tokens", self.data.batch_tokens),
            at_least_one("data.accumulate", self.data.accumulate),
        ]
        .into_iter()
        .flatten()
        .collect();
        problems.extend(self.distillation.iter().flat_map(|own| own.problems(&self.objective)));
        problems.extend(self.stages.iter().enumerate().flat_map(|(index, stage)| stage.problems(index)));
        problems.extend(self.optimizer.problems());
        if problems.is_empty() { Ok(()) } else { Err(super::Error::Settings { problems }) }
    }
}

impl Distillation {
    fn problems(&self, objective: &Objective) -> Vec<String> {
        let has_teacher = !matches!(objective, Objective::Ul2 { .. } | Objective::Classify { .. });
        let objective = (!has_teacher).then_some("distillation is for the objectives causal, prefix_lm and seq2seq");
        let temperature = (self.temperature.is_nan() || self.temperature <= 0.0)
            .then_some("distillation.temperature must be above 0");
        let weight = (!(0.0..=1.0).contains(&self.weight)).then_some("distillation.weight must be in [0, 1]");
        [objective, temperature, weight].into_iter().flatten().map(str::to_owned).collect()
    }
}

impl Stage {
    fn problems(&self, index: usize) -> Vec<String> {
        let wrong = [
            (self.steps == 0).then_some("steps must be at least 1"),
            (!self.learning_rate.is_finite() || self.learning_rate <= 0.0)
                .then_some("learning_rate must be a finite number above 0"),
            (!(0.0..=1.0).contains(&self.final_fraction)).then_some("final_fraction must be in [0, 1]"),
            (self.warmup_steps > self.steps).then_some("warmup_steps must not exceed steps"),
        ];
        wrong.into_iter().flatten().map(|problem| format!("stage {}: {problem}", index + 1)).collect()
    }
}

impl OptimizerSettings {
    fn problems(&self) -> Vec<String> {
        let decay = |key: &str, value: f64| {
            (!(0.0..1.0).contains(&value)).then(|| format!("optimizer.{key} must be in [0, 1)"))
        };
        let positive = |key: &str, value: f64| {
            (!value.is_finite() || value < 0.0).then(|| format!("optimizer.{key} must be a finite number, at least 0"))
        };
        [
            decay("beta1", self.beta1),
            decay("beta2", self.beta2),
            positive("epsilon", self.epsilon),
            positive("weight_decay", self.weight_decay),
            positive("clip_norm", self.clip_norm),
            positive("z_loss", self.z_loss),
            positive("skip_loss_factor", self.skip_loss_factor),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
