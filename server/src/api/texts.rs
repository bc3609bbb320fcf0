//! Texts of a request on their way to token ids: bounds before tokenising, and the ids, cut where that is asked for.
//!
//! Used by the rooms that tokenise, on the model's threads for it. Blocking and pure.

use std::sync::Arc;

use model::Tokenizer;

use super::fields::{Frame, Prompt, PromptNames, Truncation};
use super::http::ApiError;
use crate::registry::ServedModel;

/// Bytes of a text for each token it may become, where the tokenizer gives no bound: more than any word of a natural
/// language has.
pub const BYTES_PER_TOKEN: usize = 64;

/// Bytes of a text for each token that it is taken to become, before that is known.
const ABOUT_BYTES_PER_TOKEN: u64 = 4;

/// About how many tokens texts of so many bytes become.
pub const fn about_tokens(bytes: usize) -> u64 {
    bytes as u64 / ABOUT_BYTES_PER_TOKEN + 1
}

/// About how many tokens a prompt has, of which `limit` are read at most.
pub fn about_tokens_of(prompt: &Prompt, limit: usize) -> u64 {
    let tokens = match prompt {
        Prompt::Ids(ids) => ids.len() as u64,
        Prompt::Text(text) => about_tokens(text.len()),
    };
    tokens.min(limit as u64)
}

/// Sources of a request, before they are token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// The prompts as they were given, at least one.
    pub prompts: Vec<Prompt>,
    /// Their names in errors.
    pub names: PromptNames,
}

/// How sources become ids.
#[derive(Debug, Clone, Copy)]
pub struct SourceOptions {
    /// Whether the tokenizer frames texts as the model was trained.
    pub add_special_tokens: bool,
    /// Which tokens of longer texts are kept; longer ones are refused when absent.
    pub truncation: Option<Truncation>,
}

/// A source that was tokenised.
#[derive(Debug)]
pub struct SourceTokens {
    /// Its encoder ids, at least one.
    pub ids: Vec<u32>,
    /// Its text, if it was given as one.
    pub text: Option<String>,
}

/// A field of text on its way to ids.
#[derive(Debug)]
pub struct TextField {
    /// Its name in errors.
    pub param: String,
    /// Whether the tokenizer frames it as the model was trained.
    pub add_special_tokens: bool,
    /// Number of ids that the model knows on that side.
    pub vocab: usize,
}

impl Sources {
    /// Number of sources.
    pub fn count(&self) -> usize {
        self.prompts.len()
    }

    /// Refuses texts that are too long to be tokenised. Those that are truncated may have so many bytes.
    ///
    /// # Errors
    /// The [`ApiError`] of the first such text.
    pub fn check_texts(&self, truncated_bytes: Option<usize>, model: &ServedModel) -> Result<(), ApiError> {
        let Some(tokenizer) = &model.tokenizer else { return Ok(()) };
        let bound = TextBound { tokens: model.limits().source_tokens, truncated_bytes };
        for (index, prompt) in self.prompts.iter().enumerate() {
            if let Prompt::Text(text) = prompt {
                bound.check(text, tokenizer, || self.names.of(index))?;
            }
        }
        Ok(())
    }

    /// The tokens of each source, of which no more are held than are kept. [`Self::check_texts`] has passed the texts.
    ///
    /// # Errors
    /// The [`ApiError`] of a text that cannot be tokenised, or has no tokens.
    pub fn tokens(self, options: SourceOptions, model: &ServedModel) -> Result<Vec<SourceTokens>, ApiError> {
        let SourceOptions { add_special_tokens, truncation } = options;
        let names = self.names;
        let frame = if add_special_tokens { frame_of(model) } else { Frame::default() };
        let cut = |mut ids: Vec<u32>| {
            if truncation.is_some_and(|truncation| truncation.cut(&mut ids, model.limits().source_tokens, frame).any) {
                ids.shrink_to_fit();
            }
            ids
        };
        let source = |(index, prompt): (usize, Prompt)| {
            let param = || names.of(index);
            let (ids, text) = match prompt {
                Prompt::Ids(ids) => (ids, None),
                Prompt::Text(text) => {
                    let field = TextField { param: param(), add_special_tokens, vocab: model.source_vocab };
                    (cut(field.ids(&text, tokenizer(model, names.field())?)?), Some(text))
                }
            };
            if ids.is_empty() {
                return Err(ApiError::Invalid { param: param(), problem: "has no tokens" });
            }
            Ok(SourceTokens { ids, text })
        };
        self.prompts.into_iter().enumerate().map(source).collect()
    }

