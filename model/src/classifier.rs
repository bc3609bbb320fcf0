//! A loaded classifier: the encoder over `kernels`, and a linear head on the last token of each source.
//!
//! Loaded and run by the server's `eval`. Batches are ragged: a source's scores do not depend on its neighbours.

use kernels::{Backend, Segment};

use crate::arithmetic::Arithmetic;
use crate::checkpoint::{ClassHeadNames, ClassifierCheckpoint};
use crate::config::ClassifierConfig;
use crate::error::{Error, Result};
use crate::layers::{EncoderLayer, Stack, StackSpace};
use crate::rows::SourceRows;
use crate::weights::Loader;

/// An encoder with its head.
pub struct Classifier<B: Backend> {
    backend: B,
    config: ClassifierConfig,
    arithmetic: Arithmetic,
    encoder: Stack<B, EncoderLayer<B>>,
    head: Head,
}

/// Working memory of a classifier.
pub struct ClassifierSpace<B: Backend> {
    stack: StackSpace<B>,
    /// `[sources, hidden]`: the encoder's output at the last token of each source.
    last: B::Activations,
    limits: ClassifierLimits,
}

/// Size of the largest batch of a classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassifierLimits {
    /// Tokens of all sources together.
    pub source_rows: usize,
    /// Sources.
    pub sources: usize,
}

/// `scores = weight . x + bias`, always in float32: the head has few rows, and their scores are compared.
struct Head {
    /// `[labels, hidden]`.
    weight: Vec<f32>,
    /// `[labels]`.
    bias: Vec<f32>,
}

impl<B: Backend> Classifier<B> {
    /// Packs the weights of `source` and reports the bytes of each packed tensor to `progress`.
    ///
    /// # Errors
    /// When the backend has no memory for them, or a tensor cannot be read.
    pub fn load(
        backend: B,
        source: &ClassifierCheckpoint,
        arithmetic: impl Into<Arithmetic>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        let (arithmetic, config) = (arithmetic.into(), source.config().clone());
        let encoder = Loader { backend: &backend, source, arithmetic, progress }.encoder(&config.encoder)?;
        let numbers = |name| Ok::<_, Error>(source.tensor(name)?.numbers());
        let ClassHeadNames { weight, bias } = ClassHeadNames::ENCODER;
        let bias = bias.expect("the head over an encoder has a bias");
        let head = Head { weight: numbers(weight)?, bias: numbers(bias)? };
        Ok(Self { backend, config, arithmetic, encoder, head })
    }

    /// The configuration it was loaded with.
    pub fn config(&self) -> &ClassifierConfig {
        &self.config
    }

    /// Precision and quantisation of its encoder.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// Working memory for batches within `limits`.
    ///
    /// # Errors
    /// When the backend has no memory for it.
    pub fn space(&self, limits: ClassifierLimits) -> Result<ClassifierSpace<B>> {
        let stack = StackSpace::new(&self.backend, &self.config.encoder, limits.source_rows)?;
        let last = self.backend.activations(limits.sources, self.config.encoder.hidden)?;
        Ok(ClassifierSpace { stack, last, limits })
    }

    /// Scores of all labels for each source, `[sources, labels]`.
    ///
    /// # Panics
    /// When a source is empty or the batch exceeds the working memory.
    pub fn scores(&self, sources: &[&[u32]], space: &mut ClassifierSpace<B>) -> Vec<Vec<f32>> {
        let tokens = sources.concat();
        assert!(tokens.len() <= space.limits.source_rows, "a batch has more tokens than the working memory");
        assert!(sources.len() <= space.limits.sources, "a batch has more sources than the working memory");
        assert!(sources.iter().all(|source| !source.is_empty()), "a source has no last token");
        let positions: Vec<u32> = sources.iter().flat_map(|source| 0..source.len() as u32).collect();
        let mut start = 0;
        let segments: Vec<Segment> = sources
            .iter()
            .map(|source| {
                let segment = Segment { start, len: source.len() as u32 };
                start += segment.len;
                segment
            })
            .collect();
        let rows = SourceRows { tokens: &tokens, positions: &positions, segments: &segments };
        let pass = self.encoder.pass(&self.backend, self.arithmetic, rows);
        self.encoder.run(&pass, 0..self.config.encoder.layers, &mut space.stack);

        let ends: Vec<u32> = segments.iter().map(|segment| segment.start + segment.len - 1).collect();
        self.backend.gather(&space.stack.x, &ends, &mut space.last);
        let states = self.backend.download(&space.last, ends.len());
        states.chunks_exact(self.config.encoder.hidden).map(|state| self.head.scores(state)).collect()
    }
}

impl Head {
    fn scores(&self, state: &[f32]) -> Vec<f32> {
        let product = |row: &[f32]| row.iter().zip(state).map(|(weight, x)| weight * x).sum::<f32>();
        self.weight.chunks_exact(state.len()).zip(&self.bias).map(|(row, bias)| product(row) + bias).collect()
    }
}
