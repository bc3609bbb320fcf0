//! Copies of rows of logits under the rules of draws.
//!
//! Called by `sample` and `best`, which read a copy in place of its row. `rule.cu` has the kernel.

use bytemuck::NoUninit;

use super::activations::{Activations, BEST_COLUMNS};
use super::backend::Cuda;
use super::device::{Blocks, Device, NO_ADDRESS};
use super::number::Number;
use crate::sampling::{DrawRules, RuleId, RuleSpan};

const THREADS: u32 = 512;
/// Ids of a block.
const STRETCH: usize = THREADS as usize * BEST_COLUMNS;

/// No id, no place.
pub(super) const NOTHING: u32 = u32::MAX;

/// Rows of logits, and copies of some of them under rules: `LogitRows` in `select.cuh`.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
pub(super) struct LogitRows {
    logits: u64,
    best: u64,
    ruled: u64,
    best_of_ruled: u64,
    pitch: u32,
    vocab: u32,
}

/// A row to be copied: its place among the logits, the rule's among the rules, and that of its sums.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
pub(super) struct RuledRow {
    pub row: u32,
    pub rule: u32,
    pub sums: u32,
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Rule {
    mask_first: u32,
    mask_words: u32,
    edits_first: u32,
    edits: u32,
    banned_first: u32,
    banned: u32,
}

#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct ApplyRules {
    logits: u64,
    rows: u64,
    rules: u64,
    mask_words: u64,
    edits: u64,
    banned: u64,
    sums: u64,
    out: u64,
    best: u64,
    pitch: u32,
    vocab: u32,
}

impl LogitRows {
    /// The first `count` rows of logits, without copies.
    pub fn new<D: Device>(logits: &Activations<D>, count: usize) -> Self {
        Self {
            logits: logits.rows(0, count, Number::F32),
            best: logits.best_of_all(),
            ruled: NO_ADDRESS,
            best_of_ruled: NO_ADDRESS,
            pitch: logits.pitch as u32,
            vocab: logits.width as u32,
        }
    }
}

/// Rows of one call that are copied.
pub(super) struct RuledRows<'a> {
    rules: &'a DrawRules,
    rows: Vec<RuledRow>,
    /// Number of copies with those that fill up to a usual number.
    padded: usize,
}

impl<'a> RuledRows<'a> {
    /// No copies yet; their rules come from this list.
    pub const fn new(rules: &'a DrawRules) -> Self {
        Self { rules, rows: Vec::new(), padded: 0 }
    }

    /// Adds a copy of a row, and says which it is.
    pub fn add(&mut self, row: u32, rule: RuleId, sums: u32) -> u32 {
        self.rows.push(RuledRow { row, rule: rule.index() as u32, sums });
        self.padded = self.padded.max(self.rows.len());
        self.rows.len() as u32 - 1
    }

    /// Fills up to a power of two, or to `most` copies, with places that stay as they are: steps that differ in the
    /// number of copies are then few, and replayed.
    pub fn pad(&mut self, most: usize) {
        if !self.rows.is_empty() {
            self.padded = self.rows.len().next_power_of_two().min(most.max(self.rows.len()));
        }
    }

    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl<D: Device> Cuda<D> {
    /// Makes the copies and adds them to `rows`, which are the rows of `logits`. Penalties act on log-probabilities
    /// where there are `sums`, on logits where `sums` is [`NO_ADDRESS`].
    pub(super) fn apply_rules(
        &self,
        logits: &Activations<D>,
        rows: LogitRows,
        copied: &RuledRows<'_>,
        sums: u64,
    ) -> LogitRows {
        let RuledRows { rules, rows: copied, padded } = copied;
        if copied.is_empty() {
            return rows;
        }
        let mut listed = copied.clone();
        listed.resize(*padded, RuledRow { row: NOTHING, rule: 0, sums: 0 });
        let told: Vec<Rule> = rules.spans().iter().map(Rule::new).collect();
        let [copied_at, rules_at, mask_words, edits, banned] = self.queue().lists([
            bytemuck::cast_slice(&listed),
            bytemuck::cast_slice(&told),
            rules.mask_words(),
            bytemuck::cast_slice(rules.edits()),
            rules.banned(),
        ]);
        let row_bytes = padded * logits.row_bytes();
        let best_bytes = padded * logits.width.div_ceil(BEST_COLUMNS) * size_of::<u64>();
        let out = self.queue().ruled(row_bytes + best_bytes);
        let best = out + row_bytes as u64;
        let params = ApplyRules {
            logits: rows.logits,
            rows: copied_at,
            rules: rules_at,
            mask_words,
            edits,
            banned,
            sums,
            out,
            best,
            pitch: rows.pitch,
            vocab: rows.vocab,
        };
        let blocks = Blocks::per_row(*padded, THREADS).times(logits.width.div_ceil(STRETCH));
        self.queue().launch("apply_rules", blocks, &params);
        self.queue().moves(2 * logits.bytes(copied.len()) + best_bytes + rules.bytes());
        LogitRows { ruled: out, best_of_ruled: best, ..rows }
    }
}

impl Rule {
    fn new(span: &RuleSpan) -> Self {
        let RuleSpan { mask, edits, banned } = span;
        Self {
            mask_first: mask.as_ref().map_or(0, |mask| mask.start as u32),
            mask_words: mask.as_ref().map_or(NOTHING, |mask| mask.len() as u32),
            edits_first: edits.start as u32,
            edits: edits.len() as u32,
            banned_first: banned.start as u32,
            banned: banned.len() as u32,
        }
    }
}
