//! The names of a checkpoint's tensors: the one place that spells them.
//!
//! Used by the table of tensors, by the loading and the training of weights, and by adaptation. A stack names its
//! sublayers; the caller knows which of them a layer has.

use crate::config::Generation;

/// Part of the names of an image tower's tensors.
pub(crate) const VISION_TOWER: &str = "vision_tower.";
/// Part of the names of the tensors between an image tower and the encoder.
pub(super) const PROJECTOR: &str = "multi_modal_projector.";
/// Parts of the names of tensors that are known and not read: those for images, those that other programs compute from
/// the configuration, and the second of the vectors that a T5Gemma 2 has once.
const KNOWN_PARTS: [&str; 5] = [VISION_TOWER, PROJECTOR, "rotary_emb.", ".position_ids", "embed_tokens.eoi_embedding"];

/// Part of a layer that names cross-attention and, with more around it, its norms.
const CROSS_ATTENTION: &str = "cross_attn";

/// Names of the tensors of one stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StackNames {
    prefix: &'static str,
    self_attention_norms: NormNames,
}

/// Names of the norms before and after a sublayer, inside their layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NormNames {
    pre: &'static str,
    post: &'static str,
}

/// Names of an attention sublayer's tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AttentionNames {
    pub pre_norm: String,
    pub post_norm: String,
    pub q: String,
    pub k: String,
    pub v: String,
    pub out: String,
}

/// Names of the norms of query and key heads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeadNormNames {
    pub query: String,
    pub key: String,
}

/// Another way in which files spell the names that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spelling {
    /// Beginning as it is spelled here.
    pub usual: &'static str,
    /// Beginning in its place.
    pub other: &'static str,
}

/// Names of a gated MLP's tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FeedForwardNames {
    pub pre_norm: String,
    pub post_norm: String,
    pub gate: String,
    pub up: String,
    pub down: String,
}

/// Names of the embedding table and of the output table, which are one tensor where a configuration ties them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableNames {
    /// The embedding table of the stack under the head.
    pub embedding: String,
    /// The output table.
    pub output: &'static str,
}

/// Names of a classification head's tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClassHeadNames {
    pub weight: &'static str,
    pub bias: Option<&'static str>,
}

impl StackNames {
    /// The encoder of a T5Gemma.
    pub const ENCODER: Self = Self { prefix: "model.encoder", self_attention_norms: NormNames::T5GEMMA };
    /// The decoder of a T5Gemma.
    pub const DECODER: Self = Self { prefix: "model.decoder", self_attention_norms: NormNames::T5GEMMA };
    /// The only stack of a decoder-only Gemma 2 or 3.
    pub const DECODER_ONLY: Self = Self { prefix: "model", self_attention_norms: NormNames::GEMMA2 };

    /// Beginning of all its names, without the dot.
    pub(super) const fn prefix(self) -> &'static str {
        self.prefix
    }

    /// The embedding table.
    pub fn embedding(self) -> String {
        format!("{}.embed_tokens.weight", self.prefix)
    }

    /// The vector of the one token whose embedding is not in the table.
    pub fn own_row(self) -> String {
        format!("{}.embed_tokens.eoi_embedding", self.prefix)
    }

    /// The norm after the last layer.
    pub fn final_norm(self) -> String {
        format!("{}.norm.weight", self.prefix)
    }

    /// Self-attention of a layer.
    pub fn self_attention(self, layer: usize) -> AttentionNames {
        self.attention(layer, "self_attn", self.self_attention_norms)
    }

    /// Norms of the query and key heads of a layer.
    pub fn head_norms(self, layer: usize) -> HeadNormNames {
        HeadNormNames { query: self.weight(layer, "self_attn.q_norm"), key: self.weight(layer, "self_attn.k_norm") }
    }

    /// Cross-attention of a layer.
    pub fn cross_attention(self, layer: usize) -> AttentionNames {
        self.attention(layer, CROSS_ATTENTION, NormNames::CROSS_ATTENTION)
    }

    /// The gated MLP of a layer.
    pub fn feed_forward(self, layer: usize) -> FeedForwardNames {
        let NormNames { pre, post } = NormNames::FEED_FORWARD;
        FeedForwardNames {
            pre_norm: self.weight(layer, pre),
            post_norm: self.weight(layer, post),
            gate: self.weight(layer, "mlp.gate_proj"),
            up: self.weight(layer, "mlp.up_proj"),
            down: self.weight(layer, "mlp.down_proj"),
        }
    }

    fn attention(self, layer: usize, part: &str, norms: NormNames) -> AttentionNames {
        let projection = |name: &str| self.weight(layer, &format!("{part}.{name}_proj"));
        AttentionNames {
            pre_norm: self.weight(layer, norms.pre),
            post_norm: self.weight(layer, norms.post),
            q: projection("q"),
            k: projection("k"),
            v: projection("v"),
            out: projection("o"),
        }
    }

    fn weight(self, layer: usize, part: &str) -> String {
        format!("{}.layers.{layer}.{part}.weight", self.prefix)
    }
}

