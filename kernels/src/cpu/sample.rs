//! Choosing ids from a row of logits without sorting the vocabulary.
//!
//! Called by [`super::Cpu`]. Gives what `crate::sampling::choose` gives, which is the definition. A histogram over how
//! far each id lies below the best one tells in which bucket a filter ends; only that bucket is sorted.

use std::cell::RefCell;

use super::pool::{Pool, RowsMut};
use crate::isa::{Isa, for_each_isa};
use crate::sampling::{Draw, DrawRule, Draws, IdLogit, best_first, min_p_floor, nucleus, place, weight};

/// Buckets to one unit of scaled logit, and their number: 64 units below the best lie all ids of any weight.
const BUCKETS_PER_UNIT: f32 = 16.0;
const BUCKETS: usize = 1024;
/// Ids whose weights are added up before the sum is looked at.
pub(super) const BLOCK: usize = 1024;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[derive(Default)]
struct Scratch {
    /// Logits under the rule, over the temperature; minus infinity where an id may not be chosen.
    scaled: Vec<f32>,
    /// Ids of the bucket in which a filter ends.
    edge: Vec<IdLogit>,
}

/// The ids that the filters leave: those up to `last` in the order of `best_first`, of at least the weight `floor`.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    max: f32,
    last: IdLogit,
    floor: u64,
}

impl Kept {
    /// All ids of a row with this maximum.
    pub(super) const fn all(max: f32) -> Self {
        Self { max, last: IdLogit { id: u32::MAX, logit: f32::NEG_INFINITY }, floor: 0 }
    }

    /// The weight of an id, 0 when it is not kept.
    #[inline(always)]
    fn weight(&self, id: u32, scaled: f32) -> u64 {
        let IdLogit { id: last_id, logit: last } = self.last;
        let w = weight(scaled, self.max);
        let is_kept = (scaled > last) | ((scaled == last) & (id <= last_id));
        if is_kept & (w >= self.floor) { w } else { 0 }
    }
}

/// Rows of logits that are drawn from, all of their numbers known.
#[derive(Clone, Copy)]
pub(super) struct LogitRows<'a> {
    pub isa: Isa,
    pub pool: &'a Pool,
    /// `[rows, vocab]`.
    pub logits: &'a [f32],
    pub vocab: usize,
    /// The first row, as draws count.
    pub first: usize,
}

impl LogitRows<'_> {
    /// Appends one id for each draw; threads share the draws.
    pub fn draw(&self, draws: Draws<'_>, out: &mut Vec<Option<u32>>) {
        let start = out.len();
        out.resize(start + draws.list.len(), None);
        self.pool.split_rows(RowsMut { data: &mut out[start..], width: 1 }, draws.list.len(), 2, |share, out| {
            for (draw, out) in draws.list[share].iter().zip(out) {
                let logits = &self.logits[(draw.row as usize - self.first) * self.vocab..][..self.vocab];
                *out = choose(self.isa, logits, draw, draws.rule(draw));
            }
        });
    }
}

/// The id that [`crate::sampling::choose`] defines.
fn choose(isa: Isa, logits: &[f32], draw: &Draw, rule: DrawRule<'_>) -> Option<u32> {
    let parameters = &draw.sampling;
    if has_nan(isa, logits) {
        return None;
    }
    if parameters.temperature == 0.0 && rule.is_free() {
        return argmax(logits, maximum(isa, logits));
    }
    SCRATCH.with_borrow_mut(|Scratch { scaled, edge }| {
        scaled.clear();
        scaled.extend_from_slice(logits);
        rule.apply(scaled);
        if parameters.temperature == 0.0 {
            return argmax(scaled, maximum(isa, scaled));
        }
        divide(isa, scaled, parameters.temperature);
        // Reserved whole, so that no later row makes it grow.
        edge.reserve(scaled.len());
        let max = maximum(isa, scaled);
        if max.is_infinite() {
            return None;
        }
        let mut kept = Kept::all(max);
        if parameters.top_k > 0 && (parameters.top_k as usize) < scaled.len() {
            kept.last = last_by_count(scaled, &kept, parameters.top_k as usize, edge);
        }
        if parameters.top_p < 1.0 {
            kept.last = last_by_mass(isa, scaled, &kept, parameters.top_p, edge);
        }
        kept.floor = min_p_floor(parameters.min_p);
        draw_from(isa, scaled, &kept, draw)
    })
}

for_each_isa! {
    fn divide(values: &mut [f32], divisor: f32) {
        values.iter_mut().for_each(|value| *value /= divisor);
    }
}

for_each_isa! {
    pub(super) fn maximum(values: &[f32]) -> f32 {
        let mut lanes = [f32::NEG_INFINITY; 64];
        let (chunks, rest) = values.as_chunks::<64>();
        for chunk in chunks {
            for lane in 0..64 {
                lanes[lane] = if chunk[lane] > lanes[lane] { chunk[lane] } else { lanes[lane] };
            }
        }
        lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
    }
}

