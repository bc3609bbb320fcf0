//! Infilling: sources become the texts before a gap, a sentinel, and the text after it.
//!
//! Part of `tokenise`. The pieces are those of the model.

use model::Infilling;

use crate::api::fields::Prompt;
use crate::api::http::ApiError;
use crate::api::texts::{SourceTokens, TextField, check_text, tokenizer};
use crate::registry::ServedModel;

const SUFFIX: &str = "suffix";

/// The text after a gap.
#[derive(Debug)]
pub struct Suffix {
    /// The text.
    pub text: String,
    /// Whether the tokenizer frames sources that are given as text.
    pub is_framed: bool,
}

/// How the model is asked for a span.
///
/// # Errors
/// When it has no sentinels, or the suffix is too long to be tokenised.
pub fn check_suffix<'a>(suffix: &str, model: &'a ServedModel) -> Result<&'a Infilling, ApiError> {
    let Some(infilling) = &model.infilling else {
        let problem = "needs a checkpoint that was trained to fill gaps (UL2), and no sentinels are known for this \
                       one: name them in [model] sentinels, or leave 'suffix' out";
        return Err(ApiError::Invalid { param: SUFFIX.to_owned(), problem });
    };
    check_text(suffix, tokenizer(model, SUFFIX)?, model.limits().source_tokens, || SUFFIX.to_owned())?;
    Ok(infilling)
}

/// Puts the sentinel and the suffix after each source, inside of its frame, and returns the beginning of targets.
///
/// # Errors
/// When the model cannot do this.
pub fn infill(suffix: &Suffix, sources: &mut [SourceTokens], model: &ServedModel) -> Result<Prompt, ApiError> {
    let infilling = check_suffix(&suffix.text, model)?;
    let tokenizer = tokenizer(model, SUFFIX)?;
    let field = TextField { param: SUFFIX.to_owned(), add_special_tokens: false, vocab: model.source_vocab };
    let after = field.ids(&suffix.text, tokenizer)?;
    let sentinel = infilling.beginning();
    for source in sources {
        let (start, end) = match source.text {
            Some(_) if suffix.is_framed => tokenizer.around(),
            _ => (&[][..], &[][..]),
        };
        let before = &source.ids[start.len()..source.ids.len() - end.len()];
        source.ids = [start, &infilling.source(before, &after), end].concat();
        if let Some(text) = &mut source.text {
            *text = format!("{text}{}{}", model.token_name(sentinel), suffix.text);
        }
    }
    Ok(Prompt::Ids(vec![sentinel]))
}
