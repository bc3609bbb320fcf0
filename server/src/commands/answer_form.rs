//! The form of an answer that flags ask for, compiled.
//!
//! Used by `generate`. Whoever gives the flags is trusted: nothing is compiled on trial.

use std::path::Path;
use std::sync::Arc;

use super::error::{CommandError, io};
use crate::cli::AnswerForm;
use crate::constraint::{Grammar, Targets, Vocabulary};
use crate::loading::Loaded;
use crate::request::Constraint;

/// The constraint that a form is; none without a form.
///
/// # Errors
/// When a file cannot be read, or no answer can have the form.
pub(super) fn compile(form: &AnswerForm, loaded: &Loaded) -> Result<Option<Constraint>, CommandError> {
    let AnswerForm { json_schema, regex, grammar, choice } = form;
    let grammar = match (json_schema, regex, grammar) {
        (Some(path), ..) => {
            let json = |source| CommandError::Json { path: path.clone(), source };
            Grammar::JsonSchema(serde_json::from_str(&read(path)?).map_err(json)?)
        }
        (_, Some(expression), _) => Grammar::Regex(expression.clone()),
        (.., Some(path)) => Grammar::Lark(read(path)?),
        _ if choice.is_empty() => return Ok(None),
        _ => return Ok(Some(Targets::compile(choice, &vocabulary(loaded)?)?)),
    };
    Ok(Some(grammar.compile(&vocabulary(loaded)?)?))
}

/// The vocabulary of a loaded model, for its constraints.
///
/// # Errors
/// When the model has no tokenizer.
pub(super) fn vocabulary(loaded: &Loaded) -> Result<Vocabulary, CommandError> {
    let (config, tokenizer) = (loaded.config(), loaded.tokenizer.as_ref().ok_or(CommandError::NoTokenizer)?);
    Ok(Vocabulary::new(&Arc::clone(tokenizer), config.decoder.vocab, &config.end_tokens))
}

fn read(path: &Path) -> Result<String, CommandError> {
    std::fs::read_to_string(path).map_err(io("read the form of the answer"))
}
