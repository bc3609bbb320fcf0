//! The tensor of a decoder-only model from which each tensor of an encoder-decoder comes.
//!
//! Called by `adaptation`. Knows names only.

use std::collections::HashMap;
use std::iter::zip;

use crate::checkpoint::{StackNames, TableNames};
use crate::config::ModelConfig;

/// One of the two sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Encoder,
    Decoder,
}

/// A tensor of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceTensor {
    pub side: Side,
    pub name: String,
}

/// Where a tensor of the encoder-decoder comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// It is a copy of a source's tensor.
    Copied(SourceTensor),
    /// It is drawn at random, in the number type of its counterpart in self-attention, which may have another shape.
    Random { like: SourceTensor },
}

/// How cross-attention begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CrossAttentionStart {
    /// Copied from the layer's self-attention, with its norms. Both stacks have the same shape.
    SelfAttention,
    /// Drawn at random: the shapes of the stacks differ, so there is nothing to copy.
    Random,
}

/// The origin of every tensor of an encoder-decoder, by name.
#[derive(Debug, Default)]
pub(super) struct Origins(HashMap<String, Origin>);

impl Origins {
    pub fn new(config: &ModelConfig, cross_attention: CrossAttentionStart) -> Self {
        let mut origins = Self::default();
        origins.copy_stack(StackNames::ENCODER, Side::Encoder, config.encoder.layers);
        origins.copy_stack(StackNames::DECODER, Side::Decoder, config.decoder.layers);
        origins.copy(
            TableNames::encoder_decoder(config.decoder.generation).output.to_owned(),
            Side::Decoder,
            TableNames::decoder_only().output,
        );
        for layer in 0..config.decoder.layers {
            let own = StackNames::DECODER.cross_attention(layer).into_all();
            let others = StackNames::DECODER_ONLY.self_attention(layer).into_all();
            for (name, other) in zip(own, others) {
                let source = SourceTensor { side: Side::Decoder, name: other };
                let origin = match cross_attention {
                    CrossAttentionStart::SelfAttention => Origin::Copied(source),
                    CrossAttentionStart::Random => Origin::Random { like: source },
                };
                origins.0.insert(name, origin);
            }
        }
        origins
    }

    /// The origin of a tensor of the encoder-decoder's table.
    pub fn of(&self, name: &str) -> &Origin {
        self.0.get(name).expect("every tensor of an encoder-decoder has an origin")
    }

    fn copy_stack(&mut self, own: StackNames, side: Side, layers: usize) {
        let other = StackNames::DECODER_ONLY;
        self.copy(own.embedding(), side, &other.embedding());
        self.copy(own.final_norm(), side, &other.final_norm());
        for layer in 0..layers {
            let attention = (own.self_attention(layer).into_all(), other.self_attention(layer).into_all());
            let feed_forward = (own.feed_forward(layer).into_all(), other.feed_forward(layer).into_all());
            zip(attention.0, attention.1).for_each(|(own, other)| self.copy(own, side, &other));
            zip(feed_forward.0, feed_forward.1).for_each(|(own, other)| self.copy(own, side, &other));
        }
    }

    fn copy(&mut self, name: String, side: Side, other: &str) {
        self.0.insert(name, Origin::Copied(SourceTensor { side, name: other.to_owned() }));
    }
}

impl Origin {
    /// The tensor of a source that gives the number type.
    pub fn source(&self) -> &SourceTensor {
        match self {
            Self::Copied(source) | Self::Random { like: source } => source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::TensorTable;
    use crate::shapes::shape;

    fn copied(side: Side, name: &str) -> Origin {
        Origin::Copied(SourceTensor { side, name: name.to_owned() })
    }

    #[test]
    fn every_tensor_of_a_balanced_pair_is_copied_and_cross_attention_from_self_attention() {
        let mut config = shape("s-s").unwrap();
        config.tie_word_embeddings = false;
        let origins = Origins::new(&config, CrossAttentionStart::SelfAttention);
        let table = TensorTable::new(&config);
        assert!(table.iter().all(|(name, _)| matches!(origins.of(name), Origin::Copied(_))));
        assert_eq!(table.iter().count(), origins.0.len());
        for (name, origin) in [
            ("model.encoder.norm.weight", copied(Side::Encoder, "model.norm.weight")),
            ("model.decoder.embed_tokens.weight", copied(Side::Decoder, "model.embed_tokens.weight")),
            (
                "model.encoder.layers.3.pre_self_attn_layernorm.weight",
                copied(Side::Encoder, "model.layers.3.input_layernorm.weight"),
            ),
            (
                "model.decoder.layers.3.cross_attn.v_proj.weight",
                copied(Side::Decoder, "model.layers.3.self_attn.v_proj.weight"),
            ),
            (
                "model.decoder.layers.3.post_cross_attn_layernorm.weight",
                copied(Side::Decoder, "model.layers.3.post_attention_layernorm.weight"),
            ),
            ("lm_head.out_proj.weight", copied(Side::Decoder, "lm_head.weight")),
        ] {
            assert_eq!(*origins.of(name), origin, "{name}");
        }
    }

    #[test]
    fn cross_attention_of_an_unbalanced_pair_is_random_in_the_number_type_of_self_attention() {
        let origins = Origins::new(&shape("9b-2b").unwrap(), CrossAttentionStart::Random);
        let like = SourceTensor { side: Side::Decoder, name: "model.layers.7.self_attn.k_proj.weight".to_owned() };
        assert_eq!(*origins.of("model.decoder.layers.7.cross_attn.k_proj.weight"), Origin::Random { like });
        let random = origins.0.values().filter(|origin| matches!(origin, Origin::Random { .. })).count();
        assert_eq!(random, 26 * 6);
    }
}
