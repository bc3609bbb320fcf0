//! One pass through the stacks, after the block diagrams of the layers.
//!
//! Called by `loss`, `gradients` and `generate`. The same code runs with and without a graph, with and without dropout.

use candle_core::{DType, Tensor, Var};
use kernels::Window;

use super::dropout::DropoutOptions;
use super::rows::Ragged;
use super::weights::{Attention, FeedForward, Layer, Norms, SourceAttention, Stack};
use super::{Head, Network};
use crate::training::Result;
use crate::training::ops::{self, TableGradient};

/// Context of a pass for every layer.
pub struct Pass<'a> {
    network: &'a Network,
    /// Whether gradients are wanted afterwards.
    has_graph: bool,
    dropout: Option<DropoutOptions>,
    /// Takes the gradient of a table that both stacks and the output share.
    table_gradient: Option<TableGradient>,
}

/// The encoder's states, for the decoder's layers.
pub struct Source<'a> {
    /// States `[source tokens, hidden]`.
    pub states: Tensor,
    /// Tokens of each row.
    pub lengths: &'a [usize],
}

/// Sites of dropout. Each has its own masks in each layer.
#[derive(Clone, Copy)]
enum Site {
    Embedding,
    SelfAttention,
    SelfResidual,
    CrossAttention,
    CrossResidual,
    Product,
    Residual,
    Output,
    Classifier,
}

impl<'a> Pass<'a> {
    /// A pass without gradients.
    pub fn plain(network: &'a Network) -> Self {
        Self { network, has_graph: false, dropout: None, table_gradient: None }
    }

    /// A pass with a graph for gradients.
    pub fn training(network: &'a Network, dropout: Option<DropoutOptions>) -> Self {
        Self { network, has_graph: true, dropout, table_gradient: None }
    }

    /// [`Self::training`], with the gradient of a shared table beside the graph.
    pub fn summing(network: &'a Network, dropout: Option<DropoutOptions>) -> Self {
        let table_gradient = network.shares_table().then(TableGradient::default);
        Self { table_gradient, ..Self::training(network, dropout) }
    }

    /// The gradient of a shared table beside the graph, for the operations that use it.
    pub fn table_gradient(&self) -> Option<&TableGradient> {
        self.table_gradient.as_ref()
    }

    /// A pass with the numbers of [`Self::training`], without a graph.
    pub fn rehearsal(network: &'a Network, dropout: Option<DropoutOptions>) -> Self {
        Self { network, has_graph: false, dropout, table_gradient: None }
    }

