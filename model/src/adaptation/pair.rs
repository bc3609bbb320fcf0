//! Two decoder-only checkpoints that may become one encoder-decoder, and every reason why they may not.
//!
//! Called by `adaptation`. Reads configurations and tokenizers, no tensors.

use std::path::Path;

use kernels::DType;

use super::AdaptRequest;
use super::origin::{CrossAttentionStart, Origin, Side};
use crate::checkpoint::DecoderCheckpoint;
use crate::config::{DecoderConfig, Generation, ModelConfig, StackConfig, merged_pair};
use crate::tokenizer::{self, Tokenizer};

/// Sources that fit each other.
#[derive(Debug)]
pub(super) struct Pair {
    pub encoder: DecoderCheckpoint,
    pub decoder: DecoderCheckpoint,
}

impl Pair {
    /// Opens both, or lists every reason against it.
    pub fn open(request: &AdaptRequest) -> Result<Self, Vec<String>> {
        let AdaptRequest { encoder, decoder, tokenizer, .. } = request;
        if let Some(tokenizer) = tokenizer.as_ref().filter(|_| !encoder.is_file() && !decoder.is_file()) {
            let tokenizer = tokenizer.display();
            return Err(vec![format!("no source is a GGUF file, so {tokenizer} is not used: folders have their own")]);
        }
        let [opened, other] = [encoder, decoder].map(|source| open(source, tokenizer.as_deref()));
        match (opened, other) {
            (Ok(encoder), Ok(decoder)) => {
                let pair = Self { encoder, decoder };
                let problems = pair.problems();
                if problems.is_empty() { Ok(pair) } else { Err(problems) }
            }
            (opened, other) => {
                let mut problems: Vec<String> =
                    [opened.err(), other.err()].into_iter().flatten().map(|error| error.to_string()).collect();
                // A source that is given twice reports each problem twice.
                problems.dedup();
                Err(problems)
            }
        }
    }

    /// The encoder-decoder's configuration.
    pub fn config(&self) -> ModelConfig {
        let decoder = self.decoder.config();
        if self.generation() == Generation::Gemma3 {
            return merged_pair(self.encoder.config(), decoder, self.decoder.document());
        }
        ModelConfig {
            encoder: self.encoder.config().stack.clone(),
            decoder: decoder.stack.clone(),
            tie_word_embeddings: decoder.tie_word_embeddings,
            start_token: decoder.bos_token,
            end_tokens: decoder.end_tokens.clone(),
            pad_token: decoder.pad_token,
            bos_token: decoder.bos_token,
        }
    }

    /// How cross-attention begins: as self-attention where the generation or equal shapes of the stacks allow it, else
    /// at random.
    pub fn cross_attention(&self) -> CrossAttentionStart {
        if self.generation() == Generation::Gemma3 {
            return CrossAttentionStart::Merged;
        }
        let shape = |stack: &StackConfig| {
            let StackConfig { hidden, intermediate, layers, heads, kv_heads, head_dim, .. } = *stack;
            [hidden, intermediate, layers, heads, kv_heads, head_dim]
        };
        let is_balanced = shape(&self.encoder.config().stack) == shape(&self.decoder.config().stack);
        if is_balanced { CrossAttentionStart::SelfAttention } else { CrossAttentionStart::Random }
    }

    /// A source by its side.
    pub fn source(&self, side: Side) -> &DecoderCheckpoint {
        match side {
            Side::Encoder => &self.encoder,
            Side::Decoder => &self.decoder,
        }
    }

    /// The number type of a tensor: that of the source's tensor that it is copied from or stands beside.
    pub fn dtype(&self, origin: &Origin) -> DType {
        let source = origin.source();
        let dtype = self.source(source.side).dtype(&source.name);
        dtype.expect("decoder-only checkpoints are opened only when they are not quantised")
    }

    /// Generation of the decoder's source.
    pub fn generation(&self) -> Generation {
        self.decoder.config().stack.generation
    }