impl NormNames {
    const T5GEMMA: Self = Self { pre: "pre_self_attn_layernorm", post: "post_self_attn_layernorm" };
    const GEMMA2: Self = Self { pre: "input_layernorm", post: "post_attention_layernorm" };
    const CROSS_ATTENTION: Self = Self { pre: "pre_cross_attn_layernorm", post: "post_cross_attn_layernorm" };
    const FEED_FORWARD: Self = Self { pre: "pre_feedforward_layernorm", post: "post_feedforward_layernorm" };
}

impl AttentionNames {
    /// Every name, in an order that is the same for every attention sublayer.
    pub fn into_all(self) -> [String; 6] {
        [self.q, self.k, self.v, self.out, self.pre_norm, self.post_norm]
    }
}

impl FeedForwardNames {
    /// Every name, in an order that is the same for every gated MLP.
    pub fn into_all(self) -> [String; 5] {
        [self.gate, self.up, self.down, self.pre_norm, self.post_norm]
    }
}

impl TableNames {
    /// The tables of an encoder-decoder.
    pub fn encoder_decoder(generation: Generation) -> Self {
        let embedding = match generation {
            Generation::Gemma2 => StackNames::DECODER.embedding(),
            Generation::Gemma3 => StackNames::ENCODER.embedding(),
        };
        Self { embedding, output: "lm_head.out_proj.weight" }
    }

    /// The tables of a decoder-only Gemma 2 or 3.
    pub fn decoder_only() -> Self {
        Self { embedding: StackNames::DECODER_ONLY.embedding(), output: "lm_head.weight" }
    }
}

impl Spelling {
    /// The table that both stacks of a T5Gemma 2 share, named as the encoder's and as the decoder's. The decoder's name
    /// may lack its outer module.
    pub const SHARED_TABLE: [Self; 2] = [
        Self { usual: "model.encoder.embed_tokens.weight", other: "model.decoder.embed_tokens.weight" },
        Self { usual: "model.encoder.embed_tokens.weight", other: "decoder.embed_tokens.weight" },
    ];

