//! Where rows come from and how they are grouped.
//!
//! Part of `settings`; read by `data`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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

mod defaults {
    pub(super) const fn source_tokens() -> usize {
        512
    }
    pub(super) const fn target_tokens() -> usize {
        128
    }
    pub(super) const fn text_tokens() -> usize {
        512
    }
    pub(super) const fn batch_tokens() -> usize {
        8192
    }
    pub(super) const fn accumulate() -> usize {
        1
    }
}
