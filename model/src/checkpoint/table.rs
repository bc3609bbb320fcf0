//! The one table of a checkpoint's tensors: the name and shape of each, from the configuration alone.
//!
//! Read by `checkpoint` to check files and by whoever makes weights. A tensor that is not here is not read.

use crate::arithmetic::Role;
use crate::config::{ClassifierConfig, DecoderConfig, ModelConfig, StackConfig};

/// Names and shapes of all tensors of a configuration, in the order of the computation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorTable {
    tensors: Vec<TableEntry>,
}

/// One tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableEntry {
    pub name: String,
    pub shape: Vec<usize>,
    pub role: Role,
}

impl TensorTable {
    /// The tensors that this configuration calls for. Matrices are `[output, input]`, norms `[hidden]`; the output
    /// table is only there when it is not tied to the decoder's embedding table.
    pub fn new(config: &ModelConfig) -> Self {
        let mut table = Self { tensors: Vec::new() };
        table.add_stack("model.encoder", &config.encoder, None);
        table.add_stack("model.decoder", &config.decoder, Some(config.encoder.hidden));
        if !config.tie_word_embeddings {
            let shape = [config.decoder.vocab, config.decoder.hidden];
            table.add("lm_head.out_proj.weight".to_owned(), Role::Table, &shape);
        }
        table
    }

    /// The tensors of a decoder-only Gemma 2, under their published names; the output table as above.
    pub fn decoder_only(config: &DecoderConfig) -> Self {
        let stack = &config.stack;
        let hidden = stack.hidden;
        let mut table = Self { tensors: Vec::new() };
        table.add("model.embed_tokens.weight".to_owned(), Role::Table, &[stack.vocab, hidden]);
        for layer in 0..stack.layers {
            let layer = format!("model.layers.{layer}");
            table.add_attention((&format!("{layer}.self_attn"), Role::SelfAttention), stack, hidden);
            table.add_feed_forward(&layer, stack);
            for norm in ["input", "post_attention", "pre_feedforward", "post_feedforward"] {
                table.add(format!("{layer}.{norm}_layernorm.weight"), Role::Norm, &[hidden]);
            }
        }
        table.add("model.norm.weight".to_owned(), Role::Norm, &[hidden]);
        if !config.tie_word_embeddings {
            table.add("lm_head.weight".to_owned(), Role::Table, &[stack.vocab, hidden]);
        }
        table
    }

    /// The tensors of an encoder that classifies: those of the encoder, and a head with a bias.
    pub fn classifier(config: &ClassifierConfig) -> Self {
        let mut table = Self { tensors: Vec::new() };
        table.add_stack("model.encoder", &config.encoder, None);
        table.add("score.out_proj.weight".to_owned(), Role::Table, &[config.labels.len(), config.encoder.hidden]);
        table.add("score.out_proj.bias".to_owned(), Role::Norm, &[config.labels.len()]);
        table
    }

    /// Tensors that are stored as they are, by name and shape.
    pub(crate) fn listed(tensors: &[(String, Vec<usize>)]) -> Self {
        let mut table = Self { tensors: Vec::new() };
        tensors.iter().for_each(|(name, shape)| table.add(name.clone(), Role::Table, shape));
        table
    }

