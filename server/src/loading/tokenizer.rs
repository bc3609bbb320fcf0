//! Which tokenizer goes with a checkpoint, and whether the two belong together.

use std::path::Path;

use model::{Checkpoint, Tokenizer};

use super::error::LoadError;
use crate::config::{ModelChoice, TokenizerSource};

/// The tokenizer of a model that is served: the one that the settings name, or the checkpoint's own.
///
/// # Errors
/// When there is none, or it cannot be used.
pub fn served_tokenizer(
    choice: &TokenizerSource,
    checkpoint: Option<&Checkpoint>,
) -> Result<Option<Tokenizer>, LoadError> {
    match (choice, checkpoint) {
        (TokenizerSource::File(path), _) => Ok(Some(Tokenizer::from_file(path)?)),
        (TokenizerSource::None, _) | (TokenizerSource::Checkpoint, None) => Ok(None),
        (TokenizerSource::Checkpoint, Some(checkpoint)) => match checkpoint.tokenizer_json()? {
            Some(json) => Ok(Some(Tokenizer::from_bytes(&json)?)),
            None => Err(LoadError::NoTokenizer { origin: checkpoint.origin().display().to_string() }),
        },
    }
}

/// Checks that the model knows every id of the tokenizer.
pub fn check_vocabulary(tokenizer: &Tokenizer, vocab: usize) -> Result<(), LoadError> {
    let max_id = tokenizer.max_id();
    if max_id as usize >= vocab { Err(LoadError::ForeignTokenizer { max_id, vocab }) } else { Ok(()) }
}

/// The tokenizer for a checkpoint in `folder` that is not served.
///
/// # Errors
/// When there is none, it cannot be used, or it has ids beyond `vocab`.
pub fn tokenizer_beside(choice: &ModelChoice, folder: &Path, vocab: usize) -> Result<Option<Tokenizer>, LoadError> {
    let own = folder.join("tokenizer.json");
    let path = match &choice.tokenizer {
        TokenizerSource::File(path) => path,
        TokenizerSource::Checkpoint if own.exists() => &own,
        TokenizerSource::Checkpoint => return Err(LoadError::NoTokenizer { origin: folder.display().to_string() }),
        TokenizerSource::None => return Ok(None),
    };
    let tokenizer = Tokenizer::from_file(path)?;
    check_vocabulary(&tokenizer, vocab)?;
    Ok(Some(tokenizer))
}
