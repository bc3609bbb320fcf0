//! A loaded model: the equations of both stacks, bound to weights and a backend.
//!
//! Made by the server at start; run by its engine thread, and by tests. Weights, pages and workspace are three
//! things: the model is read-only, pages outlive a step, the workspace does not.

use std::ops::Range;

use kernels::{Backend, KvFormat, PageShape};

use crate::arithmetic::Arithmetic;
use crate::config::ModelConfig;
use crate::cross::{self, CrossPages};
use crate::decoder::{Decoder, DrawnTokens, TargetRows};
use crate::encoder::{Encoder, SourceRows};
use crate::error::{Error, Result};
use crate::weights::{WeightSource, Weights};
use crate::workspace::{Workspace, WorkspaceLimits, workspace_bytes};

/// A T5Gemma that can run.
pub struct Model<B: Backend> {
    pub(crate) backend: B,
    pub(crate) config: ModelConfig,
    arithmetic: Arithmetic,
    pub(crate) weights: Weights<B>,
}

impl<B: Backend> Model<B> {
    /// Packs the weights of `source`; `progress` is told the bytes of each tensor as it is done. A source that is
    /// quantised stays as it is, whatever the precision of the rest.
    ///
    /// # Errors
    /// When the backend has no memory for them, a tensor cannot be read, or the source is quantised to another scheme than
    /// the one asked for.
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

    /// What the model is.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Where it runs.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// How it computes.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// Formats of self- and cross-attention's pages.
    fn page_formats(&self) -> [KvFormat; 2] {
        [self.arithmetic.precision.into(), self.arithmetic.cross_kv]
    }

    /// Shape of a pool of `pages` pages of this model.
    pub fn page_shape(&self, pages: usize) -> PageShape {
        let decoder = &self.config.decoder;
        PageShape { pages, layers: decoder.layers, kv_heads: decoder.kv_heads, head_dim: decoder.head_dim }
    }

    /// Bytes of one page.
    pub fn page_bytes(&self) -> usize {
        self.backend.page_bytes(self.page_shape(1), &self.page_formats())
    }

    /// A pool of pages.
    ///
    /// # Errors
    /// When the backend has no memory for it.
    pub fn pages(&self, pages: usize) -> Result<B::Pages> {
        Ok(self.backend.pages(self.page_shape(pages), &self.page_formats())?)
    }

    /// Working memory for batches within `limits`.
    ///
    /// # Errors
    /// When the backend has no memory for it.
    pub fn workspace(&self, limits: WorkspaceLimits) -> Result<Workspace<B>> {
        Workspace::new(&self.backend, &self.config, limits)
    }

    /// Bytes of that memory once all of it is used.
    pub fn workspace_bytes(&self, limits: WorkspaceLimits) -> usize {
        workspace_bytes(&self.backend, &self.config, limits)
    }

    /// Runs some layers of the encoder. A batch whose layers are run in several calls must find the workspace's
    /// encoder part as the call before left it; decoder calls in between do not touch that part.
    pub fn encode(&self, sources: SourceRows<'_>, layers: Range<usize>, space: &mut Workspace<B>) {
        assert!(sources.tokens.len() <= space.limits.source_rows, "an encoder batch is larger than the workspace");
        let encoder =
            Encoder { backend: &self.backend, weights: &self.weights.encoder, precision: self.arithmetic.precision };
        encoder.run(sources, layers, &mut space.encoder);
    }

    /// Writes the cross K/V of a batch that went through every encoder layer.
    pub fn write_cross(&self, sources: CrossPages<'_>, space: &mut Workspace<B>, pages: &mut B::Pages) {
        cross::write((&self.backend, &self.weights), (sources, self.arithmetic.cross_kv), space, pages);
    }

    /// Runs one decoder step: writes the rows' self K/V to their pages and leaves their states in the workspace.
    pub fn decode(
        &self,
        rows: TargetRows<'_>,
        drawn: Option<DrawnTokens<'_, B>>,
        pages: &mut B::Pages,
        space: &mut Workspace<B>,
    ) {
        assert!(rows.tokens.len() <= space.limits.target_rows, "a decoder step is larger than the workspace");
        let [self_kv, cross_kv] = self.page_formats();
        let decoder = Decoder { backend: &self.backend, weights: &self.weights.decoder, self_kv, cross_kv };
        decoder.run(rows, drawn, pages, space);
    }

    /// The first `rows` rows of the encoder's output, `[rows, hidden]`.
    pub fn encoder_states(&self, rows: usize, space: &Workspace<B>) -> Vec<f32> {
        self.backend.download(&space.encoder.x, rows)
    }
}
