//! The configuration of a network that is trained: an encoder-decoder, a decoder-only model, or a classifier.
//!
//! Read by `training`. A network may have parts that are never served: a causal encoder, a classification head, a
//! decoder without an encoder.

use super::architecture::{Architecture, Head, Stacks};
use super::decoder_only::{DecoderConfig, read_decoder};
use super::document::ConfigDocument;
use super::encoder::EncoderConfig;
use super::encoder_decoder::{ModelConfig, read_pair};
use super::fields::Problems;
use super::special_tokens::SpecialTokens;
use super::stack::StackConfig;
use super::{labels, quantization};
use crate::error::Result;

/// A network by its architecture.
#[derive(Debug, Clone, PartialEq)]
pub enum NetworkConfig {
    /// An encoder and a decoder.
    EncoderDecoder(ModelConfig),
    /// An encoder with a classification head.
    EncoderClassifier {
        /// The encoder and its classes.
        model: EncoderConfig,
        /// The tokens of the encoder-decoder that the encoder is part of.
        tokens: SpecialTokens,
    },
    /// A decoder alone.
    DecoderOnly(DecoderConfig),
    /// A decoder alone, with a classification head in place of its output table.
    DecoderClassifier {
        /// The decoder.
        model: DecoderConfig,
        /// Names of the classes, in their order; never empty.
        labels: Vec<String>,
    },
}

impl NetworkConfig {
    /// Reads a parsed document.
    ///
    /// # Errors
    /// One error that lists every missing or unusable field, and why the model cannot be trained.
    pub fn read(document: &ConfigDocument) -> Result<Self> {
        let architecture = document.trained_architecture()?;
        let mut problems = Problems::default();
        check_trained(document, architecture, &mut problems);
        let labels = labels::written(&document.config);
        let fields = document.fields();
        let read = match (architecture.stacks, architecture.head) {
            (Stacks::EncoderDecoder, Head::Vocabulary) => read_pair(&fields, &mut problems).map(Self::EncoderDecoder),
            (Stacks::EncoderDecoder | Stacks::Encoder, _) => read_pair(&fields, &mut problems).map(|pair| {
                let tokens = pair.special_tokens();
                Self::EncoderClassifier { model: EncoderConfig { encoder: pair.encoder, labels }, tokens }
            }),
            (Stacks::Decoder, Head::Vocabulary | Head::States) => {
                read_decoder(&fields, &mut problems).map(Self::DecoderOnly)
            }
            (Stacks::Decoder, Head::Classes) => {
                read_decoder(&fields, &mut problems).map(|model| Self::DecoderClassifier { model, labels })
            }
        };
        problems.value_or_error(&document.path, read)
    }

    /// The names of the classes in their order; none without a classification head.
    pub fn labels(&self) -> &[String] {
        match self {
            Self::EncoderDecoder(_) | Self::DecoderOnly(_) => &[],
            Self::EncoderClassifier { model, .. } => &model.labels,
            Self::DecoderClassifier { labels, .. } => labels,
        }
    }

    /// The token ids with a meaning.
    pub fn special_tokens(&self) -> SpecialTokens {
        match self {
            Self::EncoderDecoder(model) => model.special_tokens(),
            Self::EncoderClassifier { tokens, .. } => tokens.clone(),
            Self::DecoderOnly(model) | Self::DecoderClassifier { model, .. } => model.special_tokens(),
        }
    }

    /// Whether the output table is a tensor of its own.
    pub fn has_own_output_table(&self) -> bool {
        match self {
            Self::EncoderDecoder(model) => !model.tie_word_embeddings,
            Self::DecoderOnly(model) => !model.tie_word_embeddings,
            Self::EncoderClassifier { .. } | Self::DecoderClassifier { .. } => false,
        }
    }

    /// The stack that reads a source.
    pub fn source_stack(&self) -> &StackConfig {
        match self {
            Self::EncoderDecoder(model) => &model.encoder,
            Self::EncoderClassifier { model, .. } => &model.encoder,
            Self::DecoderOnly(model) | Self::DecoderClassifier { model, .. } => &model.stack,
        }
    }

    /// The stack under the head.
    pub fn head_stack(&self) -> &StackConfig {
        match self {
            Self::EncoderDecoder(model) => &model.decoder,
            _ => self.source_stack(),
        }
    }
}

/// Refuses checkpoints that can be read and not trained.
fn check_trained(document: &ConfigDocument, architecture: Architecture, problems: &mut Problems) {
    let top = document.fields().top;
    if architecture.has_encoder() && top.get(quantization::FIELD).is_some() {
        problems.add(quantization::FIELD, "is there: only a checkpoint that is not quantised can be trained");
    }
    if !architecture.classifies() {
        return;
    }
    let labels = labels::written(&document.config);
    if labels.is_empty() {
        problems.add("id2label", "has no name for class 0: a classifier names its classes");
    }
    if let Some(label) = labels::named_twice(&labels) {
        problems.add("id2label", format!("names {label:?} twice"));
    }
    if architecture.stacks == Stacks::EncoderDecoder {
        problems.add("is_encoder_decoder", "is not false: only a classifier without a decoder can be trained");
    }
}
