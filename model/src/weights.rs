//! The weights of both stacks, packed for a backend.
//!
//! Built once by [`Weights::load`]; read by `layers` and `logits`. Matrices that read the
//! same input are one: q, k, v; gate and up; the cross K and V. Each tensor is read just before it is packed and dropped
//! afterwards, so that a model is never in memory twice.

use kernels::{AttentionShape, Backend, MatrixUse, Precision, Scheme, WeightFormat, WeightPart};

use crate::arithmetic::{Arithmetic, Role};
use crate::checkpoint::TensorData;
use crate::config::{ModelConfig, StackConfig};
use crate::error::Result;
use crate::layers::{CrossAttention, DecoderAttention, DecoderLayer, EncoderLayer, FeedForward, SelfAttention, Stack};

/// Tensors by their published names.
pub trait TensorSource {
    /// What the matrices of the layers are quantised to already, by the table of [`Arithmetic`].
    fn scheme(&self) -> Option<Scheme>;
    /// Bytes of all tensors, for showing progress.
    fn total_bytes(&self) -> u64;
    /// Reads one tensor of the configuration's table.
    ///
    /// # Errors
    /// When its file cannot be read, or its numbers cannot be used.
    fn tensor(&self, name: &str) -> Result<TensorData>;
}

/// Where a model's weights come from.
pub trait WeightSource: TensorSource {
    /// What the weights are of.
    fn config(&self) -> &ModelConfig;
}

/// All weights of a model.
pub(crate) struct Weights<B: Backend> {
    pub encoder: Stack<B, EncoderLayer<B>>,
    pub decoder: Stack<B, DecoderLayer<B>>,
    /// The output table where it is not the decoder's own.
    pub output: Option<B::Matrix>,
}

impl<B: Backend> Weights<B> {
    /// Packs every tensor; `progress` is told the bytes of each as it is done.
    pub fn load(
        backend: &B,
        source: &dyn WeightSource,
        arithmetic: Arithmetic,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        let config = source.config().clone();
        let encoder = load_encoder(backend, source, (&config.encoder, arithmetic), progress)?;
        let mut loader = Loader { backend, source, arithmetic, progress };
        let tied = config.tie_word_embeddings;
        let table_use = if tied { MatrixUse::Output } else { MatrixUse::Lookup };
        let decoder = loader.stack("model.decoder", &config.decoder, table_use, |loader, prefix, layer| {
            let self_attention = loader.self_attention(prefix, &config.decoder, layer)?;
            let cross_attention = loader.cross_attention(prefix, &config.decoder)?;
            let attention = DecoderAttention::Separate { self_attention, cross_attention };
            Ok(DecoderLayer { attention, feed_forward: loader.feed_forward(prefix)? })
        })?;
        let output = if tied { None } else { Some(loader.matrix("lm_head.out_proj", &[""], MatrixUse::Output)?) };
        Ok(Self { encoder, decoder, output })
    }

    /// The matrix of the logits.
    pub fn output_table(&self) -> &B::Matrix {
        self.output.as_ref().unwrap_or(&self.decoder.table)
    }
}

/// Packs the encoder's tensors alone.
pub(crate) fn load_encoder<B: Backend>(
    backend: &B,
    source: &dyn TensorSource,
    (config, arithmetic): (&StackConfig, Arithmetic),
    progress: &mut dyn FnMut(u64),
) -> Result<Stack<B, EncoderLayer<B>>> {
    let mut loader = Loader { backend, source, arithmetic, progress };
    loader.stack("model.encoder", config, MatrixUse::Lookup, |loader, prefix, layer| {
        Ok(EncoderLayer {
            attention: loader.self_attention(prefix, config, layer)?,
            feed_forward: loader.feed_forward(prefix)?,
        })
    })
}

struct Loader<'a, B: Backend> {
    backend: &'a B,
    source: &'a dyn TensorSource,
    arithmetic: Arithmetic,
    progress: &'a mut dyn FnMut(u64),
}

