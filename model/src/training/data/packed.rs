//! Texts one after another, an end token after each, cut into stretches of equal length.
//!
//! Made by `feed` for each epoch, from that epoch's order of texts. Holds the texts' ends, not their tokens.

use super::data_set::DataSet;
use super::order::EpochKey;
use crate::training::draws::{Draws, Purpose};
use crate::training::error::Result;

/// One epoch's sequence of texts.
#[derive(Debug)]
pub(super) struct Packed {
    texts: Vec<usize>,
    /// Position in the sequence after each text and its end token.
    ends: Vec<u64>,
    end_token: u32,
    stretch_tokens: usize,
}

impl Packed {
    /// Lays out the texts in the order of an epoch, or in the files' order.
    pub fn new(data: &DataSet, order: Option<EpochKey>, end_token: u32, stretch_tokens: usize) -> Result<Self> {
        let mut texts: Vec<usize> = (0..data.rows()).collect();
        if let Some(EpochKey { seed, epoch }) = order {
            Draws::new(seed, Purpose::RowOrder, epoch, 1).shuffle(&mut texts);
        }
        let mut end = 0;
        let ends = texts.iter().map(|&text| {
            end += data.source_len(text)? as u64 + 1;
            Ok(end)
        });
        let ends = ends.collect::<Result<Vec<u64>>>()?;
        Ok(Self { ends, texts, end_token, stretch_tokens })
    }

    /// Number of tokens of all texts with their end tokens.
    pub fn tokens(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Number of stretches of full length; the rest at the end of an epoch is left out.
    pub fn stretches(&self) -> usize {
        (self.tokens() / self.stretch_tokens as u64) as usize
    }

    /// The tokens of a stretch.
    pub fn stretch(&self, data: &DataSet, index: usize) -> Result<Vec<u32>> {
        let mut at = index as u64 * self.stretch_tokens as u64;
        let mut ids = Vec::with_capacity(self.stretch_tokens);
        let mut text = self.ends.partition_point(|&end| end <= at);
        while ids.len() < self.stretch_tokens {
            let row = data.row(self.texts[text])?;
            let row = row.row().source;
            let from = row.len() + 1 - (self.ends[text] - at) as usize;
            let to = row.len().min(from + self.stretch_tokens - ids.len());
            ids.extend(row.slice(from..to).iter());
            if to == row.len() && ids.len() < self.stretch_tokens {
                ids.push(self.end_token);
            }
            at = self.ends[text];
            text += 1;
        }
        Ok(ids)
    }
}
