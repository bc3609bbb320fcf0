//! Validation on rows that are not trained on, the same ones in the same order every time.
//!
//! Called by `run`. It affects training only through early stopping and the choice of the best checkpoint.

use super::Example;
use super::error::Result;
use super::example::Batch;
use super::metrics::Sample;
use super::network::Network;
use super::settings::{Metric, ValidationSettings};
use crate::tokenizer::Tokenizer;

/// The rows, grouped in batches.
#[derive(Debug)]
pub struct Validation {
    batches: Vec<Batch>,
    sample_tokens: usize,
    samples: usize,
}

/// Figures of a validation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Mean of `-log p` of the target tokens (or of the labels).
    pub loss: f64,
    /// Share of target tokens (or of labels) that are the most probable ones.
    pub accuracy: f64,
    /// Number of target tokens, or labels.
    pub tokens: u64,
}

impl Validation {
    /// Takes the rows to validate on, and those to show as samples.
    pub fn new(batches: Vec<Batch>, settings: &ValidationSettings) -> Self {
        Self { batches, sample_tokens: settings.sample_tokens, samples: settings.samples }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(|batch| batch.examples.len()).sum()
    }

    /// Figures of the network on the rows, over all their tokens together.
    ///
    /// # Errors
    /// When a row does not fit the network, or the tensor library refuses.
    pub fn figures(&self, network: &Network) -> Result<Figures> {
        let (mut cross_entropy, mut correct, mut tokens) = (0.0, 0, 0);
        for batch in &self.batches {
            let sums = network.evaluate(batch)?;
            cross_entropy += sums.cross_entropy;
            correct += sums.correct;
            tokens += sums.tokens;
        }
        let count = tokens.max(1) as f64;
        Ok(Figures { loss: cross_entropy / count, accuracy: correct as f64 / count, tokens: tokens as u64 })
    }

    /// The network's continuations of the first rows, as text (as ids if there is no tokenizer).
    ///
    /// # Errors
    /// The errors of [`Validation::figures`].
    pub fn samples(&self, network: &Network, tokenizer: Option<&Tokenizer>) -> Result<Vec<Sample>> {
        let examples: Vec<&Example> =
            self.batches.iter().flat_map(|batch| &batch.examples).take(self.samples).collect();
        if examples.is_empty() {
            return Ok(Vec::new());
        }
        let sources: Vec<&[u32]> = examples.iter().map(|example| example.source()).collect();
        let text = |ids: &[u32]| match tokenizer {
            Some(tokenizer) => tokenizer.decode(ids),
            None => ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" "),
        };
        let labels = network.labels();
        let written: Vec<String> = if labels.is_empty() {
            network.generate(&sources, self.sample_tokens)?.iter().map(|ids| text(ids)).collect()
        } else {
            network.classify(&sources)?.into_iter().map(|class| labels[class as usize].clone()).collect()
        };
        let expected = |example: &Example| match example {
            Example::Pair { target, .. } => text(target),
            Example::Labelled { label, .. } => labels.get(*label as usize).cloned().unwrap_or_default(),
        };
        let sample = |(example, written): (&&Example, String)| Sample {
            source: text(example.source()),
            expected: expected(example),
            written,
        };
        Ok(examples.iter().zip(written).map(sample).collect())
    }
}

impl Metric {
    /// The figure of a metric. It is float32, so that it survives its file to the bit.
    pub fn value(self, figures: &Figures) -> f32 {
        match self {
            Self::Loss => figures.loss as f32,
            Self::Accuracy => figures.accuracy as f32,
        }
    }

    /// Whether one value is better than another; none is better than itself.
    pub fn is_better(self, value: f32, than: f32) -> bool {
        match self {
            Self::Loss => value < than,
            Self::Accuracy => value > than,
        }
    }
}
