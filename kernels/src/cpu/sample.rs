//! Choosing ids from a row of logits without sorting the vocabulary.
//!
//! Called by [`super::Cpu`]. Gives what `crate::sampling::choose` gives, which states the rules. A histogram over
//! how far each id lies below the best one tells which few ids a filter can keep; only those are sorted.

use std::cell::RefCell;
use std::cmp::Ordering;

use super::isa::{Isa, for_each_isa};
use crate::sampling::{Choice, best_first, draw, min_p_floor, nucleus, weight};

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
    scaled: Vec<f32>,
    /// Ids of the last bucket that a filter reaches into.
    edge: Vec<(u32, f32)>,
    kept: Vec<(u32, u64)>,
}

/// The id that [`crate::sampling::choose`] defines.
pub(super) fn choose(isa: Isa, logits: &[f32], choice: &Choice, end_ids: &[u32]) -> Option<u32> {
    let parameters = &choice.sampling;
    if has_nan(isa, logits) {
        return None;
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let divisor = if parameters.temperature == 0.0 { 1.0 } else { parameters.temperature };
        if parameters.temperature == 0.0 && !choice.forbid_end {
            return argmax(logits, maximum(isa, logits));
        }
        scratch.scaled.clear();
        scratch.scaled.extend_from_slice(logits);
        if choice.forbid_end {
            for &id in end_ids {
                scratch.scaled[id as usize] = f32::NEG_INFINITY;
            }
        }
        divide(isa, &mut scratch.scaled, divisor);
        let max = maximum(isa, &scratch.scaled);
        if parameters.temperature == 0.0 {
            return argmax(&scratch.scaled, max);
        }
        if parameters.top_k == 0 && parameters.top_p >= 1.0 {
            return draw_from_all(isa, &scratch.scaled, max, choice);
        }
        narrow(isa, logits, max, choice, scratch);
        draw_from_kept(&mut scratch.kept, choice)
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
    fn has_nan(values: &[f32]) -> bool {
        values.iter().fold(false, |found, value| found | value.is_nan())
    }
}

/// First id whose value is the maximum.
fn argmax(values: &[f32], max: f32) -> Option<u32> {
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
    /// Sum of the weights of at least `floor`.
    pub(super) fn mass(scaled: &[f32], max: f32, floor: u64) -> u64 {
        scaled.iter().map(|&value| weight(value, max)).filter(|&w| w >= floor).sum()
    }
}

/// Inverse CDF over the whole vocabulary (with `min_p`, which needs no order).
fn draw_from_all(isa: Isa, scaled: &[f32], max: f32, choice: &Choice) -> Option<u32> {
    let floor = min_p_floor(choice.sampling.min_p);
    let total = scaled.chunks(BLOCK).map(|block| mass(isa, block, max, floor)).sum();
    let target = draw(choice, total);
    let mut passed = 0;
    for (block, values) in scaled.chunks(BLOCK).enumerate() {
        let inside = mass(isa, values, max, floor);
        if passed + inside > target {
            for (index, &value) in values.iter().enumerate() {
                let w = weight(value, max);
                passed += if w >= floor { w } else { 0 };
                if passed > target {
                    return Some((block * BLOCK + index) as u32);
                }
            }
        }
        passed += inside;
    }
    None
}

fn bucket(scaled: f32, max: f32) -> usize {
    (((max - scaled) * BUCKETS_PER_UNIT) as usize).min(BUCKETS - 1)
}

/// Fills `kept` with the ids and weights that top_k, top_p and min_p leave, in no order.
fn narrow(isa: Isa, logits: &[f32], max: f32, choice: &Choice, scratch: &mut Scratch) {
    let parameters = &choice.sampling;
    let Scratch { scaled, edge, kept } = scratch;
    let limit = if parameters.top_k == 0 { usize::MAX } else { parameters.top_k as usize };
    let (last, wanted) = if parameters.top_k > 0 {
        (last_bucket_by_count(scaled, max, limit), None)
    } else {
        let masses = masses(isa, scaled, max);
        let wanted = nucleus(masses.iter().sum(), parameters.top_p);
        (last_bucket_by_mass(&masses, wanted), Some(wanted))
    };
    // Whatever lies in buckets before the last is kept; only inside the last one does the order decide.
    kept.clear();
    edge.clear();
    for (id, &value) in scaled.iter().enumerate().filter(|(_, value)| **value > f32::NEG_INFINITY) {
        match bucket(value, max).cmp(&last) {
            Ordering::Less => kept.push((id as u32, weight(value, max))),
            Ordering::Equal => edge.push((id as u32, logits[id])),
            Ordering::Greater => {}
        }
    }
    edge.sort_unstable_by(|&a, &b| best_first(a, b));
    let of = |id: u32| weight(scaled[id as usize], max);
    match wanted {
        Some(wanted) => take_until(kept, edge.iter().map(|&(id, _)| (id, of(id))), wanted),
        None => {
            edge.truncate(limit - kept.len());
            kept.extend(edge.iter().map(|&(id, _)| (id, of(id))));
            if parameters.top_p < 1.0 {
                edge.clear();
                edge.extend(kept.iter().map(|&(id, _)| (id, logits[id as usize])));
                edge.sort_unstable_by(|&a, &b| best_first(a, b));
                let wanted = nucleus(kept.iter().map(|k| k.1).sum(), parameters.top_p);
                kept.clear();
                take_until(kept, edge.iter().map(|&(id, _)| (id, of(id))), wanted);
            }
        }
    }
    let floor = min_p_floor(parameters.min_p).max(1);
    kept.retain(|&(_, w)| w >= floor);
}

/// Adds ids in order until the mass of `kept` reaches `wanted`.
fn take_until(kept: &mut Vec<(u32, u64)>, ids: impl Iterator<Item = (u32, u64)>, wanted: u64) {
    let mut mass: u64 = kept.iter().map(|k| k.1).sum();
    for (id, w) in ids {
        if mass >= wanted {
            return;
        }
        mass += w;
        kept.push((id, w));
    }
}

/// The bucket at which `limit` ids are reached.
fn last_bucket_by_count(scaled: &[f32], max: f32, limit: usize) -> usize {
    let mut counts = [0_u32; BUCKETS];
    scaled.iter().filter(|value| **value > f32::NEG_INFINITY).for_each(|&value| counts[bucket(value, max)] += 1);
    let mut passed = 0;
    let reached = counts.iter().position(|&count| {
        passed += count as usize;
        passed >= limit
    });
    reached.unwrap_or(BUCKETS - 1)
}

/// The mass of each bucket.
fn masses(isa: Isa, scaled: &[f32], max: f32) -> [u64; BUCKETS] {
    let mut masses = [0; BUCKETS];
    let mut weights = [0; BLOCK];
    for block in scaled.chunks(BLOCK) {
        weigh(isa, block, max, &mut weights);
        for (&value, w) in block.iter().zip(&weights).filter(|(value, _)| **value > f32::NEG_INFINITY) {
            masses[bucket(value, max)] += w;
        }
    }
    masses
}

for_each_isa! {
    fn weigh(scaled: &[f32], max: f32, out: &mut [u64]) {
        for (out, &value) in out.iter_mut().zip(scaled) {
            *out = weight(value, max);
        }
    }
}

/// The bucket at which the mass `wanted` is reached.
fn last_bucket_by_mass(masses: &[u64; BUCKETS], wanted: u64) -> usize {
    let mut passed = 0;
    let reached = masses.iter().position(|&mass| {
        passed += mass;
        passed >= wanted
    });
    reached.unwrap_or(BUCKETS - 1)
}

fn draw_from_kept(kept: &mut [(u32, u64)], choice: &Choice) -> Option<u32> {
    kept.sort_unstable();
    let target = draw(choice, kept.iter().map(|k| k.1).sum());
    let mut passed = 0;
    let found = kept.iter().find(|&&(_, w)| {
        passed += w;
        passed > target
    });
    found.map(|k| k.0)
}
