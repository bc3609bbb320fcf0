//! `state.json`: where a run is, beside its weights and moments.
//!
//! Written and read by `state`. Nothing random is here: dropout, denoising and the order of rows follow from the seed
//! and the numbers below.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::training::data::Position;
use crate::training::spikes::RecentLoss;

/// Version of the format.
pub const FORMAT: u32 = 2;

/// Where a run is.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Version of the format.
    pub format: u32,
    /// Steps taken.
    pub step: u64,
    /// The batch that comes next.
    pub position: Position,
    /// What the first stage was preceded by.
    pub cross_attention_warmup_steps: u64,
    /// The best validation.
    pub best: Option<Best>,
    /// Validations since the best one.
    pub worse_validations: usize,
    /// Steps that had been taken at the last validation.
    pub validated_step: Option<u64>,
    /// The recent mean of the loss.
    pub recent_loss: RecentLoss,
    /// Steps that were left out.
    pub skipped_steps: u64,
    /// Tokens computed.
    pub tokens: u64,
    /// Seconds that the run has taken.
    pub elapsed_s: f64,
    /// How often each weight was updated.
    pub updates: BTreeMap<String, u64>,
    /// Hash of the rows.
    pub data: String,
    /// The settings that reach the arithmetic.
    pub settings: BTreeMap<String, String>,
    /// The stages as they were.
    pub stages: Vec<crate::training::settings::Stage>,
}

/// The version alone, which every version of the program can read.
#[derive(Debug, Deserialize)]
pub(super) struct Format {
    /// As in [`Progress`].
    pub format: u32,
}

/// The best validation so far.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
pub struct Best {
    /// Steps taken before it.
    pub step: u64,
    /// The metric's value, in float32: its digits in JSON are then few enough to come back to the bit.
    pub value: f32,
}
