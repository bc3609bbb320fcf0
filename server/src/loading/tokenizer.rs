//! Which tokenizer goes with a checkpoint, and whether the two belong together.

use std::path::Path;
use std::sync::Arc;

use model::{Checkpoint, Tokenizer};

use super::error::LoadError;
use super::shared::Shared;
use crate::config::{ModelChoice, TokenizerSource};

/// The tokenizer of a model that is served, with `vocab` ids: the one that the settings name, or the checkpoint's own.
///
/// # Errors
/// When there is none, or it cannot be used.
pub(super) fn served_tokenizer(
    choice: &TokenizerSource,
    checkpoint: Option<&Checkpoint>,
    vocab: usize,
    shared: &mut Shared,
) -> Result<Option<Arc<Tokenizer>>, LoadError> {
    match (choice, checkpoint) {
        (TokenizerSource::File(path), _) => Ok(Some(shared.tokenizer(&Tokenizer::contents_of(path)?, vocab)?)),
        (TokenizerSource::None, _) | (TokenizerSource::Checkpoint, None) => Ok(None),
        (TokenizerSource::Checkpoint, Some(checkpoint)) => match checkpoint.tokenizer_json()? {
            Some(json) => Ok(Some(shared.tokenizer(&json, vocab)?)),
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
pub fn tokenizer_beside(
    choice: &ModelChoice,
    folder: &Path,
    vocab: usize,
) -> Result<Option<Arc<Tokenizer>>, LoadError> {
    shared_tokenizer_beside(choice, &CheckpointFolder { path: folder, vocab }, &mut Shared::default())
}

/// A folder of a checkpoint, and the number of ids that its model knows.
pub(super) struct CheckpointFolder<'a> {
    pub path: &'a Path,
    pub vocab: usize,
}

/// The tokenizer for a checkpoint in a folder, or an equal one that was loaded for another model.
///
/// # Errors
/// As [`tokenizer_beside`].
pub(super) fn shared_tokenizer_beside(
    choice: &ModelChoice,
    folder: &CheckpointFolder<'_>,
    shared: &mut Shared,
) -> Result<Option<Arc<Tokenizer>>, LoadError> {
    let own = folder.path.join("tokenizer.json");
    let path = match &choice.tokenizer {
        TokenizerSource::File(path) => path,
        TokenizerSource::Checkpoint if own.exists() => &own,
        TokenizerSource::Checkpoint => {
            return Err(LoadError::NoTokenizer { origin: folder.path.display().to_string() });
        }
        TokenizerSource::None => return Ok(None),
    };
    let tokenizer = shared.tokenizer(&Tokenizer::contents_of(path)?, folder.vocab)?;
    check_vocabulary(&tokenizer, folder.vocab)?;
    Ok(Some(tokenizer))
}
