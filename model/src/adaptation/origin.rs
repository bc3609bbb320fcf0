//! Where each tensor of an encoder-decoder comes from.
//!
//! Called by `adaptation`. Knows names only.

/// One of the two sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Encoder,
    Decoder,
}

/// Where a tensor comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// It is this tensor of a source.
    Copied { side: Side, name: String },
    /// It has no counterpart.
    Random,
}

impl Origin {
    /// The origin of a tensor of T5Gemma. In a balanced pair, cross-attention and its norms are those of the layer's
    /// self-attention; in an unbalanced one, their shapes differ and there is nothing to copy.
    pub fn of(name: &str, is_balanced: bool) -> Self {
        let copied = |side, name| Self::Copied { side, name };
        if let Some(name) = name.strip_prefix("model.encoder.") {
            return copied(Side::Encoder, decoder_only_name(name));
        }
        match name.strip_prefix("model.decoder.") {
            Some(name) if name.contains("cross_attn") && !is_balanced => Self::Random,
            Some(name) => copied(Side::Decoder, decoder_only_name(&name.replace("cross_attn", "self_attn"))),
            None => copied(Side::Decoder, "lm_head.weight".to_owned()),
        }
    }

    /// The tensor whose number type a random one takes: its counterpart in self-attention, which may have another shape.
    pub fn counterpart(name: &str) -> Self {
        Self::of(name, true)
    }
}

/// Gemma 2 names the same two norms around self-attention otherwise.
fn decoder_only_name(name: &str) -> String {
    let name = name.replace("pre_self_attn_layernorm", "input_layernorm");
    format!("model.{}", name.replace("post_self_attn_layernorm", "post_attention_layernorm"))
}
