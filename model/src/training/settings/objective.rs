//! Settings of the objective, its denoisers and a teacher.
//!
//! Part of `settings`; read by `objective` and `distillation`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::{Generation, named_twice};

/// The objective of a training run.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Objective {
    /// Each token of `text` from those before it; decoder-only models.
    Causal {},
    /// The second half of `text` from the first.
    PrefixLm {},
    /// UL2: denoising of `text`.
    Ul2 {
        /// The mixture of denoisers; by default that of the model's generation.
        mix: Option<DenoiserMix>,
        /// Pieces that replace spans, in their order; by default those that are known by their names, or else the
        /// tokenizer's `<unusedN>`, in both cases without mode tokens.
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

/// Settings of distillation: learning the distribution of a teacher.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Distillation {
    /// Folder of the teacher: a model with the same vocabulary that is no classifier.
    pub teacher: PathBuf,
    /// Temperature of both distributions.
    #[serde(default = "defaults::one")]
    pub temperature: f32,
    /// Share of the teacher's cross-entropy in the loss; the rest is that of the data.
    #[serde(default = "defaults::one")]
    pub weight: f32,
}

impl DenoiserMix {
    /// The mixture with which the models of a generation were pretrained.
    pub const fn of(generation: Generation) -> Self {
        match generation {
            Generation::Gemma2 => Self::Ul2,
            Generation::Gemma3 => Self::T5gemma2,
        }
    }
}

impl Objective {
    /// Whether a setting that is not given depends on the generation of the model.
    pub(in crate::training) fn follows_generation(&self) -> bool {
        matches!(self, Self::Ul2 { mix: None, .. })
    }

    /// The objective with the defaults of a generation.
    pub(in crate::training) fn for_generation(self, generation: Generation) -> Self {
        match self {
            Self::Ul2 { mix, sentinels, mode_tokens } => {
                Self::Ul2 { mix: mix.or(Some(DenoiserMix::of(generation))), sentinels, mode_tokens }
            }
            other => other,
        }
    }

    pub(super) fn problems(&self) -> Option<String> {
        let Self::Classify { labels } = self else { return None };
        named_twice(labels).map(|label| format!("objective.labels names {label:?} twice: each label is one class"))
    }
}

impl Distillation {
    pub(super) fn problems(&self, objective: &Objective) -> Vec<String> {
        let has_teacher = !matches!(objective, Objective::Ul2 { .. } | Objective::Classify { .. });
        let objective = (!has_teacher).then_some("distillation is for the objectives causal, prefix_lm and seq2seq");
        let temperature = (self.temperature.is_nan() || self.temperature <= 0.0)
            .then_some("distillation.temperature must be above 0");
        let weight = (!(0.0..=1.0).contains(&self.weight)).then_some("distillation.weight must be in [0, 1]");
        [objective, temperature, weight].into_iter().flatten().map(str::to_owned).collect()
    }
}

mod defaults {
    pub(super) const fn one() -> f32 {
        1.0
    }
    pub(super) fn separator() -> String {
        "\n\n".to_owned()
    }
}