for_each_isa! {
    pub(super) fn has_nan(values: &[f32]) -> bool {
        values.iter().fold(false, |found, value| found | value.is_nan())
    }
}

/// First id whose value is the maximum; none where that is minus infinity.
fn argmax(values: &[f32], max: f32) -> Option<u32> {
    if max == f32::NEG_INFINITY {
        return None;
    }
    for (block, values) in values.chunks(BLOCK).enumerate() {
        // The comparison of a whole block vectorises; the search inside it runs once.
        if values.iter().fold(false, |found, &value| found | (value == max)) {
            let inside = values.iter().position(|&value| value == max).unwrap_or(0);
            return Some((block * BLOCK + inside) as u32);
        }
    }
    None
}

for_each_isa! {
    /// Sum of the weights that are kept, of ids from `first` on.
    pub(super) fn mass(scaled: &[f32], first: u32, kept: &Kept) -> u64 {
        (first..).zip(scaled).map(|(id, &value)| kept.weight(id, value)).sum()
    }
}

/// Blocks of a row with the id that each begins with.
pub(super) fn blocks(values: &[f32]) -> impl Iterator<Item = (u32, &[f32])> {
    (0..).step_by(BLOCK).zip(values.chunks(BLOCK))
}

/// Inverse CDF over what is kept, in id order.
fn draw_from(isa: Isa, scaled: &[f32], kept: &Kept, draw: &Draw) -> Option<u32> {
    let total = blocks(scaled).map(|(first, block)| mass(isa, block, first, kept)).sum();
    let target = place(draw, total);
    let mut passed = 0;
    for (first, block) in blocks(scaled) {
        let inside = mass(isa, block, first, kept);
        if passed + inside > target {
            return (first..).zip(block).find_map(|(id, &value)| {
                passed += kept.weight(id, value);
                (passed > target).then_some(id)
            });
        }
        passed += inside;
    }
    None
}

/// How far below the maximum a value lies, in buckets; the last one has no lower end.
#[inline(always)]
fn bucket(scaled: f32, max: f32) -> usize {
    (((max - scaled) * BUCKETS_PER_UNIT) as usize).min(BUCKETS - 1)
}

/// The `count`-th id in the order of `best_first`.
fn last_by_count(scaled: &[f32], kept: &Kept, count: usize, edge: &mut Vec<IdLogit>) -> IdLogit {
    let mut counts = [0; BUCKETS];
    scaled.iter().for_each(|&value| counts[bucket(value, kept.max)] += 1);
    let (reached, before) = first_reaching(&counts, count as u64);
    sort_bucket(scaled, kept.max, reached, edge);
    edge[count - before as usize - 1]
}

/// The id at which the mass of what is kept so far reaches `top_p` of it.
fn last_by_mass(isa: Isa, scaled: &[f32], kept: &Kept, top_p: f32, edge: &mut Vec<IdLogit>) -> IdLogit {
    let mut masses = [0; BUCKETS];
    let mut weights = [0; BLOCK];
    for (first, block) in blocks(scaled) {
        weigh(isa, block, first, kept, &mut weights);
        for (&value, &w) in block.iter().zip(&weights) {
            masses[bucket(value, kept.max)] += w;
        }
    }
    let wanted = nucleus(masses.iter().sum(), top_p);
    let (reached, mut passed) = first_reaching(&masses, wanted);
    sort_bucket(scaled, kept.max, reached, edge);
    let last = edge.iter().find(|pair| {
        passed += kept.weight(pair.id, pair.logit);
        passed >= wanted
    });
    *last.expect("the bucket reaches the wanted mass")
}

for_each_isa! {
    fn weigh(scaled: &[f32], first: u32, kept: &Kept, out: &mut [u64]) {
        for ((out, id), &value) in out.iter_mut().zip(first..).zip(scaled) {
            *out = kept.weight(id, value);
        }
    }
}

/// The first bucket with which the sum reaches `wanted`, and the sum before it.
fn first_reaching(sums: &[u64; BUCKETS], wanted: u64) -> (usize, u64) {
    let mut before = 0;
    for (bucket, sum) in sums.iter().enumerate() {
        if before + sum >= wanted {
            return (bucket, before);
        }
        before += sum;
    }
    unreachable!("no more is wanted than all buckets hold")
}

/// The ids of one bucket, best first.
fn sort_bucket(scaled: &[f32], max: f32, wanted: usize, edge: &mut Vec<IdLogit>) {
    edge.clear();
    let pairs = (0..).zip(scaled).map(|(id, &logit)| IdLogit { id, logit });
    edge.extend(pairs.filter(|pair| bucket(pair.logit, max) == wanted));
    edge.sort_unstable_by(best_first);
}
