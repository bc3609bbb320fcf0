//! The stacks and the head of a network, over its parameters.
//!
//! Built by `network` once every parameter exists.

use std::collections::BTreeMap;

use candle_core::Var;

use super::weights::{Head, Stack};
use crate::checkpoint::{ClassHeadNames, TableNames};
use crate::config::NetworkConfig;

/// The parameters of a network by their purpose.
pub struct Parts {
    /// The stack whose states the other one reads.
    pub encoder: Option<Stack>,
    /// The stack under the head.
    pub main: Stack,
    pub head: Head,
}

impl Parts {
    /// Finds the parameters that a configuration requires.
    ///
    /// # Panics
    /// When one is missing: the parameters are those of the same configuration's table of tensors.
    pub fn find(config: &NetworkConfig, parameters: &BTreeMap<String, Var>) -> Self {
        let parameter = |name: &str| {
            let found = parameters.get(name);
            found.unwrap_or_else(|| panic!("{name} is not in the table of the network's tensors")).clone()
        };
        let classes =
            |names: ClassHeadNames| Head::Classes { weight: parameter(names.weight), bias: names.bias.map(parameter) };
        let vocabulary = |main: &Stack, names: TableNames, is_tied| {
            let table = if is_tied { main.embed.table.clone() } else { parameter(names.output) };
            Head::Vocabulary { table }
        };
        match config {
            NetworkConfig::EncoderDecoder(model) => {
                let encoder = Stack::encoder(&model.encoder, &parameter);
                let main = Stack::decoder(&model.decoder, &encoder, &parameter);
                let head =
                    vocabulary(&main, TableNames::encoder_decoder(model.decoder.generation), model.tie_word_embeddings);
                Self { encoder: Some(encoder), main, head }
            }
            NetworkConfig::EncoderClassifier { model, .. } => {
                let main = Stack::encoder(&model.encoder, &parameter);
                Self { encoder: None, main, head: classes(ClassHeadNames::ENCODER) }
            }
            NetworkConfig::DecoderOnly(model) => {
                let main = Stack::decoder_only(&model.stack, &parameter);
                let head = vocabulary(&main, TableNames::decoder_only(), model.tie_word_embeddings);
                Self { encoder: None, main, head }
            }
            NetworkConfig::DecoderClassifier { model, .. } => {
                let main = Stack::decoder_only(&model.stack, &parameter);
                Self { encoder: None, main, head: classes(ClassHeadNames::DECODER) }
            }
        }
    }
}
