//! Sizes of the encoder's lanes under an engine's limits.
//!
//! Used for every model that is served.

use model::LaneRows;

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
