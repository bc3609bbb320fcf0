//! The parameters of a network by their purpose, found under their published names.
//!
//! Built by `parts`, read by `pass`. A tied table is one parameter in two places.

use candle_core::Var;

use crate::checkpoint::{AttentionNames, FeedForwardNames, StackNames};
use crate::config::StackConfig;

/// Layers of one width, with the embedding before them and the norm after them.
#[derive(Debug)]
pub struct Stack {
    pub config: StackConfig,
    /// Whether a token sees earlier tokens only.
    pub causal: bool,
    /// Tells the stacks of a network apart, for dropout.
    pub number: u32,
    pub embed: Var,
    pub layers: Vec<Layer>,
    pub norm: Var,
}

#[derive(Debug)]
pub struct Layer {
    pub attention: Attention,
    /// Attention over the encoder's states, in the decoder of an encoder-decoder.
    pub cross: Option<Attention>,
    pub feed_forward: FeedForward,
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
    /// The encoder of a T5Gemma, without a causal mask.
    pub fn encoder(config: &StackConfig, find: Find<'_>) -> Self {
        Self { causal: false, ..Self::find(config, StackNames::ENCODER, find) }
    }

    /// The decoder of a T5Gemma.
    pub fn decoder(config: &StackConfig, find: Find<'_>) -> Self {
        let mut stack = Self { number: 1, ..Self::find(config, StackNames::DECODER, find) };
        for (index, layer) in stack.layers.iter_mut().enumerate() {
            layer.cross = Some(Attention::find(&StackNames::DECODER.cross_attention(index), find));
        }
        stack
    }

    /// The only stack of a decoder-only Gemma 2.
    pub fn decoder_only(config: &StackConfig, find: Find<'_>) -> Self {
        Self::find(config, StackNames::DECODER_ONLY, find)
    }

    /// A causal stack without cross-attention.
    fn find(config: &StackConfig, names: StackNames, find: Find<'_>) -> Self {
        let layer = |index| Layer {
            attention: Attention::find(&names.self_attention(index), find),
            cross: None,
            feed_forward: FeedForward::find(&names.feed_forward(index), find),
        };
        let layers = (0..config.layers).map(layer).collect();
        let (embed, norm) = (find(&names.embedding()), find(&names.final_norm()));
        Self { config: config.clone(), causal: true, number: 0, embed, layers, norm }
    }

    /// Every parameter of the layers and the embedding, without the last norm.
    pub fn parameters(&self) -> impl Iterator<Item = &Var> {
        let layers = self.layers.iter().flat_map(|layer| {
            let FeedForward { norms, gate, up, down } = &layer.feed_forward;
            let attentions = [Some(&layer.attention), layer.cross.as_ref()].into_iter().flatten();
            let attentions =
                attentions.flat_map(|own| [&own.norms.pre, &own.norms.post, &own.q, &own.k, &own.v, &own.out]);
            attentions.chain([&norms.pre, &norms.post, gate, up, down])
        });
        layers.chain([&self.embed])
    }
}

impl Attention {
    fn find(names: &AttentionNames, find: Find<'_>) -> Self {
        Self {
            norms: Norms { pre: find(&names.pre_norm), post: find(&names.post_norm) },
            q: find(&names.q),
            k: find(&names.k),
            v: find(&names.v),
            out: find(&names.out),
        }
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