impl<B: Backend> Loader<'_, B> {
    fn stack<Layer>(
        &mut self,
        prefix: &str,
        config: &StackConfig,
        table_use: MatrixUse,
        mut layer: impl FnMut(&mut Self, &str, usize) -> Result<Layer>,
    ) -> Result<Stack<B, Layer>> {
        let table = self.matrix(prefix, &[".embed_tokens"], table_use)?;
        let layers = (0..config.layers)
            .map(|index| layer(self, &format!("{prefix}.layers.{index}"), index))
            .collect::<Result<Vec<_>>>()?;
        let norm = self.gain(&format!("{prefix}.norm"))?;
        let rope = self.backend.rope_table(config.max_positions, config.head_dim, config.rope_theta)?;
        let embedding_scale = embedding_scale(config.hidden, self.arithmetic.precision);
        Ok(Stack { table, embedding_scale, eps: config.rms_norm_eps, layers, norm, rope })
    }

    fn self_attention(&mut self, prefix: &str, config: &StackConfig, layer: usize) -> Result<SelfAttention<B>> {
        let attention = format!("{prefix}.self_attn");
        Ok(SelfAttention {
            shape: attention_shape(config),
            window: config.window(layer),
            pre: self.gain(&format!("{prefix}.pre_self_attn_layernorm"))?,
            post: self.gain(&format!("{prefix}.post_self_attn_layernorm"))?,
            qkv: self.product(&attention, &[".q_proj", ".k_proj", ".v_proj"], Role::SelfAttention)?,
            out: self.product(&attention, &[".o_proj"], Role::SelfAttention)?,
        })
    }

    fn cross_attention(&mut self, prefix: &str, config: &StackConfig) -> Result<CrossAttention<B>> {
        let attention = format!("{prefix}.cross_attn");
        Ok(CrossAttention {
            shape: attention_shape(config),
            pre: self.gain(&format!("{prefix}.pre_cross_attn_layernorm"))?,
            post: self.gain(&format!("{prefix}.post_cross_attn_layernorm"))?,
            q: self.product(&attention, &[".q_proj"], Role::CrossAttention)?,
            kv: self.product(&attention, &[".k_proj", ".v_proj"], Role::CrossAttention)?,
            out: self.product(&attention, &[".o_proj"], Role::CrossAttention)?,
        })
    }

    fn feed_forward(&mut self, prefix: &str) -> Result<FeedForward<B>> {
        let mlp = format!("{prefix}.mlp");
        Ok(FeedForward {
            pre: self.gain(&format!("{prefix}.pre_feedforward_layernorm"))?,
            post: self.gain(&format!("{prefix}.post_feedforward_layernorm"))?,
            gate_up: self.product(&mlp, &[".gate_proj", ".up_proj"], Role::FeedForward)?,
            down: self.product(&mlp, &[".down_proj"], Role::FeedForward)?,
        })
    }

    /// An embedding or output table.
    fn matrix(&mut self, prefix: &str, parts: &[&str], usage: MatrixUse) -> Result<B::Matrix> {
        self.pack(prefix, parts, (self.arithmetic.format(Role::Table), usage))
    }

    /// A matrix of a layer.
    fn product(&mut self, prefix: &str, parts: &[&str], role: Role) -> Result<B::Matrix> {
        self.pack(prefix, parts, (self.arithmetic.format(role), MatrixUse::Multiply))
    }

    fn pack(&mut self, prefix: &str, parts: &[&str], (format, usage): (WeightFormat, MatrixUse)) -> Result<B::Matrix> {
        let read = |part: &&str| self.source.tensor(&format!("{prefix}{part}.weight"));
        let tensors = parts.iter().map(read).collect::<Result<Vec<_>>>()?;
        let parts: Vec<WeightPart<'_>> = tensors.iter().map(TensorData::part).collect();
        let matrix = self.backend.matrix(&parts, format, usage)?;
        (self.progress)(parts.iter().map(WeightPart::nominal_bytes).sum::<usize>() as u64);
        Ok(matrix)
    }

    fn gain(&mut self, name: &str) -> Result<B::Gain> {
        let tensor = self.source.tensor(&format!("{name}.weight"))?;
        let part = tensor.part();
        let gain = self.backend.gain(&part)?;
        (self.progress)(part.nominal_bytes() as u64);
        Ok(gain)
    }
}

/// `sqrt(hidden)`, rounded to the activations' nominal type: a model trained in bfloat16 saw it so.
fn embedding_scale(hidden: usize, precision: Precision) -> f32 {
    let scale = (hidden as f32).sqrt();
    match precision {
        Precision::F32 => scale,
        Precision::Bf16 => kernels::math::round_bf16(scale),
    }
}

/// Heads and scores of a stack's attention.
fn attention_shape(config: &StackConfig) -> AttentionShape {
    AttentionShape {
        heads: config.heads,
        kv_heads: config.kv_heads,
        head_dim: config.head_dim,
        // In double precision and rounded once, as the reference computes it.
        scale: f64::from(config.query_pre_attn_scalar).powf(-0.5) as f32,
        softcap: config.attn_softcap,
    }
}
