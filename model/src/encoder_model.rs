//! A loaded encoder without a decoder, with a classification head if it has one.
//!
//! Loaded by the server: served by an engine, or run batch by batch by `eval`. Batches are ragged: what is read of a
//! source does not depend on its neighbours.

use kernels::{Backend, Segment};

use crate::arithmetic::Arithmetic;
use crate::checkpoint::EncoderCheckpoint;
use crate::class_head::ClassHead;
use crate::config::EncoderConfig;
use crate::encoder_parts::EncoderParts;
use crate::encoder_space::{EncoderSpace, LaneRows};
use crate::error::Result;
use crate::layers::{Embedding, EncoderLayer, Stack};
use crate::readout::{Reader, Readout, ReadoutAsk};
use crate::rows::SourceRows;
use crate::weights::Loader;

/// An encoder that is ready to run.
pub struct EncoderModel<B: Backend> {
    backend: B,
    config: EncoderConfig,
    arithmetic: Arithmetic,
    embedding: Embedding<B>,
    encoder: Stack<B, EncoderLayer<B>>,
    head: Option<ClassHead>,
}

impl<B: Backend> EncoderModel<B> {
    /// Packs the weights of `source` and reports the bytes of each packed tensor to `progress`.
    ///
    /// # Errors
    /// When the backend has no memory for them, or a tensor cannot be read.
    pub fn load(
        backend: B,
        source: &EncoderCheckpoint,
        arithmetic: impl Into<Arithmetic>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        let (arithmetic, config) = (arithmetic.into(), source.config().clone());
        let mut loader = Loader { backend: &backend, source, arithmetic, progress };
        let embedding = loader.encoder_embedding(&config.encoder)?;
        let encoder = loader.encoder(&config.encoder)?;
        let head = (!config.labels.is_empty()).then(|| ClassHead::over_encoder(source)).transpose()?;
        Ok(Self { backend, config, arithmetic, embedding, encoder, head })
    }

    /// The configuration it was loaded with.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// The device it runs on.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Precision and quantisation of its layers.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// Working memory for batches of so many rows in each lane.
    ///
    /// # Errors
    /// When the backend has no memory for it.
    pub fn space(&self, rows: LaneRows) -> Result<EncoderSpace<B>> {
        EncoderSpace::new(&self.backend, &self.config.encoder, rows)
    }

    /// Bytes of such a working memory once all of its rows have been used.
    pub fn space_bytes(&self, rows: LaneRows) -> usize {
        EncoderSpace::<B>::bytes(&self.backend, &self.config.encoder, rows)
    }

    /// Runs some layers, or parts of layers, in a lane. A batch may take several calls, with batches in other lanes in
    /// between.
    pub fn encode(
        &self,
        sources: SourceRows<'_>,
        parts: impl Into<EncoderParts>,
        lane: usize,
        space: &mut EncoderSpace<B>,
    ) {
        let space = space.holding(sources.tokens.len(), lane);
        let pass = self.encoder.pass(&self.backend, self.arithmetic, &self.embedding, sources);
        self.encoder.run(&pass, &parts.into(), space);
    }

    /// Reads results of a lane's batch that went through every layer, and appends one for each that is asked. Waits for
    /// the device.
    ///
    /// # Panics
    /// When scores of classes are asked for and there is no head.
    pub fn read(&self, asked: &[ReadoutAsk], lane: usize, space: &mut EncoderSpace<B>, out: &mut Vec<Vec<f32>>) {
        let reader = Reader { backend: &self.backend, head: self.head.as_ref() };
        reader.read(asked, space.lane_mut(lane), out);
    }

    /// Encodes sources in one batch, in the first lane, and reads the same of each.
    ///
    /// # Panics
    /// When a source is empty, the batch exceeds the lane, or scores of classes are asked for and there is no head.
    pub fn read_batch(&self, sources: &[&[u32]], readout: Readout, space: &mut EncoderSpace<B>) -> Vec<Vec<f32>> {
        assert!(sources.iter().all(|source| !source.is_empty()), "a source has at least one token");
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
        let rows = SourceRows { tokens: &sources.concat(), positions: &positions, segments: &segments };
        self.encode(rows, 0..self.config.encoder.layers, 0, space);
        let asked: Vec<ReadoutAsk> = segments.into_iter().map(|segment| ReadoutAsk { segment, readout }).collect();
        let mut results = Vec::with_capacity(asked.len());
        self.read(&asked, 0, space, &mut results);
        results
    }
}
