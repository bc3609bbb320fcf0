//! `state.json`: the progress of a run, beside its weights and moments.
//!
//! Written and read by `state`. Nothing random is here: dropout, denoising and the order of rows follow from the seed
//! and the numbers below.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::training::data::Position;
use crate::training::spikes::RecentLoss;

/// Version of the format.
pub const FORMAT: u32 = 2;

/// Progress of a run.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Version of the format.
    pub format: u32,
    /// Steps taken.
    pub step: u64,
    /// Position of the next batch.
    pub position: Position,
    /// Steps of the cross-attention warm-up before the first stage.
    pub cross_attention_warmup_steps: u64,
    /// The best validation.
    pub best: Option<Best>,
    /// Validations since the best one.
    pub worse_validations: usize,
    /// Steps that had been taken at the last validation.
    pub validated_step: Option<u64>,
    /// The recent mean of the loss.
    pub recent_loss: RecentLoss,
    /// Steps that were skipped.
    pub skipped_steps: u64,
    /// Tokens computed.
    pub tokens: u64,
    /// Seconds that the run has taken.
    pub elapsed_s: f64,
    /// Number of updates of each weight.
    pub updates: BTreeMap<String, u64>,
    /// Hash of the rows.
    pub data: String,
    /// The settings that affect results.
    pub settings: BTreeMap<String, String>,
    /// The stages of the run.
    pub stages: Vec<crate::training::settings::Stage>,
}

/// The version alone, which every version of the program can read.
#[derive(Debug, Deserialize)]
pub(super) struct Format {
    /// Version of the format.
    pub format: u32,
}

/// The best validation so far.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
pub struct Best {
    /// Steps taken before it.
    pub step: u64,
    /// The metric's value. It is float32, so that its few digits in JSON restore it to the bit.
    pub value: f32,
}
