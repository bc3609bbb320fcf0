//! The weights of a model, read by name and packed for a backend.
//!
//! Called once, when a model is loaded. Matrices that read the same input are packed as one: q, k and v; gate and up; k
//! and v of cross-attention. Each tensor is read just before it is packed and dropped afterwards, so a model is never
//! in memory twice.

use kernels::{AttentionShape, Backend, MatrixUse, Precision, WeightFormat, WeightPart, Window};

use crate::arithmetic::{Arithmetic, Role};
use crate::checkpoint::{
    AttentionNames, FeedForwardNames, HeadNormNames, StackNames, TableNames, TensorData, TensorSource, WeightSource,
};
use crate::config::{Generation, ModelConfig, StackConfig};
use crate::error::Result;
use crate::layers::{
    CrossAttention, DecoderAttention, DecoderLayer, Embedding, EncoderLayer, FeedForward, HeadGains, OwnEmbedding,
    Ropes, SelfAttention, Stack, Tables,
};
use crate::model::layer_groups;

/// All weights of a model.
pub(crate) struct Weights<B: Backend> {
    pub tables: Tables<B>,
    pub encoder: Stack<B, EncoderLayer<B>>,
    pub decoder: Stack<B, DecoderLayer<B>>,
}

impl<B: Backend> Weights<B> {
    /// Packs every tensor; `progress` is told the bytes of each as it is done.
    pub fn load(
        backend: &B,
        source: &dyn WeightSource,
        arithmetic: Arithmetic,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        let config = source.config();
        let mut loader = Loader { backend, source, arithmetic, progress };
        let tables = loader.tables(config)?;
        let encoder = loader.encoder(&config.encoder)?;
        let decoder = loader.decoder(&config.decoder)?;
        Ok(Self { tables, encoder, decoder })
    }
}

/// A layer of a stack, and what its self-attention sees.
struct LayerView {
    layer: usize,
    window: Window,
}

/// Reads tensors from a source and packs them.
pub(crate) struct Loader<'a, B: Backend> {
    pub backend: &'a B,
    pub source: &'a dyn TensorSource,
    pub arithmetic: Arithmetic,
    /// Told the bytes of each tensor as it is done.
    pub progress: &'a mut dyn FnMut(u64),
}