    /// Every name with its shape.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|entry| (entry.name.as_str(), entry.shape.as_slice()))
    }

    /// Every tensor with what it is for.
    pub(crate) fn entries(&self) -> &[TableEntry] {
        &self.tensors
    }

    /// `source_width` is the encoder's width, for a stack with cross-attention.
    fn add_stack(&mut self, prefix: &str, stack: &StackConfig, source_width: Option<usize>) {
        let hidden = stack.hidden;
        self.add(format!("{prefix}.embed_tokens.weight"), Role::Table, &[stack.vocab, hidden]);
        for layer in 0..stack.layers {
            let layer = format!("{prefix}.layers.{layer}");
            self.add_attention((&format!("{layer}.self_attn"), Role::SelfAttention), stack, hidden);
            self.add_norms(&layer, "self_attn", hidden);
            if let Some(source_width) = source_width {
                self.add_attention((&format!("{layer}.cross_attn"), Role::CrossAttention), stack, source_width);
                self.add_norms(&layer, "cross_attn", hidden);
            }
            self.add_feed_forward(&layer, stack);
            self.add_norms(&layer, "feedforward", hidden);
        }
        self.add(format!("{prefix}.norm.weight"), Role::Norm, &[hidden]);
    }

    /// Queries come from the stack itself, keys and values from rows of `source_width`.
    fn add_attention(&mut self, (prefix, role): (&str, Role), stack: &StackConfig, source_width: usize) {
        self.add(format!("{prefix}.q_proj.weight"), role, &[stack.query_width(), stack.hidden]);
        self.add(format!("{prefix}.k_proj.weight"), role, &[stack.kv_width(), source_width]);
        self.add(format!("{prefix}.v_proj.weight"), role, &[stack.kv_width(), source_width]);
        self.add(format!("{prefix}.o_proj.weight"), role, &[stack.hidden, stack.query_width()]);
    }

    fn add_feed_forward(&mut self, layer: &str, stack: &StackConfig) {
        let (hidden, intermediate) = (stack.hidden, stack.intermediate);
        self.add(format!("{layer}.mlp.gate_proj.weight"), Role::FeedForward, &[intermediate, hidden]);
        self.add(format!("{layer}.mlp.up_proj.weight"), Role::FeedForward, &[intermediate, hidden]);
        self.add(format!("{layer}.mlp.down_proj.weight"), Role::FeedForward, &[hidden, intermediate]);
    }

    fn add_norms(&mut self, layer: &str, part: &str, hidden: usize) {
        self.add(format!("{layer}.pre_{part}_layernorm.weight"), Role::Norm, &[hidden]);
        self.add(format!("{layer}.post_{part}_layernorm.weight"), Role::Norm, &[hidden]);
    }

    fn add(&mut self, name: String, role: Role, shape: &[usize]) {
        self.tensors.push(TableEntry { name, shape: shape.to_vec(), role });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::{SHAPES, shape};

    #[test]
    fn the_table_of_every_published_shape_holds_its_parameters() {
        for name in SHAPES {
            let config = shape(name).unwrap();
            let numbers: u64 = TensorTable::new(&config).iter().map(|(_, shape)| numbers_of(shape)).sum();
            assert_eq!(numbers, config.parameters(), "{name}");
        }
    }

    #[test]
    fn an_untied_output_table_is_a_tensor_of_its_own() {
        let mut config = shape("9b-2b").unwrap();
        config.tie_word_embeddings = false;
        let table = TensorTable::new(&config);
        let (name, shape) = table.iter().last().unwrap();
        assert_eq!((name, shape), ("lm_head.out_proj.weight", &[256_000, 2304][..]));
        assert_eq!(table.iter().map(|(_, shape)| numbers_of(shape)).sum::<u64>(), config.parameters());
    }

    #[test]
    fn cross_attention_of_an_unbalanced_pair_reads_the_encoders_width() {
        let table = TensorTable::new(&shape("9b-2b").unwrap());
        let shape_of = |wanted: &str| table.iter().find(|(name, _)| *name == wanted).unwrap().1;
        assert_eq!(shape_of("model.decoder.layers.25.cross_attn.k_proj.weight"), [1024, 3584]);
        assert_eq!(shape_of("model.decoder.layers.25.cross_attn.q_proj.weight"), [2048, 2304]);
        assert_eq!(shape_of("model.decoder.layers.25.cross_attn.o_proj.weight"), [2304, 2048]);
    }

    fn numbers_of(shape: &[usize]) -> u64 {
        shape.iter().map(|&size| size as u64).product()
    }
}
