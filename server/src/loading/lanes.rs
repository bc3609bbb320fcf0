//! Sizes of the encoder's lanes under an engine's limits, and how its work is divided.
//!
//! Used for every model that is served.

use model::{EncoderCost, LaneRows, StackConfig};

use crate::engine::EngineLimits;
use crate::scheduler::Lane;

/// Source tokens of the largest batch in each lane. Where no source is longer than a batch, there is no lane for one.
pub(super) fn lane_rows(limits: &EngineLimits) -> LaneRows {
    let batch_rows = limits.steps.step_encoder_tokens;
    Lane::ALL.map(|lane| match lane {
        Lane::Short => batch_rows,
        Lane::Long if limits.source_tokens > batch_rows => limits.source_tokens,
        Lane::Long => 0,
    })
}

/// Cost of rows in an encoder, for dividing its work. A GPU goes through a layer fast enough for streams to wait.
pub(super) fn encoder_cost(encoder: &StackConfig, in_main_memory: bool) -> EncoderCost {
    if in_main_memory { EncoderCost::of(encoder) } else { EncoderCost::undivided(encoder.layers) }
}
