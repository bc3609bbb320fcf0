//! How a model is asked for the span between two texts, as far as that is known.
//!
//! Part of loading. The settings name the pieces, or the checkpoint says with which it was trained, or their names do.

use model::config::DenoisingTokens;
use model::{Infilling, InfillingPieces, Tokenizer};

use super::error::LoadError;
use crate::config::ModelChoice;

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
    let pieces = InfillingPieces { sentinels: &choice.sentinels, mode: &choice.infilling_mode, trained, vocab };
    Infilling::find(tokenizer, pieces).map_err(|problems| LoadError::Sentinels { problems })
}

/// Refuses settings that name pieces for a model that has no use for them.
///
/// # Errors
/// With the reason why it has none.
pub(super) fn refuse_pieces(choice: &ModelChoice, reason: &str) -> Result<(), LoadError> {
    if choice.sentinels.is_empty() && choice.infilling_mode.is_empty() {
        return Ok(());
    }
    Err(LoadError::Sentinels { problems: vec![reason.to_owned()] })
}
