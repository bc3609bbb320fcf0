//! The configuration of an encoder-decoder: what is served.
//!
//! Read by `checkpoint` or made by `shapes`; used all over this crate and by the server.

use std::path::Path;

use super::architecture::{Architecture, Generation};
use super::document::{
    CAUSAL_ENCODER, ConfigDocument, DocumentFields, PAIRS, T5GEMMA, T5GEMMA2, check_model_type, names_classifier,
};
use super::encoder_fields::{EncoderFields, layer_fields, read_encoder};
use super::fields::{Fields, Problems, brief};
use super::quantization;
use super::special_tokens::SpecialTokens;
use super::stack::StackConfig;
use super::stack_fields::{StackFields, check_storage_type, quiet_vocab, read_stack};
use crate::error::Result;

/// An encoder-decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The stack that reads the source.
    pub encoder: StackConfig,
    /// The stack that writes the target.
    pub decoder: StackConfig,
    /// Whether the output table is the decoder's embedding table.
    pub tie_word_embeddings: bool,
    /// First token of every target.
    pub start_token: u32,
    /// Tokens that end a text; never empty.
    pub end_tokens: Vec<u32>,
    /// Token that fills padded batches in other programs; never produced here.
    pub pad_token: u32,
    /// Token that opens a text.
    pub bos_token: u32,
}

/// Longest sequences that a model will be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PositionLimits {
    /// Tokens of a source.
    pub source_tokens: usize,
    /// Tokens of a target.
    pub target_tokens: usize,
}

impl ModelConfig {
    /// Reads the texts of `config.json` and, where there is one, `generation_config.json`, whose end and start tokens
    /// win. Both published dialects are understood (`rope_theta` or `rope_parameters`, `torch_dtype` or `dtype`).
    ///
    /// # Errors
    /// One error that lists every missing or unusable field; `path` is the file it names.
    pub fn from_json(path: &Path, config: &[u8], generation: Option<&[u8]>) -> Result<Self> {
        Self::read(&ConfigDocument::parse(path, config, generation)?)
    }

    /// Reads a parsed document.
    ///
    /// # Errors
    /// One error that lists every missing or unusable field, and why the model cannot be served.
    pub fn read(document: &ConfigDocument) -> Result<Self> {
        document.expect_model_type(&[T5GEMMA, T5GEMMA2], PAIRS)?;
        let fields = document.fields();
        let mut problems = Problems::default();
        quantization::read(&fields.top, &mut problems);
        check_served(&fields.top, &mut problems);
        let read = read_pair(&fields, &mut problems);
        problems.value_or_error(&document.path, read)
    }

    /// The architecture.
    pub const fn architecture(&self) -> Architecture {
        Architecture::pair(self.decoder.generation)
    }

    /// Whether one table is the embedding of both stacks.
    pub const fn shares_embedding(&self) -> bool {
        matches!(self.decoder.generation, Generation::Gemma3)
    }

    /// The token ids with a meaning.
    pub fn special_tokens(&self) -> SpecialTokens {
        SpecialTokens {
            start: self.start_token,
            bos: self.bos_token,
            pad: self.pad_token,
            end: self.end_tokens.clone(),
        }
    }

    /// The count of numbers in all weights, the tied output table counted once.
    pub fn parameters(&self) -> u64 {
        let encoder = self.encoder.own_parameters();
        let decoder = self.decoder.own_parameters() + self.cross_parameters();
        encoder + decoder + self.table_parameters()
    }

    /// The count of numbers in the embedding and output tables.
    pub(crate) fn table_parameters(&self) -> u64 {
        let [encoder, decoder] = [&self.encoder, &self.decoder].map(StackConfig::embedding_parameters);
        let output = if self.tie_word_embeddings { 0 } else { decoder };
        encoder + output + if self.shares_embedding() { 0 } else { decoder }
    }

    /// Lowers the longest sequences of the stacks to `limits`, so that memory which grows with positions is taken only
    /// for sequences that can occur.
    pub fn limit_positions(&mut self, limits: PositionLimits) {
        self.encoder.max_positions = self.encoder.max_positions.min(limits.source_tokens);
        self.decoder.max_positions = self.decoder.max_positions.min(limits.target_tokens);
    }

    /// Merged attention has no weights beside those of self-attention.
    fn cross_parameters(&self) -> u64 {
        let stack = &self.decoder;
        if stack.generation == Generation::Gemma3 {
            return 0;
        }
        let own = 2 * stack.hidden * stack.query_width();
        let from_encoder = 2 * self.encoder.hidden * stack.kv_width();
        (stack.layers * (own + from_encoder + 2 * stack.hidden)) as u64
    }
}

/// Refuses models that can be trained or evaluated and not served.
fn check_served(top: &Fields<'_>, problems: &mut Problems) {
    if top.flag("is_encoder_decoder", problems) == Some(false) {
        problems.add(
            "is_encoder_decoder",
            "is false: an encoder alone cannot write a text; `server serve` gives its states",
        );
    } else if names_classifier(top) {
        problems.add(
            "architectures",
            "names a classifier over the decoder, which has no one result to serve: transformers reads a later state \
             of a source in a padded batch than alone. Train one over the encoder, with `is_encoder_decoder` false",
        );
    }
    // A value that is no object is reported with the rest of the encoder.
    let encoder = top.object("encoder", &mut Problems::default());
    if let Some(encoder) = encoder
        && encoder.flag(CAUSAL_ENCODER, problems) == Some(true)
    {
        let reason = "is true: an encoder that was trained to see earlier tokens only cannot be served";
        problems.add(encoder.name(CAUSAL_ENCODER), reason);
    }
}