    /// Encoder ids of each source, none empty. [`Self::check_texts`] has passed the texts.
    ///
    /// # Errors
    /// The [`ApiError`] of a text that cannot be tokenised, or has no tokens.
    pub fn ids(self, options: SourceOptions, model: &ServedModel) -> Result<Vec<Vec<u32>>, ApiError> {
        let tokens = self.tokens(options, model)?;
        Ok(tokens.into_iter().map(|source| source.ids).collect())
    }
}

impl TextField {
    /// The ids of `text`, which the model has to know.
    ///
    /// # Errors
    /// When the tokenizer refuses the text, or the model lacks one of its ids.
    pub fn ids(&self, text: &str, tokenizer: &Tokenizer) -> Result<Vec<u32>, ApiError> {
        let encoded =
            if self.add_special_tokens { tokenizer.encode_with_special_tokens(text) } else { tokenizer.encode(text) };
        let ids = encoded
            .map_err(|error| ApiError::Untokenizable { param: self.param.clone(), problem: error.to_string() })?;
        match ids.iter().find(|&&id| id as usize >= self.vocab) {
            None => Ok(ids),
            Some(&id) => {
                Err(ApiError::UnknownToken { param: self.param.clone(), id: u64::from(id), vocab: self.vocab })
            }
        }
    }
}

/// Bound on a text before it is tokenised.
#[derive(Debug, Clone, Copy)]
pub struct TextBound {
    /// Most tokens that the model takes of it.
    pub tokens: usize,
    /// Most bytes where more tokens than those are cut off, and not refused.
    pub truncated_bytes: Option<usize>,
}

impl TextBound {
    /// Refuses a text that is not tokenised: one that cannot fit, or that is too long even to be cut.
    ///
    /// # Errors
    /// As [`check_text`], or [`ApiError::TextTooLongToCut`].
    pub fn check(self, text: &str, tokenizer: &Tokenizer, param: impl Fn() -> String) -> Result<(), ApiError> {
        let Self { tokens, truncated_bytes } = self;
        let fits = check_text(text, tokenizer, tokens, &param);
        match truncated_bytes {
            Some(limit) if text.len() <= limit => Ok(()),
            Some(limit) if fits.is_err() => {
                Err(ApiError::TextTooLongToCut { param: param(), bytes: text.len(), limit, tokens })
            }
            _ => fits,
        }
    }
}

/// Refuses a text that has more than `limit` tokens whatever they are. Merging pieces takes longer than the text grows,
/// so a text that cannot fit is never begun.
///
/// # Errors
/// [`ApiError::TextTooLong`] or [`ApiError::TextTooManyBytes`].
pub fn check_text(text: &str, tokenizer: &Tokenizer, limit: usize, param: impl Fn() -> String) -> Result<(), ApiError> {
    let most_bytes = limit.saturating_mul(BYTES_PER_TOKEN);
    if tokenizer.longest_piece_bytes().is_none() && text.len() > most_bytes {
        return Err(ApiError::TextTooManyBytes { param: param(), bytes: text.len(), limit: most_bytes, tokens: limit });
    }
    let tokens = tokenizer.fewest_tokens(text);
    if tokens > limit { Err(ApiError::TextTooLong { param: param(), tokens, limit }) } else { Ok(()) }
}

/// Special tokens that the model's tokenizer puts around a text.
pub fn frame_of(model: &ServedModel) -> Frame {
    let around = model.tokenizer.as_ref().map(|tokenizer| tokenizer.around());
    around.map_or(Frame::default(), |(before, after)| Frame { before: before.len(), after: after.len() })
}

/// The model's tokenizer, for the text in `param`.
///
/// # Errors
/// When the model is served without one.
pub fn tokenizer<'a>(model: &'a ServedModel, param: &'static str) -> Result<&'a Tokenizer, ApiError> {
    model.tokenizer.as_deref().ok_or(ApiError::NeedsTokenizer { param, instead: "give token ids" })
}

/// The result of `tokenise`, run on the model's threads for tokenising. Texts wait for a thread in order of arrival.
///
/// # Errors
/// The error of `tokenise`, or a failed thread.
pub async fn on_tokenizing_threads<T: Send + 'static>(
    model: &Arc<ServedModel>,
    tokenise: impl FnOnce(&ServedModel) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let timer = model.metrics.requests.tokenize_seconds.clone();
    let model_of_job = Arc::clone(model);
    let job = move || {
        let _timed = timer.start_timer();
        tokenise(&model_of_job)
    };
    model.tokenizing.run(job).await?
}
