//! The part of an architecture that opening a checkpoint depends on: how its configuration is read, which tensors it
//! calls for, and which tables it ties.
//!
//! Implemented by the configuration of each architecture; called by `open_checkpoint`.

use kernels::Scheme;

use super::names::{Spelling, TableNames};
use super::table::TensorTable;
use crate::config::{ConfigDocument, DecoderConfig, EncoderConfig, Generation, ModelConfig, NetworkConfig};
use crate::error::Result;

/// The configuration of an architecture whose checkpoints can be opened.
pub trait CheckpointConfig: Sized {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// One error that lists every missing or unusable field.
    fn read(document: &ConfigDocument) -> Result<Self>;

    /// The tensors that the configuration calls for.
    fn tensor_table(&self) -> TensorTable;

    /// The tables that the configuration ties; `None` when there is no output table, or it is a tensor of its own.
    fn tied_tables(&self) -> Option<TableNames>;

    /// The table that both stacks share, with the name that it may have in the other stack; `None` where each stack has
    /// a table.
    fn shared_table(&self) -> Option<[Spelling; 2]> {
        None
    }

    /// Makes the output table a tensor of its own.
    fn untie(&mut self);

    /// Other ways in which files may spell the names of its tensors.
    fn spellings(&self) -> &'static [Spelling] {
        Spelling::of_pair(Generation::Gemma2)
    }

    /// The scheme that the matrices are quantised to. Only an encoder-decoder may be quantised.
    fn scheme(_: &ConfigDocument) -> Option<Scheme> {
        None
    }
}

impl CheckpointConfig for ModelConfig {
    fn shared_table(&self) -> Option<[Spelling; 2]> {
        self.shares_embedding().then_some(Spelling::SHARED_TABLE)
    }

    fn spellings(&self) -> &'static [Spelling] {
        Spelling::of_pair(self.decoder.generation)
    }

    fn read(document: &ConfigDocument) -> Result<Self> {
        Self::read(document)
    }

    fn tensor_table(&self) -> TensorTable {
        TensorTable::new(self)
    }

    fn tied_tables(&self) -> Option<TableNames> {
        self.tie_word_embeddings.then(|| TableNames::encoder_decoder(self.decoder.generation))
    }

    fn untie(&mut self) {
        self.tie_word_embeddings = false;
    }

    fn scheme(document: &ConfigDocument) -> Option<Scheme> {
        document.scheme()
    }
}

impl CheckpointConfig for DecoderConfig {
    fn spellings(&self) -> &'static [Spelling] {
        Spelling::of_decoder(self.stack.generation)
    }

    fn read(document: &ConfigDocument) -> Result<Self> {
        Self::read(document)
    }

    fn tensor_table(&self) -> TensorTable {
        TensorTable::decoder_only(self)
    }

    fn tied_tables(&self) -> Option<TableNames> {
        self.tie_word_embeddings.then(TableNames::decoder_only)
    }

    fn untie(&mut self) {
        self.tie_word_embeddings = false;
    }
}

impl CheckpointConfig for EncoderConfig {
    fn spellings(&self) -> &'static [Spelling] {
        Spelling::of_encoder(self.encoder.generation)
    }

    fn read(document: &ConfigDocument) -> Result<Self> {
        Self::read(document)
    }

    fn tensor_table(&self) -> TensorTable {
        TensorTable::encoder(self)
    }

    fn tied_tables(&self) -> Option<TableNames> {
        None
    }

    fn untie(&mut self) {}
}

impl CheckpointConfig for NetworkConfig {
    fn spellings(&self) -> &'static [Spelling] {
        match self {
            Self::EncoderDecoder(_) | Self::EncoderClassifier { .. } => {
                Spelling::of_pair(self.source_stack().generation)
            }
            Self::DecoderOnly(model) | Self::DecoderClassifier { model, .. } => model.spellings(),
        }
    }

    fn shared_table(&self) -> Option<[Spelling; 2]> {
        match self {
            Self::EncoderDecoder(model) => model.shared_table(),
            Self::EncoderClassifier { .. } | Self::DecoderOnly(_) | Self::DecoderClassifier { .. } => None,
        }
    }

    fn read(document: &ConfigDocument) -> Result<Self> {
        Self::read(document)
    }

    fn tensor_table(&self) -> TensorTable {
        match self {
            Self::EncoderDecoder(model) => model.tensor_table(),
            Self::EncoderClassifier { model, .. } => model.tensor_table(),
            Self::DecoderOnly(model) => model.tensor_table(),
            Self::DecoderClassifier { model, labels } => TensorTable::decoder_classifier(&model.stack, labels.len()),
        }
    }

    fn tied_tables(&self) -> Option<TableNames> {
        match self {
            Self::EncoderDecoder(model) => model.tied_tables(),
            Self::DecoderOnly(model) => model.tied_tables(),
            Self::EncoderClassifier { .. } | Self::DecoderClassifier { .. } => None,
        }
    }

    fn untie(&mut self) {
        match self {
            Self::EncoderDecoder(model) => model.untie(),
            Self::DecoderOnly(model) => model.untie(),
            Self::EncoderClassifier { .. } | Self::DecoderClassifier { .. } => {}
        }
    }
}
