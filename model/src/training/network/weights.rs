//! The parameters of a network by their purpose, found under their published names.
//!
//! Built by `parts`, read by `pass`. A tied table is one parameter in two places.

use candle_core::Var;
use kernels::Window;

use crate::checkpoint::{AttentionNames, FeedForwardNames, HeadNormNames, StackNames};
use crate::config::{Generation, StackConfig};

/// Layers of one width, with the embedding before them and the norm after them.
#[derive(Debug)]
pub struct Stack {
    pub config: StackConfig,
    /// Whether a token sees earlier tokens only.
    pub causal: bool,
    /// Tells the stacks of a network apart, for dropout.
    pub number: u32,
    pub embed: Embedding,
    pub layers: Vec<Layer>,
    pub norm: Var,
}

/// An embedding, which two stacks may share.
#[derive(Debug, Clone)]
pub struct Embedding {
    /// `[vocab, hidden]`.
    pub table: Var,
    /// The token whose row is not in the table, and its row of `[hidden]`, which is not scaled.
    pub own_row: Option<(u32, Var)>,
}

#[derive(Debug)]
pub struct Layer {
    pub attention: Attention,
    pub source: SourceAttention,
    pub feed_forward: FeedForward,
}

/// How a layer reads the encoder's states.
#[derive(Debug)]
pub enum SourceAttention {
    /// Not at all.
    None,
    /// In a sublayer of its own, as in T5Gemma.
    Apart(Attention),
    /// With the weights and under the softmax of self-attention, as in T5Gemma 2.
    Merged,
}

/// Norms before and after a sublayer.
#[derive(Debug)]
pub struct Norms {
    pub pre: Var,
    pub post: Var,
}

#[derive(Debug)]
pub struct Attention {
    pub norms: Norms,
    pub q: Var,
    pub k: Var,
    pub v: Var,
    pub out: Var,
    /// Norms of the query and key heads, where they are normed.
    pub head_norms: Option<HeadNorms>,
}

#[derive(Debug)]
pub struct HeadNorms {
    pub query: Var,
    pub key: Var,
}

#[derive(Debug)]
pub struct FeedForward {
    pub norms: Norms,
    pub gate: Var,
    pub up: Var,
    pub down: Var,
}

/// Turns states into scores.
#[derive(Debug)]
pub enum Head {
    /// Scores of the vocabulary by a table `[vocab, hidden]`.
    Vocabulary { table: Var },
    /// Scores of classes by a weight `[classes, hidden]`.
    Classes { weight: Var, bias: Option<Var> },
}

/// Gives the parameter of a name.
type Find<'a> = &'a dyn Fn(&str) -> Var;

impl Stack {
    /// The encoder of an encoder-decoder, without a causal mask.
    pub fn encoder(config: &StackConfig, find: Find<'_>) -> Self {
        let embed = Embedding::find(config, StackNames::ENCODER, find);
        Self { causal: false, ..Self::find(config, StackNames::ENCODER, embed, find) }
    }

    /// The decoder of an encoder-decoder. That of the second generation has the encoder's embedding.
    pub fn decoder(config: &StackConfig, encoder: &Self, find: Find<'_>) -> Self {
        let names = StackNames::DECODER;
        let embed = match config.generation {
            Generation::Gemma2 => Embedding::find(config, names, find),
            Generation::Gemma3 => encoder.embed.clone(),
        };
        let mut stack = Self { number: 1, ..Self::find(config, names, embed, find) };
        for (index, layer) in stack.layers.iter_mut().enumerate() {
            layer.source = match config.generation {
                Generation::Gemma2 => {
                    SourceAttention::Apart(Attention::find(&names.cross_attention(index), None, find))
                }
                Generation::Gemma3 => SourceAttention::Merged,
            };
        }
        stack
    }

    /// The only stack of a decoder-only model.
    pub fn decoder_only(config: &StackConfig, find: Find<'_>) -> Self {
        let embed = Embedding::find(config, StackNames::DECODER_ONLY, find);
        Self::find(config, StackNames::DECODER_ONLY, embed, find)
    }

    /// A causal stack that reads no source.
    fn find(config: &StackConfig, names: StackNames, embed: Embedding, find: Find<'_>) -> Self {
        let layer = |index| Layer {
            attention: Attention::find(
                &names.self_attention(index),
                config.norms_heads().then(|| HeadNorms::find(&names.head_norms(index), find)),
                find,
            ),
            source: SourceAttention::None,
            feed_forward: FeedForward::find(&names.feed_forward(index), find),
        };
        let layers = (0..config.layers).map(layer).collect();
        Self { config: config.clone(), causal: true, number: 0, embed, layers, norm: find(&names.final_norm()) }
    }

    /// Positions around its own that a token sees in a layer.
    pub fn window(&self, layer: usize) -> Window {
        if self.causal { self.config.decoder_window(layer) } else { self.config.encoder_window(layer) }
    }

    /// Every parameter of the layers and the embedding, without the last norm.
    pub fn parameters(&self) -> impl Iterator<Item = &Var> {
        let layers = self.layers.iter().flat_map(|layer| {
            let cross = match &layer.source {
                SourceAttention::Apart(cross) => Some(cross),
                SourceAttention::None | SourceAttention::Merged => None,
            };
            let FeedForward { norms, gate, up, down } = &layer.feed_forward;
            let attentions = [Some(&layer.attention), cross].into_iter().flatten();
            attentions.flat_map(Attention::parameters).chain([&norms.pre, &norms.post, gate, up, down])
        });
        layers.chain(self.embed.parameters())
    }
}

impl Embedding {
    fn find(config: &StackConfig, names: StackNames, find: Find<'_>) -> Self {
        let own_row = config.own_row_token.map(|token| (token, find(&names.own_row())));
        Self { table: find(&names.embedding()), own_row }
    }

    pub fn parameters(&self) -> impl Iterator<Item = &Var> {
        [&self.table].into_iter().chain(self.own_row.as_ref().map(|(_, row)| row))
    }
}

impl HeadNorms {
    fn find(names: &HeadNormNames, find: Find<'_>) -> Self {
        Self { query: find(&names.query), key: find(&names.key) }
    }
}

impl Attention {
    fn find(names: &AttentionNames, head_norms: Option<HeadNorms>, find: Find<'_>) -> Self {
        Self {
            norms: Norms { pre: find(&names.pre_norm), post: find(&names.post_norm) },
            q: find(&names.q),
            k: find(&names.k),
            v: find(&names.v),
            out: find(&names.out),
            head_norms,
        }
    }

    fn parameters(&self) -> impl Iterator<Item = &Var> {
        let Self { norms: Norms { pre, post }, q, k, v, out, head_norms } = self;
        let head_norms = head_norms.iter().flat_map(|HeadNorms { query, key }| [query, key]);
        [pre, post, q, k, v, out].into_iter().chain(head_norms)
    }
}

impl FeedForward {
    fn find(names: &FeedForwardNames, find: Find<'_>) -> Self {
        Self {
            norms: Norms { pre: find(&names.pre_norm), post: find(&names.post_norm) },
            gate: find(&names.gate),
            up: find(&names.up),
            down: find(&names.down),
        }
    }
}