    /// Spellings of an encoder-decoder's names: some writers leave the outer module away, and transformers puts the
    /// layers of a T5Gemma 2's encoder beside its image tower.
    pub const fn of_pair(generation: Generation) -> &'static [Self] {
        match generation {
            Generation::Gemma2 => &[Self { usual: "model.", other: "" }],
            Generation::Gemma3 => &[
                Self { usual: "model.", other: "" },
                Self { usual: "model.encoder.", other: "model.encoder.text_model." },
                Self { usual: "model.encoder.", other: "encoder.text_model." },
                Self { usual: "model.encoder.embed_tokens.", other: "model.decoder.embed_tokens." },
                Self { usual: "model.encoder.embed_tokens.", other: "decoder.embed_tokens." },
            ],
        }
    }

    /// Spellings of a decoder-only model's names. A Gemma 3 with images has the text model beside its tower.
    pub const fn of_decoder(generation: Generation) -> &'static [Self] {
        match generation {
            Generation::Gemma2 => &[Self { usual: "model.", other: "" }],
            Generation::Gemma3 => &[
                Self { usual: "model.", other: "" },
                Self { usual: "model.", other: "model.language_model." },
                Self { usual: "model.", other: "language_model.model." },
                Self { usual: "model.", other: "language_model." },
                Self { usual: "lm_head.", other: "language_model.lm_head." },
            ],
        }
    }

    /// Spellings of an encoder's names. One that was saved by itself does not know what it was part of.
    pub const fn of_encoder(generation: Generation) -> &'static [Self] {
        match generation {
            Generation::Gemma2 => &[
                Self { usual: "model.", other: "" },
                Self { usual: "model.encoder.", other: "" },
                Self { usual: "model.encoder.", other: "model." },
            ],
            Generation::Gemma3 => &[
                Self { usual: "model.", other: "" },
                Self { usual: "model.encoder.", other: "" },
                Self { usual: "model.encoder.", other: "model.encoder.text_model." },
                Self { usual: "model.encoder.", other: "encoder.text_model." },
                Self { usual: "model.encoder.", other: "text_model." },
                Self { usual: "model.encoder.", other: "model." },
                Self { usual: "model.encoder.", other: "model.text_model." },
            ],
        }
    }
}

impl ClassHeadNames {
    /// The head over an encoder.
    pub const ENCODER: Self = Self { weight: "score.out_proj.weight", bias: Some("score.out_proj.bias") };
    /// The head over a decoder alone.
    pub const DECODER: Self = Self { weight: "score.weight", bias: None };

    /// Whether a tensor belongs to this head.
    pub fn contains(&self, name: &str) -> bool {
        name == self.weight || Some(name) == self.bias
    }
}

/// Whether a tensor is one that checkpoints have beside those that are read.
pub(super) fn is_known_beside(name: &str) -> bool {
    KNOWN_PARTS.iter().any(|part| name.contains(part))
}

/// Whether a tensor belongs to cross-attention, as one of its matrices or norms.
pub(crate) fn is_cross_attention(name: &str) -> bool {
    name.contains(CROSS_ATTENTION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_names_its_tensors_as_published() {
        let names = StackNames::DECODER;
        assert_eq!(names.embedding(), "model.decoder.embed_tokens.weight");
        assert_eq!(names.final_norm(), "model.decoder.norm.weight");
        let cross = names.cross_attention(3);
        assert_eq!(cross.k, "model.decoder.layers.3.cross_attn.k_proj.weight");
        assert_eq!(cross.out, "model.decoder.layers.3.cross_attn.o_proj.weight");
        assert_eq!(cross.post_norm, "model.decoder.layers.3.post_cross_attn_layernorm.weight");
        let feed_forward = StackNames::ENCODER.feed_forward(0);
        assert_eq!(feed_forward.down, "model.encoder.layers.0.mlp.down_proj.weight");
        assert_eq!(feed_forward.pre_norm, "model.encoder.layers.0.pre_feedforward_layernorm.weight");
    }

    #[test]
    fn both_families_name_the_norms_of_self_attention_in_their_own_way() {
        let pair = StackNames::ENCODER.self_attention(1);
        assert_eq!(pair.pre_norm, "model.encoder.layers.1.pre_self_attn_layernorm.weight");
        let single = StackNames::DECODER_ONLY.self_attention(1);
        assert_eq!(single.pre_norm, "model.layers.1.input_layernorm.weight");
        assert_eq!(single.post_norm, "model.layers.1.post_attention_layernorm.weight");
        assert_eq!(single.q, "model.layers.1.self_attn.q_proj.weight");
    }

    #[test]
    fn a_class_head_knows_its_tensors() {
        assert!(ClassHeadNames::ENCODER.contains("score.out_proj.bias"));
        assert!(!ClassHeadNames::DECODER.contains("score.out_proj.weight"));
    }
}
