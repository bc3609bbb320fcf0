//! From texts to token ids, with lengths checked before and after.
//!
//! Run by `admission` on the model's threads for tokenising. Blocking and pure.

use std::sync::Arc;

use super::call::{Method, ScoringCall};
use crate::api::fields::{Frame, Prompt, Prompts, Truncation};
use crate::api::http::ApiError;
use crate::api::texts::{TextBound, TextField, frame_of, tokenizer};
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

/// Refuses texts that are too long to be tokenised, and ids that the model does not have. Texts that are truncated may
/// have so many bytes.
///
/// # Errors
/// The error of the first such text.
pub fn check_texts(call: &ScoringCall, text_bytes: usize, model: &ServedModel) -> Result<(), ApiError> {
    for (side, prompts) in sides(call).into_iter().zip([&call.sources, &call.targets]) {
        let (vocab, limit) = (side.vocab(model), side.limit(model));
        let bound = TextBound { tokens: limit, truncated_bytes: call.truncation.map(|_| text_bytes) };
        for (index, prompt) in prompts.list.iter().enumerate() {
            match (prompt, &model.tokenizer) {
                (Prompt::Text(text), Some(tokenizer)) => bound.check(text, tokenizer, || prompts.names.of(index))?,
                (Prompt::Text(_), None) => {}
                (Prompt::Ids(ids), _) => {
                    if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocab) {
                        let param = prompts.names.of(index);
                        return Err(ApiError::UnknownToken { param, id: u64::from(id), vocab });
                    }
                    // One more may be the start token.
                    if call.truncation.is_none() && ids.len() > limit + 1 {
                        return Err(too_long(prompts.names.of(index), ids.len(), limit));
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
    let ids = |prompts, side| Conversion { side, truncation: call.truncation, model }.ids(prompts);
    Ok(Tokens { sources: ids(sources, source_side)?, targets: ids(targets, target_side)? })
}

/// How texts of one side become ids.
struct Conversion<'a> {
    side: Side,
    truncation: Option<Truncation>,
    model: &'a ServedModel,
}

impl Conversion<'_> {
    fn ids(&self, prompts: Prompts) -> Result<Vec<Arc<[u32]>>, ApiError> {
        let names = prompts.names;
        let one = |(index, prompt)| {
            let (ids, limit) = (self.read(prompt, names.of(index), names.field())?, self.side.limit(self.model));
            match ids.len() {
                0 => Err(ApiError::Invalid { param: names.of(index), problem: "has no tokens" }),
                count if count > limit => Err(too_long(names.of(index), count, limit)),
                _ => Ok(Arc::from(ids)),
            }
        };
        prompts.list.into_iter().enumerate().map(one).collect()
    }

    fn read(&self, prompt: Prompt, param: String, field: &'static str) -> Result<Vec<u32>, ApiError> {
        let Self { side, truncation, model } = self;
        let add_special_tokens = *side == Side::Encoder { is_framed: true };
        let (mut ids, frame) = match prompt {
            Prompt::Ids(ids) => (ids, Frame::default()),
            Prompt::Text(text) => {
                let text_field = TextField { param, add_special_tokens, vocab: side.vocab(model) };
                let frame = if add_special_tokens { frame_of(model) } else { Frame::default() };
                (text_field.ids(&text, tokenizer(model, field)?)?, frame)
            }
        };
        let limit = side.limit(model);
        let Side::Decoder { with_end } = side else {
            truncation.map(|truncation| truncation.cut(&mut ids, limit, frame));
            return Ok(ids);
        };
        // The engine puts the start token first.
        if ids.first() == Some(&model.start_token) {
            ids.remove(0);
        }
        // The end takes a place of its own, whether the target brings it or not, and follows no text that is cut off.
        let own_end = ids.pop_if(|last| *with_end && model.end_tokens.contains(last));
        let limit = limit - usize::from(*with_end);
        let loses_end = truncation.is_some_and(|truncation| truncation.cut(&mut ids, limit, frame).end);
        if *with_end && !loses_end {
            ids.extend(own_end.as_ref().or(model.end_tokens.first()));
        }
        Ok(ids)
    }
}
