//! Batches of examples by their position, for the training run to read step after step.
//!
//! Examples are made on demand. A batch depends on data, recipe, settings, seed and position alone, so that a resumed
//! run sees the batches of an unbroken one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::data_set::DataSet;
use super::order::{Batches, EpochKey};
use super::packed::Packed;
use super::raw_row::RowKind;
use crate::training::error::{Error, Result};
use crate::training::example::{Batch, Example};
use crate::training::objective::{Recipe, Text};
use crate::training::settings::{DataSettings, Packing};

/// Seed of validation: every row is denoised the same way in every run, so that runs can be compared.
const VALIDATION_SEED: u64 = 0;

/// Position in the sequence of batches.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Completed passes over the data.
    pub epoch: u64,
    /// Completed batches of this pass.
    pub batch: u64,
}

/// How rows are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSettings {
    /// Most tokens of a batch; a single longer row is a batch of its own.
    pub batch_tokens: usize,
    /// How texts become rows.
    pub packing: Packing,
    /// Most tokens of a text's row; exact number of a packed one.
    pub max_text_tokens: usize,
}

/// Batches of examples.
#[derive(Debug)]
pub struct Feed {
    data: DataSet,
    recipe: Arc<Recipe>,
    how: BatchSettings,
    seed: u64,
    /// The epoch that was read last.
    epoch: Option<(u64, Epoch)>,
}

/// The order of one epoch.
#[derive(Debug)]
struct Epoch {
    batches: Batches,
    packed: Option<Packed>,
}

impl From<&DataSettings> for BatchSettings {
    fn from(settings: &DataSettings) -> Self {
        let DataSettings { batch_tokens, packing, max_text_tokens, .. } = *settings;
        Self { batch_tokens, packing, max_text_tokens }
    }
}

impl Feed {
    /// A feed of rows of the recipe's kind.
    ///
    /// # Errors
    /// [`Error::TooLittleText`] when packed texts do not fill one row.
    pub fn new(data: DataSet, recipe: Arc<Recipe>, how: BatchSettings, seed: u64) -> Result<Self> {
        let feed = Self { data, recipe, how, seed, epoch: None };
        if let Some(packed) = feed.packed(None)?.filter(|packed| packed.stretches() == 0) {
            return Err(Error::TooLittleText { tokens: packed.tokens(), row_tokens: how.max_text_tokens });
        }
        Ok(feed)
    }

    /// The rows.
    pub fn data(&self) -> &DataSet {
        &self.data
    }

    /// The recipe by which rows become examples.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The batch at a position, and the position after it.
    ///
    /// # Errors
    /// [`Error::Position`] if there is none, because the position was made for other data; when rows cannot be read.
    pub fn batch(&mut self, position: Position) -> Result<(Batch, Position)> {
        let Position { epoch: number, batch } = position;
        let (feed, epoch) = self.at(number)?;
        let batches = epoch.batches.len() as u64;
        let items = usize::try_from(batch).ok().and_then(|batch| epoch.batches.get(batch));
        let items = items.ok_or(Error::Position { epoch: number, batch, batches })?;
        let made = feed.make(items, epoch.packed.as_ref(), EpochKey { seed: feed.seed, epoch: number })?;
        let is_last = batch + 1 == batches;
        let next =
            if is_last { Position { epoch: number + 1, batch: 0 } } else { Position { batch: batch + 1, ..position } };
        Ok((made, next))
    }

    /// Number of batches in an epoch.
    ///
    /// # Errors
    /// When rows cannot be read.
    pub fn epoch_batches(&mut self, epoch: u64) -> Result<u64> {
        Ok(self.at(epoch)?.1.batches.len() as u64)
    }

    /// Batches of the first `rows` rows (0 takes all) in the files' order, the same in every run.
    ///
    /// # Errors
    /// When rows cannot be read.
    pub fn validation_batches(&self, rows: usize) -> Result<Vec<Batch>> {
        let packed = self.packed(None)?;
        let all = packed.as_ref().map_or_else(|| self.data.rows(), Packed::stretches);
        let count = if rows == 0 { all } else { rows.min(all) };
        let key = EpochKey { seed: VALIDATION_SEED, epoch: 0 };
        let batches = Batches::in_order(count, self.how.batch_tokens, |item| self.size(item, packed.is_some(), key))?;
        let items = (0..batches.len()).filter_map(|batch| batches.get(batch));
        items.map(|items| self.make(items, packed.as_ref(), key)).collect()
    }

    /// Plans an epoch's order, unless it is the present one.
    fn at(&mut self, number: u64) -> Result<(&Self, &Epoch)> {
        if self.epoch.as_ref().is_none_or(|(at_hand, _)| *at_hand != number) {
            self.epoch = None;
            self.epoch = Some((number, self.plan(number)?));
        }
        let feed = &*self;
        let (_, epoch) = feed.epoch.as_ref().expect("it was put there above");
        Ok((feed, epoch))
    }

    fn plan(&self, number: u64) -> Result<Epoch> {
        let key = EpochKey { seed: self.seed, epoch: number };
        let packed = self.packed(Some(key))?;
        let count = packed.as_ref().map_or_else(|| self.data.rows(), Packed::stretches);
        let size = |item| self.size(item, packed.is_some(), key);
        Ok(Epoch { batches: Batches::shuffled(count, self.how.batch_tokens, key, size)?, packed })
    }

    /// The sequence of texts, if they are packed.
    fn packed(&self, order: Option<EpochKey>) -> Result<Option<Packed>> {
        let is_packed = self.data.kind() == RowKind::Text && self.how.packing == Packing::Packed;
        let packed = || Packed::new(&self.data, order, self.recipe.end_token(), self.how.max_text_tokens);
        is_packed.then(packed).transpose()
    }

    fn size(&self, item: usize, is_packed: bool, key: EpochKey) -> Result<usize> {
        let key = key.item(item);
        let most = self.how.max_text_tokens;
        Ok(match self.data.kind() {
            RowKind::Text if is_packed => self.recipe.text_size(most, false, key),
            RowKind::Text => {
                let len = self.data.source_len(item)?;
                self.recipe.text_size(len.min(most), len <= most, key)
            }
            RowKind::Pair | RowKind::Labelled => self.recipe.size(self.data.row(item)?.row()),
        })
    }

    fn make(&self, items: &[usize], packed: Option<&Packed>, key: EpochKey) -> Result<Batch> {
        let example = |&item: &usize| -> Result<Example> {
            if self.data.kind() != RowKind::Text {
                return Ok(self.recipe.example(self.data.row(item)?.row()));
            }
            let text = match packed {
                Some(packed) => Text { ids: packed.stretch(&self.data, item)?, is_whole: false },
                None => self.text(item)?,
            };
            Ok(self.recipe.text_example(&text, key.item(item)))
        };
        Ok(Batch { examples: items.iter().map(example).collect::<Result<_>>()? })
    }

    /// A text that is a row of its own. If it is cut, it has no end.
    fn text(&self, item: usize) -> Result<Text> {
        let row = self.data.row(item)?;
        let ids = row.row().source;
        let len = ids.len().min(self.how.max_text_tokens);
        Ok(Text { ids: ids.slice(0..len).to_vec(), is_whole: len == ids.len() })
    }
}
