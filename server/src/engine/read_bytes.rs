//! The memory that a decode step reads, counted from its rows.
//!
//! Used by the executors, for metrics.

use kernels::Backend;
use model::{Model, StepLoad};

use crate::scheduler::TargetBatch;

/// Bytes that a step with these rows reads at least: the weights once, and the keys and values of each branch.
pub(super) fn read_bytes<B: Backend>(model: &Model<B>, targets: &TargetBatch) -> u64 {
    if targets.is_empty() {
        return 0;
    }
    let (config, arithmetic) = (model.config(), model.arithmetic());
    let weights = StepLoad { batch: 0, source_len: 0, target_len: 0, screens: model.screens_output() };
    let TargetBatch { self_spans, cross_spans, .. } = targets;
    // Rows of one branch are consecutive and have the same pages; the last one sees the most positions.
    let is_last = |row: &usize| self_spans.get(row + 1).is_none_or(|next| next.first != self_spans[*row].first);
    let branches = (0..targets.len()).filter(is_last);
    let kv = branches
        .map(|row| config.kv_bytes(arithmetic, cross_spans[row].tokens as usize, self_spans[row].tokens as usize));
    config.step_bytes(arithmetic, weights) + kv.sum::<u64>()
}
