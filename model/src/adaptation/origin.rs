//! The tensor of a decoder-only model from which each tensor of an encoder-decoder comes.
//!
//! Called by `adaptation`. Knows names only.

use std::collections::HashMap;
use std::iter::zip;

use crate::checkpoint::{HeadNormNames, StackNames, TableNames};
use crate::config::{ModelConfig, StackConfig};

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
    /// It is the embedding of a token: its row of a source's table, scaled.
    Embedding { table: SourceTensor, token: u32 },
    /// It is zero, in the number type of a source's table.
    Zero { like: SourceTensor },
}

/// How cross-attention begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CrossAttentionStart {
    /// Copied from the layer's self-attention, with its norms. Both stacks have the same shape.
    SelfAttention,
    /// Drawn at random: the shapes of the stacks differ, so there is nothing to copy.
    Random,
    /// The weights of self-attention are those of cross-attention as well: the decoder attends to both at once.
    Merged,
}

/// The origin of every tensor of an encoder-decoder, by name.
#[derive(Debug, Default)]
pub(super) struct Origins(HashMap<String, Origin>);

impl Origins {
    pub fn new(config: &ModelConfig, cross_attention: CrossAttentionStart) -> Self {
        let mut origins = Self::default();
        origins.copy_layers(StackNames::ENCODER, Side::Encoder, &config.encoder);
        origins.copy_layers(StackNames::DECODER, Side::Decoder, &config.decoder);
        if cross_attention == CrossAttentionStart::Merged {
            origins.copy_one_table(&config.encoder);
            return origins;
        }
        let table = StackNames::DECODER_ONLY.embedding();
        origins.copy(StackNames::ENCODER.embedding(), Side::Encoder, &table);
        origins.copy(StackNames::DECODER.embedding(), Side::Decoder, &table);
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
                    CrossAttentionStart::Random | CrossAttentionStart::Merged => Origin::Random { like: source },
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

    /// The one table of both stacks and the output, and the vector of the token that has one of its own: what the token
    /// was embedded as before. A vocabulary that ends before that token has never been embedded so.
    fn copy_one_table(&mut self, encoder: &StackConfig) {
        let table = SourceTensor { side: Side::Decoder, name: StackNames::DECODER_ONLY.embedding() };
        let own = match encoder.own_row_token {
            Some(token) => Origin::Embedding { table: table.clone(), token },
            None => Origin::Zero { like: table.clone() },
        };
        self.0.insert(StackNames::ENCODER.own_row(), own);
        self.0.insert(StackNames::ENCODER.embedding(), Origin::Copied(table));
    }

    fn copy_layers(&mut self, own: StackNames, side: Side, stack: &StackConfig) {
        let other = StackNames::DECODER_ONLY;
        self.copy(own.final_norm(), side, &other.final_norm());
        for layer in 0..stack.layers {
            if stack.norms_heads() {
                let (HeadNormNames { query, key }, others) = (own.head_norms(layer), other.head_norms(layer));
                self.copy(query, side, &others.query);
                self.copy(key, side, &others.key);
            }
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
            Self::Copied(source)
            | Self::Random { like: source }
            | Self::Embedding { table: source, .. }
            | Self::Zero { like: source } => source,
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
    fn a_pair_with_merged_attention_has_one_table_and_the_embedding_of_the_end_of_an_image() {
        let config = shape("2-270m").unwrap();
        let origins = Origins::new(&config, CrossAttentionStart::Merged);
        let table = TensorTable::new(&config);
        assert_eq!(table.iter().count(), origins.0.len());
        let embedding = SourceTensor { side: Side::Decoder, name: "model.embed_tokens.weight".to_owned() };
        for (name, origin) in [
            ("model.encoder.embed_tokens.weight", Origin::Copied(embedding.clone())),
            ("model.encoder.embed_tokens.eoi_embedding", Origin::Embedding { table: embedding, token: 256_000 }),
            (
                "model.encoder.layers.3.self_attn.q_norm.weight",
                copied(Side::Encoder, "model.layers.3.self_attn.q_norm.weight"),
            ),
            (
                "model.decoder.layers.3.self_attn.k_norm.weight",
                copied(Side::Decoder, "model.layers.3.self_attn.k_norm.weight"),
            ),
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