/// Reads both stacks and the tokens. `None` only when a problem was added.
pub(super) fn read_pair(fields: &DocumentFields<'_>, problems: &mut Problems) -> Option<ModelConfig> {
    let &DocumentFields { ref top, ref generation, layers } = fields;
    check_model_type(top, problems);
    check_storage_type(top, problems);
    let tied = top.flag("tie_word_embeddings", problems).unwrap_or(true);

    let encoder_fields = stack_fields(top, "encoder", problems);
    let decoder_fields = stack_fields(top, "decoder", problems);
    let (encoder, decoder) = (encoder_fields.as_ref(), decoder_fields.as_ref());
    let read = encoder.map(|encoder| EncoderFields { encoder, top, decoder, layers });
    let encoder_stack = read.and_then(|fields| read_encoder(&fields, problems));
    let read = decoder.map(|fields| StackFields { fields, top, other: encoder, layers });
    let decoder_stack = read.and_then(|fields| read_stack(&fields, problems));
    let vocab = decoder_fields.as_ref().and_then(|fields| quiet_vocab(fields, top));
    let decoder_fields = decoder_fields.unwrap_or_else(Fields::absent);
    let encoder_fields = encoder_fields.unwrap_or_else(Fields::absent);
    let encoder_fields = layer_fields(&encoder_fields).unwrap_or(encoder_fields);
    check_vocabularies(&encoder_fields, &decoder_fields, problems);
    if layers == Generation::Gemma3 {
        check_alike("hidden_size", &encoder_fields, &decoder_fields, problems);
    }
    let tokens = read_tokens(&TokenFields { top, decoder: &decoder_fields, generation, vocab }, problems);

    let (encoder, decoder, tokens) = (encoder_stack?, decoder_stack?, tokens?);
    if layers == Generation::Gemma3 {
        check_one_table(&encoder, &decoder, tied, problems);
    }
    Some(ModelConfig {
        encoder,
        decoder,
        tie_word_embeddings: tied,
        start_token: tokens.start,
        end_tokens: tokens.end,
        pad_token: tokens.pad,
        bos_token: tokens.bos,
    })
}

/// Where token ids may stand.
struct TokenFields<'a> {
    top: &'a Fields<'a>,
    decoder: &'a Fields<'a>,
    generation: &'a Fields<'a>,
    /// Ids must be below this, where it is known.
    vocab: Option<usize>,
}

fn read_tokens(fields: &TokenFields<'_>, problems: &mut Problems) -> Option<SpecialTokens> {
    let &TokenFields { top, decoder, generation, vocab } = fields;
    let mut first =
        |field: &str, places: &[&Fields<'_>]| places.iter().find_map(|place| place.token(field, vocab, problems));
    let bos = first("bos_token_id", &[decoder, top, generation]);
    // transformers takes generation_config.json before config.json, and in each the token that opens a text where the
    // token that opens a target is not named.
    let start = first("decoder_start_token_id", &[generation])
        .or_else(|| first("bos_token_id", &[generation]))
        .or_else(|| first("decoder_start_token_id", &[top, decoder]))
        .or_else(|| first("bos_token_id", &[top, decoder]));
    let pad = first("pad_token_id", &[top, decoder]);
    let ends = [generation, top, decoder].iter().find_map(|place| place.tokens("eos_token_id", vocab, problems));
    if start.is_none() {
        problems.add("decoder_start_token_id", "is missing, and so is bos_token_id");
    }
    if ends.is_none() {
        problems.add("eos_token_id", "is missing");
    }
    let start = start?;
    // transformers' own default for pad; batches are never padded here, so nothing depends on it.
    Some(SpecialTokens { start, bos: bos.unwrap_or(start), pad: pad.unwrap_or(0), end: ends? })
}

fn stack_fields<'a>(top: &Fields<'a>, stack: &str, problems: &mut Problems) -> Option<Fields<'a>> {
    if top.get(stack).is_none() {
        problems.add(stack, "is missing");
    }
    top.object(stack, problems)
}

/// Both stacks must have the same vocabulary. `vocab_size` outside the stacks may be anything: transformers overwrites
/// it, and no tensor depends on it.
fn check_vocabularies(encoder: &Fields<'_>, decoder: &Fields<'_>, problems: &mut Problems) {
    check_alike("vocab_size", encoder, decoder, problems);
}

/// Both stacks of the second generation and the output have one table. transformers gives the decoder a table of its
/// own where nothing is tied.
fn check_one_table(encoder: &StackConfig, decoder: &StackConfig, tied: bool, problems: &mut Problems) {
    if !tied {
        problems.add("tie_word_embeddings", "is false; only one table for encoder, decoder and output is supported");
    }
    // A stack that does not write its vocabulary has that of the top.
    if encoder.vocab != decoder.vocab {
        let reason = format!("is {} in the encoder and {} in the decoder", encoder.vocab, decoder.vocab);
        problems.add("vocab_size", reason);
    }
}

fn check_alike(field: &str, encoder: &Fields<'_>, decoder: &Fields<'_>, problems: &mut Problems) {
    let (Some(found), Some(wanted)) = (encoder.get(field), decoder.get(field)) else { return };
    if found != wanted {
        let reason = format!("is {}, but {} is {}", brief(found), decoder.name(field), brief(wanted));
        problems.add(encoder.name(field), reason);
    }
}
