//! The table of a checkpoint's tensors: the name, shape and role of each, from the configuration alone.
//!
//! Read by `checkpoint` to check files and by everything that makes weights. A tensor that is not in it is not read.

use super::names::{AttentionNames, ClassHeadNames, FeedForwardNames, HeadNormNames, StackNames, TableNames};
use crate::arithmetic::Role;
use crate::config::{DecoderConfig, EncoderConfig, ModelConfig, StackConfig};

/// Names and shapes of all tensors of a configuration, in the order of the computation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorTable {
    tensors: Vec<TableEntry>,
}

/// One tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableEntry {
    pub name: String,
    /// `[output, input]` of a matrix, `[width]` of a norm or a bias.
    pub shape: Vec<usize>,
    pub role: Role,
}

impl TableEntry {
    /// Rows and columns; a norm is one row.
    pub fn rows_and_cols(&self) -> (usize, usize) {
        match self.shape[..] {
            [rows, cols] => (rows, cols),
            _ => (1, self.shape.iter().product()),
        }
    }
}

impl TensorTable {
    /// The tensors of an encoder-decoder, with an output table only when it is not tied to the decoder's embedding
    /// table.
    pub fn new(config: &ModelConfig) -> Self {
        let mut table = Self { tensors: Vec::new() };
        table.add_stack(StackNames::ENCODER, &config.encoder);
        if config.shares_embedding() {
            table.add_layers(StackNames::DECODER, &config.decoder, None);
        } else {
            table.add_embedding(StackNames::DECODER, &config.decoder);
            table.add_layers(StackNames::DECODER, &config.decoder, Some(config.encoder.hidden));
        }
        if !config.tie_word_embeddings {
            table.add_output_table(&TableNames::encoder_decoder(config.decoder.generation), &config.decoder);
        }
        table
    }

    /// The tensors of a decoder-only model, with an output table only when it is not tied to the embedding table.
    pub fn decoder_only(config: &DecoderConfig) -> Self {
        let mut table = Self { tensors: Vec::new() };
        table.add_stack(StackNames::DECODER_ONLY, &config.stack);
        if !config.tie_word_embeddings {
            table.add_output_table(&TableNames::decoder_only(), &config.stack);
        }
        table
    }

    /// The tensors of an encoder alone, with a classification head if it has classes.
    pub fn encoder(config: &EncoderConfig) -> Self {
        let mut table = Self { tensors: Vec::new() };
        table.add_stack(StackNames::ENCODER, &config.encoder);
        if !config.labels.is_empty() {
            table.add_class_head(ClassHeadNames::ENCODER, config.labels.len(), &config.encoder);
        }
        table
    }

    /// The tensors of a decoder that tells `classes` classes apart.
    pub fn decoder_classifier(decoder: &StackConfig, classes: usize) -> Self {
        let mut table = Self { tensors: Vec::new() };
        table.add_stack(StackNames::DECODER_ONLY, decoder);
        table.add_class_head(ClassHeadNames::DECODER, classes, decoder);
        table
    }

    /// Every name with its shape.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|entry| (entry.name.as_str(), entry.shape.as_slice()))
    }

    /// Every tensor with its role.
    pub(crate) fn entries(&self) -> &[TableEntry] {
        &self.tensors
    }

    /// Adds a stack without cross-attention.
    fn add_stack(&mut self, names: StackNames, stack: &StackConfig) {
        self.add_embedding(names, stack);
        self.add_layers(names, stack, None);
    }

    fn add_embedding(&mut self, names: StackNames, stack: &StackConfig) {
        self.add(names.embedding(), Role::Table, &[stack.vocab, stack.hidden]);
        if stack.own_row_token.is_some() {
            self.add(names.own_row(), Role::Table, &[stack.hidden]);
        }
    }

    /// Adds the layers and the final norm. `source_width` is the width of the states that cross-attention reads, in a
    /// stack that has it.
    fn add_layers(&mut self, names: StackNames, stack: &StackConfig, source_width: Option<usize>) {
        let hidden = stack.hidden;
        for layer in 0..stack.layers {
            let attention = Attention { stack, role: Role::SelfAttention, source_width: hidden };
            self.add_attention(names.self_attention(layer), &attention);
            if stack.norms_heads() {
                let HeadNormNames { query, key } = names.head_norms(layer);
                self.add(query, Role::Norm, &[stack.head_dim]);
                self.add(key, Role::Norm, &[stack.head_dim]);
            }
            if let Some(source_width) = source_width {
                let attention = Attention { stack, role: Role::CrossAttention, source_width };
                self.add_attention(names.cross_attention(layer), &attention);
            }
            self.add_feed_forward(names.feed_forward(layer), stack);
        }
        self.add(names.final_norm(), Role::Norm, &[hidden]);
    }

    fn add_attention(&mut self, names: AttentionNames, attention: &Attention<'_>) {
        let &Attention { stack, role, source_width } = attention;
        self.add(names.q, role, &[stack.query_width(), stack.hidden]);
        self.add(names.k, role, &[stack.kv_width(), source_width]);
        self.add(names.v, role, &[stack.kv_width(), source_width]);
        self.add(names.out, role, &[stack.hidden, stack.query_width()]);
        self.add(names.pre_norm, Role::Norm, &[stack.hidden]);
        self.add(names.post_norm, Role::Norm, &[stack.hidden]);
    }

    fn add_feed_forward(&mut self, names: FeedForwardNames, stack: &StackConfig) {
        let (hidden, intermediate) = (stack.hidden, stack.intermediate);
        self.add(names.gate, Role::FeedForward, &[intermediate, hidden]);
        self.add(names.up, Role::FeedForward, &[intermediate, hidden]);
        self.add(names.down, Role::FeedForward, &[hidden, intermediate]);
        self.add(names.pre_norm, Role::Norm, &[hidden]);
        self.add(names.post_norm, Role::Norm, &[hidden]);
    }

    fn add_output_table(&mut self, names: &TableNames, stack: &StackConfig) {
        self.add(names.output.to_owned(), Role::Table, &[stack.vocab, stack.hidden]);
    }

    fn add_class_head(&mut self, names: ClassHeadNames, classes: usize, stack: &StackConfig) {
        self.add(names.weight.to_owned(), Role::Table, &[classes, stack.hidden]);
        if let Some(bias) = names.bias {
            self.add(bias.to_owned(), Role::Norm, &[classes]);
        }
    }

    fn add(&mut self, name: String, role: Role, shape: &[usize]) {
        self.tensors.push(TableEntry { name, shape: shape.to_vec(), role });
    }
}

/// The shape of an attention sublayer: queries come from the stack itself, keys and values from rows of `source_width`.
struct Attention<'a> {
    stack: &'a StackConfig,
    role: Role,
    source_width: usize,
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
