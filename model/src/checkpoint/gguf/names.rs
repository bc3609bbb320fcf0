//! The names of a Gemma's tensors in GGUF files, beside those in transformers.
//!
//! Asked by `file`.

/// Parts of a layer: in transformers, in GGUF.
const LAYER_PARTS: [(&str, &str); 13] = [
    ("input_layernorm", "attn_norm"),
    ("post_attention_layernorm", "post_attention_norm"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// The embedding table.
pub(super) const EMBEDDING: &str = "token_embd.weight";
/// The output table, where it is not the embedding table.
pub(super) const OUTPUT: &str = "output.weight";

/// The name in GGUF of a tensor of a decoder-only Gemma; `None` for a tensor that the format does not know.
pub(super) fn in_gguf(name: &str) -> Option<String> {
    match name {
        "model.embed_tokens.weight" => return Some(EMBEDDING.to_owned()),
        "model.norm.weight" => return Some("output_norm.weight".to_owned()),
        "lm_head.weight" => return Some(OUTPUT.to_owned()),
        _ => {}
    }
    let (layer, part) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let part = part.strip_suffix(".weight")?;
    let (_, own) = LAYER_PARTS.iter().find(|(other, _)| *other == part)?;
    Some(format!("blk.{layer}.{own}.weight"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::StackNames;

    #[test]
    fn every_tensor_of_a_layer_has_a_name() {
        let names = StackNames::DECODER_ONLY;
        let attention = names.self_attention(11).into_all();
        let all = attention.iter().chain(&names.feed_forward(11).into_all()).map(|name| in_gguf(name)).collect();
        let expected = [
            "attn_q",
            "attn_k",
            "attn_v",
            "attn_output",
            "attn_norm",
            "post_attention_norm",
            "ffn_gate",
            "ffn_up",
            "ffn_down",
            "ffn_norm",
            "post_ffw_norm",
        ];
        let all: Option<Vec<String>> = all;
        assert_eq!(all.unwrap(), expected.map(|part| format!("blk.11.{part}.weight")));
        assert_eq!(in_gguf(&names.embedding()).as_deref(), Some(EMBEDDING));
        assert_eq!(in_gguf("model.layers.0.cross_attn.q_proj.weight"), None);
    }
}