    /// The encoder's final-normed states, if there is an encoder.
    pub fn encode<'r>(&self, sources: Option<&'r Ragged>) -> Result<Option<Source<'r>>> {
        let (Some(encoder), Some(sources)) = (&self.network.encoder, sources) else { return Ok(None) };
        let states = self.finish(encoder, &self.stack(encoder, sources, None)?)?;
        Ok(Some(Source { states, lengths: &sources.lengths }))
    }

    /// All layers of a stack, before its last norm.
    pub fn stack(&self, stack: &Stack, rows: &Ragged, source: Option<&Source<'_>>) -> Result<Tensor> {
        let embedded = self.embed(stack, &rows.ids)?;
        (0..stack.layers.len()).try_fold(embedded, |x, index| self.layer(stack, index, &x, &rows.lengths, source))
    }

    /// `drop(E[ids] * sqrt(hidden))`, the factor rounded to the activations' type. A token with a row of its own has
    /// that row, without the factor.
    pub fn embed(&self, stack: &Stack, ids: &[u32]) -> Result<Tensor> {
        let table = self.master(&stack.embed.table);
        let scale = (stack.config.hidden as f64).sqrt();
        let embedded = match self.network.options.compute {
            DType::F32 => ops::embed(&table, ids, scale, self.table_gradient())?,
            compute => ops::embed(&table, ids, 1.0, None)?.to_dtype(compute)?.affine(scale, 0.0)?,
        };
        let embedded = match &stack.embed.own_row {
            Some((token, row)) => ops::with_row(&embedded, &self.weight(row)?, ids.iter().map(|id| id == token))?,
            None => embedded,
        };
        self.drop(stack, 0, Site::Embedding, embedded)
    }

    /// `drop(norm(x))`.
    pub fn finish(&self, stack: &Stack, x: &Tensor) -> Result<Tensor> {
        let normed = ops::rms_norm(x, &self.master(&stack.norm), stack.config.rms_norm_eps)?;
        self.drop(stack, 0, Site::Output, normed)
    }

    /// `x += self_attention(x); x += cross_attention(x, source); x += feed_forward(x)`, each between two norms, or with
    /// merged attention `x += attention(x, source); x += feed_forward(x)`.
    pub fn layer(
        &self,
        stack: &Stack,
        index: usize,
        x: &Tensor,
        lengths: &[usize],
        source: Option<&Source<'_>>,
    ) -> Result<Tensor> {
        let Layer { attention, source: reading, feed_forward } = &stack.layers[index];
        let at = LayerIndex { stack, index };
        let mut x = self.sublayer(at, &attention.norms, Site::SelfResidual, x, |x| match (reading, source) {
            (SourceAttention::Merged, Some(source)) => self.attend_merged(at, attention, x, lengths, source),
            _ => self.attend_self(at, attention, x, lengths),
        })?;
        if let (SourceAttention::Apart(cross), Some(source)) = (reading, source) {
            x = self.sublayer(at, &cross.norms, Site::CrossResidual, &x, |x| {
                self.attend_source(at, cross, x, lengths, source)
            })?;
        }
        self.sublayer(at, &feed_forward.norms, Site::Residual, &x, |x| self.feed_forward(at, feed_forward, x))
    }

    /// `x + drop(post(f(pre(x))))`.
    fn sublayer(
        &self,
        at: LayerIndex<'_>,
        norms: &Norms,
        site: Site,
        x: &Tensor,
        f: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let eps = at.stack.config.rms_norm_eps;
        let y = f(&ops::rms_norm(x, &self.master(&norms.pre), eps)?)?;
        let y = ops::rms_norm(&y, &self.master(&norms.post), eps)?;
        Ok((x + self.drop(at.stack, at.index, site, y)?)?)
    }

    /// `out(attend(rope(norm(q(x))), rope(norm(k(x))), v(x)))`; the heads of a Gemma 2 are not normed.
    fn attend_self(&self, at: LayerIndex<'_>, own: &Attention, x: &Tensor, lengths: &[usize]) -> Result<Tensor> {
        let (q, k, v) = (self.queries(at, own, x)?, self.keys(at, own, x)?, self.linear(x, &own.v)?);
        self.linear(&ops::attention(&q, &k, &v, &self.within(at, lengths))?, &own.out)
    }

    /// `out(attend(rope(norm(q(x))), [rope(norm(k(x))) | norm(k(source))], [v(x) | v(source)]))`, under one softmax.
    fn attend_merged(
        &self,
        at: LayerIndex<'_>,
        own: &Attention,
        x: &Tensor,
        lengths: &[usize],
        source: &Source<'_>,
    ) -> Result<Tensor> {
        let both = Tensor::cat(&[x, &source.states], 0)?;
        let (q, k, v) = (self.queries(at, own, x)?, self.keys(at, own, &both)?, self.linear(&both, &own.v)?);
        let how = ops::Attention { source_keys: source.lengths.to_vec(), ..self.within(at, lengths) };
        self.linear(&ops::attention(&q, &k, &v, &how)?, &own.out)
    }

    /// `out(attend(q(x), k(source), v(source)))`, without positions or window.
    fn attend_source(
        &self,
        at: LayerIndex<'_>,
        own: &Attention,
        x: &Tensor,
        lengths: &[usize],
        source: &Source<'_>,
    ) -> Result<Tensor> {
        let (k, v) = (self.linear(&source.states, &own.k)?, self.linear(&source.states, &own.v)?);
        let how = self.everywhere(at, Site::CrossAttention, lengths, source.lengths);
        self.linear(&ops::attention(&self.linear(x, &own.q)?, &k, &v, &how)?, &own.out)
    }

    /// `norm(q(x))`.
    fn queries(&self, at: LayerIndex<'_>, own: &Attention, x: &Tensor) -> Result<Tensor> {
        self.heads(at, self.linear(x, &own.q)?, own.head_norms.as_ref().map(|norms| &norms.query))
    }

    /// `norm(k(x))`.
    fn keys(&self, at: LayerIndex<'_>, own: &Attention, x: &Tensor) -> Result<Tensor> {
        self.heads(at, self.linear(x, &own.k)?, own.head_norms.as_ref().map(|norms| &norms.key))
    }

    fn heads(&self, at: LayerIndex<'_>, x: Tensor, norm: Option<&Var>) -> Result<Tensor> {
        match norm {
            Some(norm) => ops::head_norm(&x, &self.master(norm), at.stack.config.rms_norm_eps),
            None => Ok(x),
        }
    }

    /// `down(drop(gelu(gate(x)) * up(x)))`.
    fn feed_forward(&self, at: LayerIndex<'_>, own: &FeedForward, x: &Tensor) -> Result<Tensor> {
        let product = ops::geglu(x, &self.weight(&own.gate)?, &self.weight(&own.up)?)?;
        self.linear(&self.drop(at.stack, at.index, Site::Product, product)?, &own.down)
    }

    /// Self-attention of a layer: rotated, within its window.
    fn within(&self, at: LayerIndex<'_>, lengths: &[usize]) -> ops::Attention {
        let config = &at.stack.config;
        ops::Attention {
            window: at.stack.window(at.index),
            rope: Some(config.ropes.of(config.layer_kinds[at.index])),
            ..self.everywhere(at, Site::SelfAttention, lengths, lengths)
        }
    }

    /// Attention in which every query sees every key of its row.
    fn everywhere(&self, at: LayerIndex<'_>, site: Site, queries: &[usize], keys: &[usize]) -> ops::Attention {
        let config = &at.stack.config;
        ops::Attention {
            queries: queries.to_vec(),
            keys: keys.to_vec(),
            source_keys: Vec::new(),
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            scale: config.query_pre_attn_scalar.powf(-0.5),
            softcap: config.attn_softcap,
            window: Window::default(),
            rope: None,
            dropout: self.dropout.and_then(|own| own.mask(own.attention, at.key(site))),
        }
    }

    /// `[rows, classes]` float32 scores of a classifier's states.
    pub fn classes(&self, states: &Tensor, weight: &Var, bias: Option<&Var>) -> Result<Tensor> {
        let at = LayerIndex { stack: &self.network.main, index: 0 };
        let states = match self.dropout.and_then(|own| own.mask(own.classifier, at.key(Site::Classifier))) {
            Some(dropout) => ops::dropout(states, dropout)?,
            None => states.clone(),
        };
        let scores = self.linear(&states, weight)?;
        let scores = match bias {
            Some(bias) => scores.broadcast_add(&self.weight(bias)?)?,
            None => scores,
        };
        Ok(scores.to_dtype(DType::F32)?)
    }

    /// `[rows, vocab]` float32 soft-capped logits of states, or the scores of a classifier's.
    pub fn scores(&self, states: &Tensor) -> Result<Tensor> {
        let table = match &self.network.head {
            Head::Classes { weight, bias } => return self.classes(states, weight, bias.as_ref()),
            Head::Vocabulary { table } => table,
        };
        let logits = self.linear(states, table)?.to_dtype(DType::F32)?;
        Ok(match self.network.main.config.final_softcap.map(f64::from) {
            Some(cap) => logits.affine(1.0 / cap, 0.0)?.tanh()?.affine(cap, 0.0)?,
            None => logits,
        })
    }

    fn linear(&self, x: &Tensor, weight: &Var) -> Result<Tensor> {
        ops::linear(x, &self.weight(weight)?)
    }

    /// A weight in the number type of the product.
    pub fn weight(&self, weight: &Var) -> Result<Tensor> {
        Ok(self.master(weight).to_dtype(self.network.options.compute)?)
    }

    /// The float32 weight, with its gradient if that is wanted.
    fn master(&self, weight: &Var) -> Tensor {
        let is_trained = self.has_graph && !self.network.frozen.contains(&weight.id());
        if is_trained { weight.as_tensor().clone() } else { weight.as_detached_tensor() }
    }

    fn drop(&self, stack: &Stack, index: usize, site: Site, x: Tensor) -> Result<Tensor> {
        match self.dropout.and_then(|own| own.mask(own.hidden, LayerIndex { stack, index }.key(site))) {
            Some(dropout) => ops::dropout(&x, dropout),
            None => Ok(x),
        }
    }
}

/// A layer of a stack.
#[derive(Clone, Copy)]
struct LayerIndex<'a> {
    stack: &'a Stack,
    index: usize,
}

impl LayerIndex<'_> {
    fn key(self, site: Site) -> [u32; 3] {
        [self.stack.number, self.index as u32, site as u32]
    }
}
