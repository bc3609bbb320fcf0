//! From texts to token ids, with lengths checked before and after.
//!
//! Run by `admission` on the model's threads for tokenising. Blocking and pure.

use std::sync::Arc;

use super::call::{Method, ScoringCall};
use crate::api::fields::{Prompt, Prompts};
use crate::api::http::ApiError;
use crate::api::texts::{TextField, check_text, tokenizer};
use crate::registry::ServedModel;

/// Token ids of a call.
#[derive(Debug)]
pub struct Tokens {
    /// Encoder ids of each source, none empty.
    pub sources: Vec<Arc<[u32]>>,
    /// Ids of each target, none empty: the decoder's without the start token, or the encoder's.
    pub targets: Vec<Arc<[u32]>>,
}

/// A text's side of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// The encoder reads it.
    Encoder {
        /// Whether the tokenizer frames it.
        is_framed: bool,
    },
    /// The decoder would write it.
    Decoder {
        /// Whether the end token follows.
        with_end: bool,
    },
}

impl Side {
    fn vocab(self, model: &ServedModel) -> usize {
        match self {
            Self::Encoder { .. } => model.source_vocab,
            Self::Decoder { .. } => model.target_vocab,
        }
    }

    fn limit(self, model: &ServedModel) -> usize {
        match self {
            Self::Encoder { .. } => model.limits().source_tokens,
            Self::Decoder { .. } => model.limits().target_tokens,
        }
    }
}

fn sides(call: &ScoringCall) -> [Side; 2] {
    let encoder = Side::Encoder { is_framed: call.add_special_tokens };
    match call.method {
        Method::Likelihood { with_end, .. } => [encoder, Side::Decoder { with_end }],
        Method::Embedding => [encoder, encoder],
    }
}

/// Refuses texts that could not fit whatever their tokens are, and ids that the model does not have.
///
/// # Errors
/// The error of the first such text.
pub fn check_texts(call: &ScoringCall, model: &ServedModel) -> Result<(), ApiError> {
    for (side, prompts) in sides(call).into_iter().zip([&call.sources, &call.targets]) {
        let (vocab, limit) = (side.vocab(model), side.limit(model));
        if let Some(excess) = prompts.excess {
            return Err(too_long(prompts.names.of(excess.index), excess.tokens, limit));
        }
        for (index, prompt) in prompts.list.iter().enumerate() {
            match (prompt, &model.tokenizer) {
                (Prompt::Text(text), Some(tokenizer)) => {
                    check_text(text, tokenizer, limit, || prompts.names.of(index))?
                }
                (Prompt::Text(_), None) => {}
                (Prompt::Ids(ids), _) => {
                    if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocab) {
                        let param = prompts.names.of(index);
                        return Err(ApiError::UnknownToken { param, id: u64::from(id), vocab });
                    }
                }
            }
        }
    }
    Ok(())
}

const fn too_long(param: String, tokens: usize, limit: usize) -> ApiError {
    ApiError::TextTooLong { param, tokens, limit }
}

/// Tokenises the texts of a call, which [`check_texts`] has passed.
///
/// # Errors
/// When a text has no tokens, or more than the model takes.
pub fn tokenise(call: &ScoringCall, texts: [Prompts; 2], model: &ServedModel) -> Result<Tokens, ApiError> {
    let [source_side, target_side] = sides(call);
    let [sources, targets] = texts;
    Ok(Tokens { sources: ids(sources, source_side, model)?, targets: ids(targets, target_side, model)? })
}

fn ids(prompts: Prompts, side: Side, model: &ServedModel) -> Result<Vec<Arc<[u32]>>, ApiError> {
    let names = prompts.names;
    let one = |(index, prompt): (usize, Prompt)| {
        let param = names.of(index);
        let mut ids = match prompt {
            Prompt::Ids(ids) => ids,
            Prompt::Text(text) => {
                let add_special_tokens = side == Side::Encoder { is_framed: true };
                let field = TextField { param: param.clone(), add_special_tokens, vocab: side.vocab(model) };
                field.ids(&text, tokenizer(model, names.field())?)?
            }
        };
        if let Side::Decoder { with_end } = side {
            // The engine puts the start token first.
            if ids.first() == Some(&model.start_token) {
                ids.remove(0);
            }
            if with_end && !ids.last().is_some_and(|last| model.end_tokens.contains(last)) {
                ids.extend(model.end_tokens.first());
            }
        }
        let (count, limit) = (ids.len(), side.limit(model));
        match count {
            0 => Err(ApiError::Invalid { param, problem: "has no tokens" }),
            _ if count > limit => Err(too_long(param, count, limit)),
            _ => Ok(Arc::from(ids)),
        }
    };
    prompts.list.into_iter().enumerate().map(one).collect()
}
