//! Generation without teacher forcing: greedy texts, classes and states.
//!
//! Called for validation samples and baselines. The stack under the head runs again for every token; the serving path
//! is the fast one.

use candle_core::Tensor;

use super::pass::{Pass, Source};
use super::rows::{Ragged, check_ids};
use super::{Head, Network};
use crate::config::Stacks;
use crate::training::{Error, Result};

/// Most tokens of sources that go through the network together; one row may be longer.
const BATCH_TOKENS: usize = 8192;

impl Network {
    /// The encoder's final-normed states of all sources, `[tokens, hidden]`; of a network with one stack, that stack's.
    ///
    /// # Errors
    /// [`Error::Example`] for a source that cannot be read, or when the tensor library refuses.
    pub fn encoder_states(&self, sources: &[&[u32]]) -> Result<Tensor> {
        self.check_sources(sources)?;
        let (pass, rows) = (Pass::plain(self), Ragged::of(sources.iter().copied()));
        match pass.encode(Some(&rows))? {
            Some(source) => Ok(source.states),
            None => pass.finish(&self.main, &pass.stack(&self.main, &rows, None)?),
        }
    }

    /// The most probable class of each source, by a classifier.
    ///
    /// # Errors
    /// The errors of [`Network::encoder_states`]; [`Error::Example`] also when the network is no classifier.
    pub fn classify(&self, sources: &[&[u32]]) -> Result<Vec<u32>> {
        let best = |scores: &Vec<f32>| {
            let best = |best: usize, class: usize| if scores[class] > scores[best] { class } else { best };
            (0..scores.len()).fold(0, best) as u32
        };
        Ok(self.class_scores(sources)?.iter().map(best).collect())
    }

    /// The scores of all classes for each source, by a classifier.
    ///
    /// # Errors
    /// The errors of [`Network::classify`].
    pub fn class_scores(&self, sources: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        self.check_sources(sources)?;
        if !matches!(self.head, Head::Classes { .. }) {
            let problem = "it is to be classified, but the network has no classification head".to_owned();
            return Err(Error::Example { row: 0, problem });
        }
        let pass = Pass::plain(self);
        let mut scores = Vec::with_capacity(sources.len());
        for sources in groups(sources) {
            let rows = Ragged::of(sources.iter().copied());
            let x = pass.stack(&self.main, &rows, None)?;
            let last = x.index_select(&Tensor::new(rows.last_tokens(), x.device())?, 0)?;
            scores.extend(pass.scores(&pass.finish(&self.main, &last)?)?.to_vec2::<f32>()?);
        }
        Ok(scores)
    }

    /// The most probable continuation of each source, token by token, at most `max_tokens` long and without the end
    /// token. A decoder-only network continues the source itself.
    ///
    /// # Errors
    /// The errors of [`Network::encoder_states`]; [`Error::Example`] also when the network is a classifier.
    pub fn generate(&self, sources: &[&[u32]], max_tokens: usize) -> Result<Vec<Vec<u32>>> {
        self.check_sources(sources)?;
        if matches!(self.head, Head::Classes { .. }) {
            let problem = "it is to be continued, but the network is a classifier".to_owned();
            return Err(Error::Example { row: 0, problem });
        }
        let mut written = Vec::with_capacity(sources.len());
        for sources in groups(sources) {
            written.extend(self.continue_together(sources, max_tokens)?);
        }
        Ok(written)
    }

    /// Continues sources that fit into one batch.
    fn continue_together(&self, sources: &[&[u32]], max_tokens: usize) -> Result<Vec<Vec<u32>>> {
        let pass = Pass::plain(self);
        let encoded = match self.encoder {
            Some(_) => Some(self.encode_apart(&pass, sources)?),
            None => None,
        };
        let mut written = vec![Vec::new(); sources.len()];
        let mut open: Vec<usize> = (0..sources.len()).collect();
        for _ in 0..max_tokens {
            if open.is_empty() {
                break;
            }
            let inputs: Vec<Vec<u32>> = open.iter().map(|&row| self.next_input(sources[row], &written[row])).collect();
            let rows = Ragged::of(inputs.iter().map(Vec::as_slice));
            let lengths: Vec<usize> = open.iter().map(|&row| sources[row].len()).collect();
            let source = match &encoded {
                Some(states) => {
                    let states: Vec<&Tensor> = open.iter().map(|&row| &states[row]).collect();
                    Some(Source { states: Tensor::cat(&states, 0)?, lengths: &lengths })
                }
                None => None,
            };
            let x = pass.stack(&self.main, &rows, source.as_ref())?;
            let last = x.index_select(&Tensor::new(rows.last_tokens(), x.device())?, 0)?;
            let next = pass.scores(&pass.finish(&self.main, &last)?)?.argmax(1)?.to_vec1::<u32>()?;
            let is_end = |id: &u32| self.tokens.end.contains(id);
            open.iter().zip(&next).filter(|(_, id)| !is_end(id)).for_each(|(&row, &id)| written[row].push(id));
            open = open.into_iter().zip(&next).filter(|(_, id)| !is_end(id)).map(|(row, _)| row).collect();
        }
        Ok(written)
    }

    /// The encoder's states of each source.
    fn encode_apart(&self, pass: &Pass<'_>, sources: &[&[u32]]) -> Result<Vec<Tensor>> {
        let rows = Ragged::of(sources.iter().copied());
        let states = pass.encode(Some(&rows))?.expect("the network has an encoder").states;
        let mut start = 0;
        let mut apart = Vec::with_capacity(sources.len());
        for &length in &rows.lengths {
            apart.push(states.narrow(0, start, length)?);
            start += length;
        }
        Ok(apart)
    }

    /// Input of the stack under the head before the next token.
    fn next_input(&self, source: &[u32], written: &[u32]) -> Vec<u32> {
        match self.architecture.stacks {
            Stacks::EncoderDecoder => [&[self.tokens.start], written].concat(),
            _ => [source, written].concat(),
        }
    }

    fn check_sources(&self, sources: &[&[u32]]) -> Result<()> {
        for (row, source) in sources.iter().enumerate() {
            check_ids(self, "source", source).map_err(|problem| Error::Example { row, problem })?;
        }
        Ok(())
    }
}

/// Cuts rows into groups of at most [`BATCH_TOKENS`], at least one row each.
fn groups<'a, 's>(mut rows: &'a [&'s [u32]]) -> impl Iterator<Item = &'a [&'s [u32]]> {
    std::iter::from_fn(move || {
        let mut tokens = 0;
        let mut fits = |row: &&[u32]| {
            tokens += row.len();
            tokens <= BATCH_TOKENS
        };
        let count = rows.iter().copied().take_while(|row| fits(row)).count().max(1).min(rows.len());
        let (group, rest) = rows.split_at(count);
        rows = rest;
        (!group.is_empty()).then_some(group)
    })
}
