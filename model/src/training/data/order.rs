//! The order of an epoch: items are shuffled, items of similar size are grouped into batches, and batches are shuffled.
//!
//! Planned by `feed` from sizes alone. An item is a row, or a stretch of packed texts.

use crate::training::draws::{Draws, Purpose};
use crate::training::error::Result;
use crate::training::objective::DrawKey;

/// Number of batches whose items are sorted by size together: enough that the items of a batch hardly differ, few
/// enough that an epoch stays shuffled.
const WINDOW_BATCHES: usize = 64;

/// Key on which the order of an epoch depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EpochKey {
    /// Seed of the run.
    pub seed: u64,
    /// Number of the epoch.
    pub epoch: u64,
}

impl EpochKey {
    /// Key of one item of the epoch.
    pub fn item(self, index: usize) -> DrawKey {
        DrawKey { seed: self.seed, epoch: self.epoch, index: index as u64 }
    }
}

/// The batches of one epoch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batches {
    items: Vec<usize>,
    /// Range of each batch in `items`, in the order of batches.
    spans: Vec<(usize, usize)>,
}

impl Batches {
    /// Batches of `count` items in the shuffled order of an epoch.
    pub fn shuffled(
        count: usize,
        batch_tokens: usize,
        EpochKey { seed, epoch }: EpochKey,
        size: impl Fn(usize) -> Result<usize>,
    ) -> Result<Self> {
        let mut items: Vec<usize> = (0..count).collect();
        Draws::new(seed, Purpose::RowOrder, epoch, 0).shuffle(&mut items);
        let mut spans = Vec::new();
        let mut start = 0;
        while start < count {
            let sizes: Vec<usize> = within(&items[start..], batch_tokens.saturating_mul(WINDOW_BATCHES), &size)?;
            let window = &mut items[start..start + sizes.len()];
            let mut sized: Vec<(usize, usize)> = sizes.into_iter().zip(window.iter().copied()).collect();
            // The sort is stable: items of equal size stay shuffled.
            sized.sort_by_key(|&(size, _)| size);
            window.iter_mut().zip(&sized).for_each(|(item, &(_, sorted))| *item = sorted);
            let cuts = cut(&sized.iter().map(|&(size, _)| size).collect::<Vec<_>>(), batch_tokens);
            spans.extend(cuts.into_iter().map(|(from, to)| (start + from, start + to)));
            start += sized.len();
        }
        Draws::new(seed, Purpose::BatchOrder, epoch, 0).shuffle(&mut spans);
        Ok(Self { items, spans })
    }

    /// Batches of the first `count` items in their own order.
    pub fn in_order(count: usize, batch_tokens: usize, size: impl Fn(usize) -> Result<usize>) -> Result<Self> {
        let sizes = (0..count).map(size).collect::<Result<Vec<usize>>>()?;
        Ok(Self { items: (0..count).collect(), spans: cut(&sizes, batch_tokens) })
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// The items of a batch; `None` beyond the last batch.
    pub fn get(&self, batch: usize) -> Option<&[usize]> {
        self.spans.get(batch).map(|&(start, end)| &self.items[start..end])
    }
}

/// Sizes of the first items that fill `tokens` together, at least one item.
fn within(items: &[usize], tokens: usize, size: &impl Fn(usize) -> Result<usize>) -> Result<Vec<usize>> {
    let mut total: usize = 0;
    let mut sizes = Vec::new();
    for &item in items {
        let own = size(item)?;
        total = total.saturating_add(own);
        if total > tokens && !sizes.is_empty() {
            break;
        }
        sizes.push(own);
    }
    Ok(sizes)
}

/// Cuts a sequence of sizes so that no part exceeds `tokens`, except for a single item that does.
fn cut(sizes: &[usize], tokens: usize) -> Vec<(usize, usize)> {
    let mut cuts = Vec::new();
    let (mut start, mut total) = (0, 0);
    for (index, &size) in sizes.iter().enumerate() {
        if index > start && total + size > tokens {
            cuts.push((start, index));
            (start, total) = (index, 0);
        }
        total += size;
    }
    if start < sizes.len() {
        cuts.push((start, sizes.len()));
    }
    cuts
}