    fn problems(&self) -> Vec<String> {
        let (encoder, decoder) = (self.encoder.config(), self.decoder.config());
        if encoder.stack.generation != decoder.stack.generation {
            let [encoder, decoder] = [encoder, decoder].map(generation_name);
            let reason = "the layers of an encoder-decoder are of one generation";
            return vec![format!("the encoder's source is a {encoder}, the decoder's a {decoder}: {reason}")];
        }
        let differs = |what: &str, encoder: u64, decoder: u64| {
            let reason =
                || format!("the encoder's {what} is {encoder}, the decoder's is {decoder}: both must be alike");
            (encoder != decoder).then(reason)
        };
        let config = self.config();
        let mut problems: Vec<String> = [
            differs("vocab_size", config.encoder.vocab as u64, config.decoder.vocab as u64),
            differs("bos_token_id", encoder.bos_token.into(), decoder.bos_token.into()),
            differs("pad_token_id", encoder.pad_token.into(), decoder.pad_token.into()),
        ]
        .into_iter()
        .flatten()
        .collect();
        if self.generation() == Generation::Gemma3 {
            problems.extend(one_table_problems(encoder, decoder));
        }
        match self.tokenizer_problems(config.decoder.vocab) {
            Ok(found) => problems.extend(found),
            Err(error) => problems.push(error.to_string()),
        }
        problems
    }

    fn tokenizer_problems(&self, vocab: usize) -> crate::Result<Vec<String>> {
        let lacks = |source: &DecoderCheckpoint| {
            let reason = "has no tokenizer.json, the other source has one: without both, nothing shows that their ids \
                          mean the same";
            Ok(vec![format!("{} {reason}", source.origin().display())])
        };
        let (encoder, decoder) = match (self.encoder.tokenizer_json()?, self.decoder.tokenizer_json()?) {
            (Some(encoder), Some(decoder)) => (encoder, decoder),
            (None, None) => return Ok(Vec::new()),
            (None, Some(_)) => return lacks(&self.encoder),
            (Some(_), None) => return lacks(&self.decoder),
        };
        let mut problems = Vec::new();
        let tokenizer = Tokenizer::for_vocabulary(&decoder, vocab)?;
        if tokenizer.max_id() as usize >= vocab {
            let max_id = tokenizer.max_id();
            problems.push(format!("the decoder's tokenizer has ids up to {max_id}, its vocab_size is {vocab}"));
        }
        if encoder != decoder {
            let found = tokenizer::differences(&encoder, &decoder)?;
            problems.extend(found.into_iter().map(|what| format!("the sources' tokenizers differ: {what}")));
        }
        Ok(problems)
    }
}

/// Reasons for which two Gemma 3 cannot share the one table of a T5Gemma 2.
fn one_table_problems(encoder: &DecoderConfig, decoder: &DecoderConfig) -> Vec<String> {
    let [own, others] = [&encoder.stack, &decoder.stack].map(|stack| stack.hidden);
    let widths = (own != others).then(|| {
        format!(
            "the encoder's hidden_size is {own}, the decoder's is {others}: a T5Gemma 2 has one table of embeddings, \
             so its stacks are equally wide"
        )
    });
    let untied = (!decoder.tie_word_embeddings).then(|| {
        "the decoder's source has an output table of its own, and a T5Gemma 2 has one table for embeddings and output"
            .to_owned()
    });
    widths.into_iter().chain(untied).collect()
}

const fn generation_name(config: &DecoderConfig) -> &'static str {
    match config.stack.generation {
        Generation::Gemma2 => "Gemma 2",
        Generation::Gemma3 => "Gemma 3",
    }
}

/// Opens a source: a GGUF file, which has the given tokenizer, or a folder.
fn open(source: &Path, tokenizer: Option<&Path>) -> crate::Result<DecoderCheckpoint> {
    if source.is_file() { DecoderCheckpoint::open_gguf(source, tokenizer) } else { DecoderCheckpoint::open(source) }
}