impl<B: Backend> Loader<'_, B> {
    /// Packs the tables of an encoder-decoder.
    fn tables(&mut self, config: &ModelConfig) -> Result<Tables<B>> {
        let ModelConfig { encoder, decoder, tie_word_embeddings, .. } = config;
        let target = if *tie_word_embeddings { MatrixUse::Output } else { MatrixUse::Lookup };
        let (encoder, decoder) = if config.shares_embedding() {
            (self.embedding(StackNames::ENCODER, encoder, target)?, None)
        } else {
            let encoder = self.encoder_embedding(encoder)?;
            (encoder, Some(self.embedding(StackNames::DECODER, decoder, target)?))
        };
        let names = TableNames::encoder_decoder(config.decoder.generation);
        let output = (!tie_word_embeddings).then(|| self.table(names.output, MatrixUse::Output)).transpose()?;
        Ok(Tables { encoder, decoder, output })
    }

    /// Packs the embedding of an encoder that is nothing else.
    pub fn encoder_embedding(&mut self, config: &StackConfig) -> Result<Embedding<B>> {
        self.embedding(StackNames::ENCODER, config, MatrixUse::Lookup)
    }

    fn embedding(&mut self, names: StackNames, config: &StackConfig, usage: MatrixUse) -> Result<Embedding<B>> {
        let table = self.table(&names.embedding(), usage)?;
        let own = match config.own_row_token {
            None => None,
            Some(id) => Some(OwnEmbedding { id, row: self.table(&names.own_row(), MatrixUse::Lookup)? }),
        };
        let scale = embedding_scale(config.hidden, self.arithmetic.precision);
        Ok(Embedding { table, scale, own })
    }

    /// Packs the encoder's layers.
    pub fn encoder(&mut self, config: &StackConfig) -> Result<Stack<B, EncoderLayer<B>>> {
        let names = StackNames::ENCODER;
        self.stack(names, config, |loader, layer| {
            let window = config.encoder_window(layer);
            Ok(EncoderLayer {
                is_wide: config.sees_most(layer),
                attention: loader.self_attention(names, config, LayerView { layer, window })?,
                feed_forward: loader.feed_forward(&names.feed_forward(layer))?,
            })
        })
    }

    fn decoder(&mut self, config: &StackConfig) -> Result<Stack<B, DecoderLayer<B>>> {
        let (names, groups) = (StackNames::DECODER, layer_groups(self.backend, config));
        self.stack(names, config, |loader, layer| {
            let view = LayerView { layer, window: config.decoder_window(layer) };
            let self_attention = loader.self_attention(names, config, view)?;
            let attention = match config.generation {
                Generation::Gemma2 => {
                    let cross_attention = loader.cross_attention(&names.cross_attention(layer), config)?;
                    DecoderAttention::Separate { self_attention, cross_attention }
                }
                Generation::Gemma3 => DecoderAttention::Merged(self_attention),
            };
            let feed_forward = loader.feed_forward(&names.feed_forward(layer))?;
            Ok(DecoderLayer { attention, feed_forward, place: groups.place(layer) })
        })
    }

    fn stack<Layer>(
        &mut self,
        names: StackNames,
        config: &StackConfig,
        mut layer: impl FnMut(&mut Self, usize) -> Result<Layer>,
    ) -> Result<Stack<B, Layer>> {
        let layers = (0..config.layers).map(|index| layer(self, index)).collect::<Result<Vec<_>>>()?;
        let norm = self.gain(&names.final_norm())?;
        Ok(Stack { eps: config.rms_norm_eps, layers, norm, ropes: Ropes::new(self.backend, config)? })
    }

    fn self_attention(&mut self, names: StackNames, config: &StackConfig, view: LayerView) -> Result<SelfAttention<B>> {
        let LayerView { layer, window } = view;
        let norms = match config.norms_heads() {
            false => None,
            true => {
                let HeadNormNames { query, key } = names.head_norms(layer);
                Some(HeadGains { query: self.gain(&query)?, key: self.gain(&key)? })
            }
        };
        let names = names.self_attention(layer);
        Ok(SelfAttention {
            shape: attention_shape(config),
            window,
            kind: config.layer_kinds[layer],
            norms,
            pre: self.gain(&names.pre_norm)?,
            post: self.gain(&names.post_norm)?,
            qkv: self.product(&[&names.q, &names.k, &names.v], Role::SelfAttention)?,
            out: self.product(&[&names.out], Role::SelfAttention)?,
        })
    }

    fn cross_attention(&mut self, names: &AttentionNames, config: &StackConfig) -> Result<CrossAttention<B>> {
        Ok(CrossAttention {
            shape: attention_shape(config),
            pre: self.gain(&names.pre_norm)?,
            post: self.gain(&names.post_norm)?,
            q: self.product(&[&names.q], Role::CrossAttention)?,
            kv: self.product(&[&names.k, &names.v], Role::CrossAttention)?,
            out: self.product(&[&names.out], Role::CrossAttention)?,
        })
    }

    fn feed_forward(&mut self, names: &FeedForwardNames) -> Result<FeedForward<B>> {
        let format = self.arithmetic.format(Role::FeedForward);
        Ok(FeedForward {
            pre: self.gain(&names.pre_norm)?,
            post: self.gain(&names.post_norm)?,
            gate_up: self.pack(&[&names.gate, &names.up], format, MatrixUse::Gated)?,
            down: self.product(&[&names.down], Role::FeedForward)?,
        })
    }

    /// Packs an embedding or output table.
    fn table(&mut self, name: &str, usage: MatrixUse) -> Result<B::Matrix> {
        self.pack(&[name], self.arithmetic.format(Role::Table), usage)
    }

    /// Packs matrices of a layer that read the same input, one below the other.
    fn product(&mut self, names: &[&str], role: Role) -> Result<B::Matrix> {
        self.pack(names, self.arithmetic.format(role), MatrixUse::Multiply)
    }

    fn pack(&mut self, names: &[&str], format: WeightFormat, usage: MatrixUse) -> Result<B::Matrix> {
        let tensors = names.iter().map(|name| self.source.tensor(name)).collect::<Result<Vec<_>>>()?;
        let parts: Vec<WeightPart<'_>> = tensors.iter().map(TensorData::part).collect();
        let matrix = self.backend.matrix(&parts, format, usage)?;
        (self.progress)(parts.iter().map(WeightPart::nominal_bytes).sum::<usize>() as u64);
        Ok(matrix)
    }

    fn gain(&mut self, name: &str) -> Result<B::Gain> {
        let tensor = self.source.tensor(name)?;
        let part = tensor.part();
        let gain = self.backend.gain(&part)?;
        (self.progress)(part.nominal_bytes() as u64);
        Ok(gain)
    }
}

/// `sqrt(hidden)`, rounded to the type of the activations, as the model saw it in training.
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
