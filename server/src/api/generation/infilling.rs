//! Infilling: sources become the text before a gap, a sentinel, and the text after it; targets are the span between.
//!
//! Part of `tokenise`. The pieces are those of the model.

use model::Infilling;

use super::call::GenerationCall;
use crate::api::controls::{STOP_TOKEN_IDS, STOP_TOKENS, STOP_TOKENS_OF_SEARCH};
use crate::api::fields::PromptNames;
use crate::api::http::ApiError;
use crate::api::texts::{SourceTokens, TextField, check_text, tokenizer};
use crate::registry::ServedModel;

const SUFFIX: &str = "suffix";

/// A gap after each source of a call.
#[derive(Debug)]
pub struct Gap {
    /// The text after it.
    pub suffix: String,
    /// The end of the span in it.
    pub end: SpanEnd,
    /// Whether the tokenizer frames sources that are given as text.
    pub is_framed: bool,
}

/// Sentinels that end a span beside the model's end tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanEnd {
    /// Every one.
    Any,
    /// The next one; no other is chosen. Each end token of a search costs candidates in each of its steps.
    Next,
    /// None, and none is chosen: the form of the text says where it ends.
    Form,
}

/// The part of a call that a gap adds.
#[derive(Debug)]
pub struct Infilled {
    /// The token that every target begins with.
    pub beginning: u32,
    /// Tokens that end a target.
    pub ends: Vec<u32>,
    /// Tokens that are not chosen.
    pub banned: Vec<u32>,
    /// Texts around sources that were given as text.
    pub around: SourceAround,
}

/// Texts around a source.
#[derive(Debug, Default)]
pub struct SourceAround {
    /// The mode token's name.
    pub before: String,
    /// The sentinel's name and the suffix.
    pub after: String,
}

impl Gap {
    /// Takes the gap out of a call.
    pub fn take_from(asked: &mut GenerationCall) -> Option<Self> {
        let (end, is_framed) = (SpanEnd::of(asked), asked.add_special_tokens.unwrap_or(true));
        asked.suffix.take().map(|suffix| Self { suffix, end, is_framed })
    }

    /// Puts the sentinel and the suffix after each source, inside of its frame.
    ///
    /// # Errors
    /// When the model cannot do this, a text holds a sentinel, or the source becomes too long.
    pub fn fill(
        self,
        sources: &mut [SourceTokens],
        names: PromptNames,
        model: &ServedModel,
    ) -> Result<Infilled, ApiError> {
        let Self { suffix, end, is_framed } = self;
        let infilling = infilling(model)?;
        let tokenizer = tokenizer(model, SUFFIX)?;
        let field = TextField { param: SUFFIX.to_owned(), add_special_tokens: false, vocab: model.source_vocab };
        let after = field.ids(&suffix, tokenizer)?;
        check_sentinels(&after, infilling, || SUFFIX.to_owned())?;
        for (index, source) in sources.iter_mut().enumerate() {
            check_sentinels(&source.ids, infilling, || names.of(index))?;
            let (start, end) = match source.text {
                Some(_) if is_framed => tokenizer.around(),
                _ => (&[][..], &[][..]),
            };
            let before = &source.ids[start.len()..source.ids.len() - end.len()];
            let (limit, alone) = (model.limits().source_tokens, source.ids.len());
            source.ids = [start, &infilling.source(before, &after), end].concat();
            let tokens = source.ids.len();
            // A prompt that is too long by itself is told as one.
            if alone <= limit && tokens > limit {
                let beside = ", the prompt before it among them";
                return Err(ApiError::TooManyTokens { param: SUFFIX.to_owned(), beside, tokens, limit });
            }
        }
        let name = |id| model.token_name(id);
        let around = SourceAround {
            before: infilling.mode().map_or_else(String::new, name),
            after: format!("{}{suffix}", name(infilling.first())),
        };
        let (ends, banned) = end.of_sentinels(infilling);
        Ok(Infilled { beginning: infilling.first(), ends, banned, around })
    }
}

impl SpanEnd {
    /// The end of the spans of a call.
    pub fn of(asked: &GenerationCall) -> Self {
        match (&asked.structure, asked.beams) {
            (Some(_), _) => Self::Form,
            (None, Some(_)) => Self::Next,
            (None, None) => Self::Any,
        }
    }

    /// The sentinels that end a span, and those that are not chosen.
    fn of_sentinels(self, infilling: &Infilling) -> (Vec<u32>, Vec<u32>) {
        let ends = |id: &u32| match self {
            Self::Any => true,
            Self::Next => infilling.next() == Some(*id),
            Self::Form => false,
        };
        let (ending, mut banned): (Vec<u32>, Vec<u32>) = infilling.sentinels().iter().partition(|id| ends(id));
        banned.extend(infilling.further());
        (ending, banned)
    }
}

/// Checks what is known of a gap before tokens are.
///
/// # Errors
/// When the model has no sentinels, the suffix is too long to be tokenised, or there are too many end tokens.
pub fn check_gap(suffix: &str, asked: &GenerationCall, model: &ServedModel) -> Result<(), ApiError> {
    let infilling = infilling(model)?;
    check_text(suffix, tokenizer(model, SUFFIX)?, model.limits().source_tokens, || SUFFIX.to_owned())?;
    let most = if asked.beams.is_some() { STOP_TOKENS_OF_SEARCH } else { STOP_TOKENS };
    let (ends, _) = SpanEnd::of(asked).of_sentinels(infilling);
    let (count, limit) = (asked.controls.stop_tokens.len(), most - ends.len());
    if count <= limit {
        return Ok(());
    }
    let unit = "token ids beside 'suffix', whose sentinels are end tokens, too";
    Err(ApiError::TooMany { param: STOP_TOKEN_IDS, count, unit, limit })
}

/// How the model is asked for a span.
fn infilling(model: &ServedModel) -> Result<&Infilling, ApiError> {
    let problem = "needs a checkpoint that was trained to fill gaps (UL2), and no sentinels are known for this one: \
                   name them in [model] sentinels, or leave 'suffix' out";
    model.infilling.as_ref().ok_or_else(|| ApiError::Invalid { param: SUFFIX.to_owned(), problem })
}

/// Refuses sentinels in a text around a gap: the model would read each as a gap of its own.
fn check_sentinels(ids: &[u32], infilling: &Infilling, param: impl Fn() -> String) -> Result<(), ApiError> {
    if !ids.iter().any(|&id| infilling.is_sentinel(id)) {
        return Ok(());
    }
    let problem = "holds a sentinel, which the model would read as a further gap: 'suffix' fills one, between 'prompt' \
                   and 'suffix'. Leave the sentinel out";
    Err(ApiError::Invalid { param: param(), problem })
}
