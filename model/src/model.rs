//! A loaded model: both stacks with their weights, on a backend.
//!
//! Loaded by the server at start and run by its engine thread. A model is read-only; pages outlive a step; a workspace
//! holds the activations of one step.

use kernels::{Backend, KvFormat, PageShape};

use crate::arithmetic::Arithmetic;
use crate::checkpoint::WeightSource;
use crate::config::{ModelConfig, StackConfig};
use crate::encoder_parts::EncoderParts;
use crate::error::{Error, Result};
use crate::page_pieces::{LayerGroups, PagePieces};
use crate::readout::{Reader, ReadoutAsk};
use crate::rows::{CrossPages, SourceRows, TargetRows};
use crate::weights::Weights;
use crate::workspace::{Workspace, WorkspaceLimits};

/// An encoder-decoder that is ready to run.
pub struct Model<B: Backend> {
    pub(crate) backend: B,
    pub(crate) config: ModelConfig,
    arithmetic: Arithmetic,
    pub(crate) weights: Weights<B>,
}

impl<B: Backend> Model<B> {
    /// Packs the weights of `source` and reports the bytes of each packed tensor to `progress`. A quantised source
    /// stays as it is, whatever the precision of the rest.
    ///
    /// # Errors
    /// When the backend has no memory for them, a tensor cannot be read, or the source is quantised to another scheme
    /// than `arithmetic` asks for.
    pub fn load(
        backend: B,
        source: &dyn WeightSource,
        arithmetic: impl Into<Arithmetic>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        let mut arithmetic = arithmetic.into();
        if let Some(stored) = source.scheme() {
            match arithmetic.quantize {
                Some(wanted) if wanted != stored => return Err(Error::OtherScheme { stored, wanted }),
                _ => arithmetic.quantize = Some(stored),
            }
        }
        let weights = Weights::load(&backend, source, arithmetic, progress)?;
        Ok(Self { backend, config: source.config().clone(), arithmetic, weights })
    }

    /// The configuration it was loaded with.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The device it runs on.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Its precision and quantisation.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// The pieces that a page of this model is made of.
    pub fn page_pieces(&self) -> PagePieces {
        layer_groups(&self.backend, &self.config.decoder).pieces
    }

    /// Bytes of one page.
    pub fn page_bytes(&self) -> usize {
        page_bytes(&self.backend, &self.config, self.arithmetic)
    }

    /// A pool of all pieces of so many pages.
    ///
    /// # Errors
    /// When the backend has no memory for it.
    pub fn pages(&self, pages: usize) -> Result<B::Pages> {
        Ok(self.backend.pages(page_shape(&self.backend, &self.config, pages), &page_formats(self.arithmetic))?)
    }

    /// Working memory for batches within `limits`.
    ///
    /// # Errors
    /// When the backend has no memory for it.
    pub fn workspace(&self, limits: WorkspaceLimits) -> Result<Workspace<B>> {
        Workspace::new(&self.backend, &self.config, limits)
    }

    /// Bytes of such a workspace once all of its rows have been used.
    pub fn workspace_bytes(&self, limits: WorkspaceLimits) -> usize {
        Workspace::bytes(&self.backend, &self.config, limits)
    }

    /// Runs some layers of the encoder, or parts of layers, in a lane of the workspace. A batch may take several calls,
    /// with decoder steps and batches in other lanes in between: they leave the lane alone.
    pub fn encode(
        &self,
        sources: SourceRows<'_>,
        parts: impl Into<EncoderParts>,
        lane: usize,
        space: &mut Workspace<B>,
    ) {
        let Weights { tables, encoder, .. } = &self.weights;
        let space = space.encoder.holding(sources.tokens.len(), lane);
        encoder.run(&encoder.pass(&self.backend, self.arithmetic, &tables.encoder, sources), &parts.into(), space);
    }

    /// Writes the cross-attention keys and values of the first sources of a lane's batch, which went through every
    /// encoder layer.
    pub fn write_cross(&self, sources: CrossPages<'_>, lane: usize, pages: &mut B::Pages, space: &mut Workspace<B>) {
        let Weights { tables, decoder, .. } = &self.weights;
        let pass = decoder.pass(&self.backend, self.arithmetic, tables.decoder(), sources);
        decoder.write_cross(&pass, &space.encoder.lane(lane).x, pages, &mut space.cross);
    }

    /// Reads results of a lane's batch that went through every encoder layer, and appends one for each that is asked.
    /// Waits for the device.
    ///
    /// # Panics
    /// When scores of classes are asked for: an encoder-decoder has none.
    pub fn read(&self, asked: &[ReadoutAsk], lane: usize, space: &mut Workspace<B>, out: &mut Vec<Vec<f32>>) {
        let reader = Reader { backend: &self.backend, head: None };
        reader.read(asked, space.encoder.lane_mut(lane), out);
    }

    /// Runs one decoder step: writes the rows' self-attention keys and values to their pages and leaves the rows'
    /// states in the workspace.
    pub fn decode(&self, rows: TargetRows<'_, B::Drawn>, pages: &mut B::Pages, space: &mut Workspace<B>) {
        assert!(rows.tokens.count() <= space.limits.target_rows, "a decoder step is larger than the workspace");
        let Weights { tables, decoder, .. } = &self.weights;
        let pass = decoder.pass(&self.backend, self.arithmetic, tables.decoder(), rows);
        decoder.run(&pass, pages, &mut space.decoder);
    }

    /// The first `rows` rows of a lane's final encoder states, `[rows, hidden]`.
    pub fn encoder_states(&self, rows: usize, lane: usize, space: &Workspace<B>) -> Vec<f32> {
        self.backend.download(&space.encoder.lane(lane).x, rows)
    }
}

/// Bytes of one page of a model, which need not be loaded.
pub fn page_bytes<B: Backend>(backend: &B, config: &ModelConfig, arithmetic: Arithmetic) -> usize {
    let piece = backend.page_bytes(page_shape(backend, config, 1), &page_formats(arithmetic));
    piece * layer_groups(backend, &config.decoder).pieces.all
}

/// The groups of a decoder's layers. Where steps are replayed, a page is one piece: a replayed step reads one table.
pub(crate) fn layer_groups<B: Backend>(backend: &B, decoder: &StackConfig) -> LayerGroups {
    if backend.replays_steps() { LayerGroups::one(decoder.layers) } else { LayerGroups::by_window(decoder) }
}

/// Shape of a pool of all pieces of so many pages.
fn page_shape<B: Backend>(backend: &B, config: &ModelConfig, pages: usize) -> PageShape {
    let decoder = &config.decoder;
    let LayerGroups { pieces, layers, .. } = layer_groups(backend, decoder);
    PageShape { pages: pages * pieces.all, layers, kv_heads: decoder.kv_heads, head_dim: decoder.head_dim }
}

/// Formats of the pages of self-attention and of cross-attention.
fn page_formats(arithmetic: Arithmetic) -> [KvFormat; 2] {
    [arithmetic.self_kv(), arithmetic.cross_kv]
}
