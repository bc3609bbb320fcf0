//! The parameters of a network by what they are for, found under their published names.
//!
//! Built by `blueprint`, read by `pass`. A tied table is one parameter in two places.

use std::collections::BTreeMap;

use candle_core::Var;

use crate::config::StackConfig;

/// Layers of one width, with what comes before and after.
#[derive(Debug)]
pub struct Stack {
    pub config: StackConfig,
    /// Whether a token sees earlier ones only.
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
    /// Over the encoder's states, where there is an encoder.
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

/// What turns a state into scores.
#[derive(Debug)]
pub enum Head {
    /// Of the vocabulary, `[vocab, hidden]`.
    Vocabulary { table: Var },
    /// Of classes, `[classes, hidden]`.
    Classes { weight: Var, bias: Option<Var> },
}

/// How a stack's tensors are called.
pub struct Names {
    prefix: &'static str,
    number: u32,
    self_attention_norms: (&'static str, &'static str),
    has_cross: bool,
}

impl Names {
    const T5GEMMA_NORMS: (&'static str, &'static str) = ("pre_self_attn_layernorm", "post_self_attn_layernorm");

    pub const ENCODER: Self =
        Self { prefix: "model.encoder", number: 0, self_attention_norms: Self::T5GEMMA_NORMS, has_cross: false };
    pub const DECODER: Self =
        Self { prefix: "model.decoder", number: 1, self_attention_norms: Self::T5GEMMA_NORMS, has_cross: true };
    pub const DECODER_ONLY: Self = Self {
        prefix: "model",
        number: 0,
        self_attention_norms: ("input_layernorm", "post_attention_layernorm"),
        has_cross: false,
    };
}

impl Stack {
    /// Finds a stack's weights.
    ///
    /// # Panics
    /// When one is missing: whoever made the weights went through the table of the same configuration.
    pub fn new(config: StackConfig, names: &Names, causal: bool, parameters: &BTreeMap<String, Var>) -> Self {
        let prefix = names.prefix;
        let layers = (0..config.layers)
            .map(|index| {
                let found = Found { parameters, prefix: format!("{prefix}.layers.{index}.") };
                let cross_norms = ("pre_cross_attn_layernorm", "post_cross_attn_layernorm");
                Layer {
                    attention: found.attention("self_attn", names.self_attention_norms),
                    cross: names.has_cross.then(|| found.attention("cross_attn", cross_norms)),
                    feed_forward: found.feed_forward(),
                }
            })
            .collect();
        let found = Found { parameters, prefix: format!("{prefix}.") };
        let (embed, norm) = (found.weight("embed_tokens"), found.weight("norm"));
        Self { config, causal, number: names.number, embed, layers, norm }
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

impl Head {
    /// The head among the weights; the embedding table where the output is tied to it.
    pub fn find(parameters: &BTreeMap<String, Var>, under: &Stack) -> Self {
        let find = |name: &str| parameters.get(name).cloned();
        if let Some(weight) = find("score.out_proj.weight").or_else(|| find("score.weight")) {
            return Self::Classes { weight, bias: find("score.out_proj.bias") };
        }
        let own = find("lm_head.out_proj.weight").or_else(|| find("lm_head.weight"));
        Self::Vocabulary { table: own.unwrap_or_else(|| under.embed.clone()) }
    }
}

/// Weights under one prefix.
struct Found<'a> {
    parameters: &'a BTreeMap<String, Var>,
    prefix: String,
}

impl Found<'_> {
    fn weight(&self, name: &str) -> Var {
        let name = format!("{}{name}.weight", self.prefix);
        self.parameters
            .get(&name)
            .unwrap_or_else(|| panic!("{name} is not in the table of the stack's tensors"))
            .clone()
    }

    fn norms(&self, (pre, post): (&str, &str)) -> Norms {
        Norms { pre: self.weight(pre), post: self.weight(post) }
    }

    fn attention(&self, name: &str, norms: (&str, &str)) -> Attention {
        let weight = |part: &str| self.weight(&format!("{name}.{part}_proj"));
        Attention { norms: self.norms(norms), q: weight("q"), k: weight("k"), v: weight("v"), out: weight("o") }
    }

    fn feed_forward(&self) -> FeedForward {
        FeedForward {
            norms: self.norms(("pre_feedforward_layernorm", "post_feedforward_layernorm")),
            gate: self.weight("mlp.gate_proj"),
            up: self.weight("mlp.up_proj"),
            down: self.weight("mlp.down_proj"),
        }
    }
}
