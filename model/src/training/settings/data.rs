//! Settings of the rows: where they come from and how they are grouped.
//!
//! Part of `settings`; read by `data`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Settings of the rows: where they come from and how they are grouped.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DataSettings {
    /// JSONL files to train on: `text`, `input` with `target` or `label`, or `input_ids` with `target_ids`.
    pub train: Vec<PathBuf>,
    /// JSONL files to validate on.
    #[serde(default)]
    pub valid: Vec<PathBuf>,
    /// Whether a malformed row ends the run.
    #[serde(default)]
    pub bad_rows: BadRows,
    /// Folder of the token cache; by default `cache` in the run's folder.
    pub cache: Option<PathBuf>,
    /// Most tokens of a source; a longer one is cut.
    #[serde(default = "defaults::source_tokens")]
    pub max_source_tokens: usize,
    /// Most tokens of a target including its end token; a longer one is cut.
    #[serde(default = "defaults::target_tokens")]
    pub max_target_tokens: usize,
    /// Packing of texts into rows, for `causal`, `prefix_lm` and `ul2`.
    #[serde(default)]
    pub packing: Packing,
    /// Most tokens of a text's row; exact number of a packed one.
    #[serde(default = "defaults::text_tokens")]
    pub max_text_tokens: usize,
    /// Most tokens of source and target that go through the network together (one row may be more).
    #[serde(default = "defaults::batch_tokens")]
    pub batch_tokens: usize,
    /// Number of batches whose gradients make one step.
    #[serde(default = "defaults::accumulate")]
    pub accumulate: usize,
}

/// Whether a malformed row ends the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BadRows {
    /// The run ends with an error that names file and line.
    #[default]
    Fail,
    /// The row is reported with file and line, and left out.
    Skip,
}

/// Packing of texts into rows.
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
