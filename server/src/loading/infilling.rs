//! How a model is asked for the span between two texts, as far as that is known.
//!
//! Part of loading. The settings name the pieces, or the checkpoint says with which it was trained, or their names do.

use model::config::DenoisingTokens;
use model::{Infilling, InfillingPieces, Tokenizer};

use super::error::LoadError;
use crate::config::ModelChoice;

/// Name in `sentinels` with which a model is not asked for spans.
const NONE: &str = "none";

/// Facts of a model beside its settings.
pub(super) struct Known<'a> {
    /// Its tokenizer.
    pub tokenizer: Option<&'a Tokenizer>,
    /// The mark of its training.
    pub trained: Option<DenoisingTokens>,
    /// Size of its vocabulary: ids are below it.
    pub vocab: usize,
}

/// The pieces that the model is asked with; `None` where there are no sentinels, or no text.
///
/// # Errors
/// When pieces are named that are not there.
pub(super) fn served_infilling(choice: &ModelChoice, known: Known<'_>) -> Result<Option<Infilling>, LoadError> {
    let Known { tokenizer, trained, vocab } = known;
    let Some(tokenizer) = tokenizer else {
        refuse_pieces(choice, "there is no tokenizer")?;
        return Ok(None);
    };
    if choice.sentinels == [NONE] {
        let reason = "infilling_mode names a mode token, and sentinels says that there are none";
        return if choice.infilling_mode.is_empty() { Ok(None) } else { Err(problem(reason)) };
    }
    let pieces = InfillingPieces { sentinels: &choice.sentinels, mode: &choice.infilling_mode, trained, vocab };
    Infilling::find(tokenizer, pieces).map_err(|problems| LoadError::Sentinels { problems })
}

/// Refuses settings that name pieces for a model that has no use for them.
///
/// # Errors
/// With the reason why it has none.
pub(super) fn refuse_pieces(choice: &ModelChoice, reason: &str) -> Result<(), LoadError> {
    if (choice.sentinels.is_empty() || choice.sentinels == [NONE]) && choice.infilling_mode.is_empty() {
        return Ok(());
    }
    Err(problem(reason))
}

fn problem(reason: &str) -> LoadError {
    LoadError::Sentinels { problems: vec![reason.to_owned()] }
}
