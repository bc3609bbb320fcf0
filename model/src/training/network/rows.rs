//! A batch laid out for the stacks: ids one after another, and the rows of states that have a loss.
//!
//! Made by `loss` and `gradients`, read by `pass`. Refuses ids that the network has no row for.

use super::Network;
use crate::config::Stacks;
use crate::training::{Batch, Error, Example, Result};

/// Rows of different lengths, flat.
#[derive(Debug, Default)]
pub struct Ragged {
    pub ids: Vec<u32>,
    /// Tokens of each row; never 0.
    pub lengths: Vec<usize>,
}

impl Ragged {
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a [u32]>) -> Self {
        let mut all = Self::default();
        rows.into_iter().for_each(|row| all.push(row));
        all
    }

    fn push(&mut self, row: &[u32]) {
        self.ids.extend_from_slice(row);
        self.lengths.push(row.len());
    }

    /// Number of the last token of each row.
    pub fn last_tokens(&self) -> Vec<u32> {
        let ends = self.lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end as u32)
        });
        ends.map(|end| end - 1).collect()
    }
}

/// A batch.
#[derive(Debug, Default)]
pub struct Rows {
    /// Input of the encoder under cross-attention.
    pub sources: Option<Ragged>,
    /// Input of the main stack.
    pub input: Ragged,
    /// Numbers of the input tokens whose states have a loss; `None` if all have.
    pub picked: Option<Vec<u32>>,
    /// Labels, one for each of them.
    pub labels: Vec<u32>,
}

impl Rows {
    /// Lays a batch out for a network, or returns the row that does not fit.
    pub fn new(network: &Network, batch: &Batch) -> Result<Self> {
        let mut rows = Self::default();
        let mut sources = Ragged::default();
        let mut picked = Vec::new();
        for (row, example) in batch.examples.iter().enumerate() {
            check(network, example).map_err(|problem| Error::Example { row, problem })?;
            let start = rows.input.ids.len();
            match (network.architecture.stacks, example) {
                (Stacks::EncoderDecoder, Example::Pair { source, target }) => {
                    sources.push(source);
                    let read = [&[network.tokens.start], &target[..target.len() - 1]].concat();
                    rows.input.push(&read);
                }
                (_, Example::Pair { source, target }) => {
                    let read = [source, &target[..target.len() - 1]].concat();
                    rows.input.push(&read);
                    let first = start + source.len() - 1;
                    picked.extend((first..first + target.len()).map(|token| token as u32));
                }
                (_, Example::Labelled { source, .. }) => rows.input.push(source),
            }
            match example {
                Example::Pair { target, .. } => rows.labels.extend_from_slice(target),
                Example::Labelled { label, .. } => rows.labels.push(*label),
            }
        }
        match network.architecture.stacks {
            _ if network.architecture.classifies() => rows.picked = Some(rows.input.last_tokens()),
            Stacks::EncoderDecoder => rows.sources = Some(sources),
            Stacks::Encoder | Stacks::Decoder => rows.picked = Some(picked),
        }
        Ok(rows)
    }
}

/// Checks that a row fits a network.
fn check(network: &Network, example: &Example) -> std::result::Result<(), String> {
    let classifies = network.architecture.classifies();
    match example {
        Example::Pair { .. } if classifies => Err("it has a target, but the network tells classes apart".to_owned()),
        Example::Labelled { .. } if !classifies => Err("it has a class, but the network writes text".to_owned()),
        Example::Pair { source, target } => {
            check_ids(network, "source", source)?;
            check_ids(network, "target", target)
        }
        Example::Labelled { source, label } => {
            let classes = network.output().0.dims()[0];
            if *label as usize >= classes {
                return Err(format!("it has class {label}, of {classes} classes that count from 0"));
            }
            check_ids(network, "source", source)
        }
    }
}

/// Checks that there is at least one id, and that all can be looked up.
pub fn check_ids(network: &Network, what: &str, ids: &[u32]) -> std::result::Result<(), String> {
    let vocab = network.main.config.vocab;
    if ids.is_empty() {
        return Err(format!("its {what} has no token"));
    }
    match ids.iter().find(|&&id| id as usize >= vocab) {
        Some(id) => Err(format!("its {what} has the token {id}, outside the vocabulary of {vocab}")),
        None => Ok(()),
    }
}
