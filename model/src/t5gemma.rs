//! A loaded model: the equations of both stacks, bound to weights and a backend.
//!
//! Made by the server at start; run by its engine thread, and by tests. Weights, pages and workspace are three
//! things: the model is read-only, pages outlive a step, the workspace does not.

use std::ops::Range;

use kernels::{Backend, Candidate, Draw, PageShape, PageSpan, Precision};

use crate::config::{ModelConfig, StackConfig};
use crate::cross::{self, CrossPages};
use crate::decoder::{Decoder, TargetRows};
use crate::encoder::{Encoder, SourceRows};
use crate::error::Result;
use crate::weights::{WeightSource, Weights};
use crate::workspace::{Workspace, WorkspaceLimits};

/// A T5Gemma that can run.
pub struct Model<B: Backend> {
    backend: B,
    config: ModelConfig,
    precision: Precision,
    weights: Weights<B>,
}

impl<B: Backend> Model<B> {
    /// Packs the weights of `source`; `progress` is told the bytes of each tensor as it is done.
    ///
    /// # Errors
    /// When the backend has no memory for them.
    pub fn load(
        backend: B,
        source: &dyn WeightSource,
        precision: Precision,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        let weights = Weights::load(&backend, source, precision, progress)?;
        Ok(Self { backend, config: source.config().clone(), precision, weights })
    }

    /// What the model is.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Where it runs.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Its arithmetic.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Shape of a pool of `pages` pages of this model.
    pub fn page_shape(&self, pages: usize) -> PageShape {
        let decoder = &self.config.decoder;
        PageShape { pages, layers: decoder.layers, kv_heads: decoder.kv_heads, head_dim: decoder.head_dim }
    }

    /// Bytes of one page.
    pub fn page_bytes(&self) -> usize {
        self.backend.page_bytes(self.page_shape(1), self.precision)
    }

    /// A pool of pages.
    ///
    /// # Errors
    /// When the backend has no memory for it.
    pub fn pages(&self, pages: usize) -> Result<B::Pages> {
        Ok(self.backend.pages(self.page_shape(pages), self.precision)?)
    }

    /// Working memory for batches within `limits`.
    ///
    /// # Errors
    /// When the backend has no memory for it.
    pub fn workspace(&self, limits: WorkspaceLimits) -> Result<Workspace<B>> {
        Workspace::new(&self.backend, &self.config, limits)
    }

    /// Runs some layers of the encoder. A batch whose layers are run in several calls must find the workspace's
    /// encoder part as the call before left it; decoder calls in between do not touch that part.
    pub fn encode(&self, sources: SourceRows<'_>, layers: Range<usize>, space: &mut Workspace<B>) {
        assert!(sources.tokens.len() <= space.limits.source_rows, "an encoder batch is larger than the workspace");
        let encoder = Encoder {
            backend: &self.backend,
            weights: &self.weights.encoder,
            config: &self.config.encoder,
            precision: self.precision,
            embedding_scale: self.embedding_scale(&self.config.encoder),
        };
        encoder.run(sources, layers, &mut space.encoder);
    }

    /// Writes the cross K/V of a batch that went through every encoder layer. `ends` is scratch room.
    pub fn write_cross(
        &self,
        sources: CrossPages<'_>,
        space: &mut Workspace<B>,
        pages: &mut B::Pages,
        ends: &mut Vec<PageSpan>,
    ) {
        cross::write(&self.backend, &self.weights, sources, space, (pages, ends));
    }

    /// Runs one decoder step: writes the rows' self K/V to their pages and leaves their states in the workspace.
    pub fn decode(&self, rows: TargetRows<'_>, pages: &mut B::Pages, space: &mut Workspace<B>) {
        assert!(rows.tokens.len() <= space.limits.target_rows, "a decoder step is larger than the workspace");
        let decoder = Decoder {
            backend: &self.backend,
            weights: &self.weights.decoder,
            config: &self.config.decoder,
            embedding_scale: self.embedding_scale(&self.config.decoder),
        };
        decoder.run(rows, pages, space);
    }

    /// Computes the soft-capped logits of the given rows of the last step, in their order.
    pub fn logits(&self, rows: &[u32], space: &mut Workspace<B>) {
        assert!(rows.len() <= space.limits.logits_rows, "more logits are wanted than the workspace holds");
        self.backend.gather(&space.decoder.x, rows, &mut space.selected);
        let cap = self.config.decoder.final_softcap;
        self.backend.logits(&space.selected, self.weights.output_table(), cap, rows.len(), &mut space.logits);
    }

    /// Draws ids from the last logits (`None` where they are not numbers); `draws` count rows as [`Self::logits`] was given them.
    pub fn sample(&self, draws: &[Draw], space: &Workspace<B>, out: &mut Vec<Option<u32>>) {
        self.backend.sample(&space.logits, draws, &self.config.end_tokens, out);
    }

    /// Log-probability of `id` in a row of the last logits, and of the `top` best ids.
    pub fn log_probs(&self, row: usize, id: u32, top: usize, space: &Workspace<B>) -> (Candidate, Vec<Candidate>) {
        self.backend.log_probs(&space.logits, row, id, top)
    }

    /// The first `rows` rows of the encoder's output, `[rows, hidden]`.
    pub fn encoder_states(&self, rows: usize, space: &Workspace<B>) -> Vec<f32> {
        self.backend.download(&space.encoder.x, rows)
    }

    /// The first `rows` rows of the last logits, `[rows, vocab]`.
    pub fn read_logits(&self, rows: usize, space: &Workspace<B>) -> Vec<f32> {
        self.backend.download(&space.logits, rows)
    }

    /// `sqrt(hidden)`, rounded to the activations' nominal type: a model trained in bfloat16 saw it so.
    fn embedding_scale(&self, stack: &StackConfig) -> f32 {
        let scale = (stack.hidden as f32).sqrt();
        match self.precision {
            Precision::F32 => scale,
            Precision::Bf16 => kernels::math::round_bf16(scale),
        }
    }
}
