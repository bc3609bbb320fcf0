//! Settings of a training run: the contents of `train.toml`, with a default for everything but model and data.
//!
//! Deserialised by the server, checked by [`Settings::check`], read throughout `training`. Paths are as written; the
//! server resolves them against the file's folder.

mod data;
mod model;
mod objective;
mod optimizer;
mod stage;
mod watching;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use data::{BadRows, DataSettings, Packing};
pub use model::{EncoderAttention, ModelSettings, SavedPrecision};
pub use objective::{DenoiserMix, Distillation, Objective};
pub use optimizer::OptimizerSettings;
pub use stage::{Schedule, Stage, Trainable};
pub use watching::{CheckpointSettings, Metric, ValidationSettings};

/// Settings of a whole run.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Folder of the run: checkpoints, metrics, report, the final model. Created if absent; a run in it is resumed.
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
    /// Number type of the computation; the optimiser's weights are float32. The CPU computes in `f32` only.
    #[serde(default)]
    pub precision: Precision,
    /// The model to train.
    pub model: ModelSettings,
    /// Objective of the training.
    pub objective: Objective,
    /// Teacher whose distribution is learned, for `causal`, `prefix_lm` and `seq2seq`.
    pub distillation: Option<Distillation>,
    /// Rows to train and validate on.
    pub data: DataSettings,
    /// Steps before the first stage in which only cross-attention is trained, at that stage's highest learning rate. By
    /// default 1000 for a model that was adapted from an unbalanced pair and not trained since, else 0.
    pub cross_attention_warmup_steps: Option<u64>,
    /// Stages, run one after another; at least one.
    #[serde(default, rename = "stage")]
    pub stages: Vec<Stage>,
    /// Settings of AdamW.
    #[serde(default)]
    pub optimizer: OptimizerSettings,
    /// Settings of checkpoints.
    #[serde(default)]
    pub checkpoints: CheckpointSettings,
    /// Settings of validation.
    #[serde(default)]
    pub validation: ValidationSettings,
}

/// Device of the computation.
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

mod defaults {
    pub(super) const fn seed() -> u64 {
        1
    }
}

impl Settings {
    /// Finds every unusable setting before anything is read or computed.
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
        problems.extend(self.objective.problems());
        problems.extend(self.distillation.iter().flat_map(|own| own.problems(&self.objective)));
        problems.extend(self.stages.iter().enumerate().flat_map(|(index, stage)| stage.problems(index)));
        problems.extend(self.optimizer.problems());
        if problems.is_empty() { Ok(()) } else { Err(super::Error::Settings { problems }) }
    }
}
