//! Which chat template goes with a checkpoint, compiled.

use std::path::Path;

use model::{ChatFiles, Checkpoint, ModelConfig, Tokenizer};

use super::error::LoadError;
use crate::chat_template::ChatTemplate;
use crate::config::{ChatTemplateSource, Config};

/// The chat template of a model that is served: the one that the settings name, the checkpoint's own, or the plain
/// form.
///
/// # Errors
/// When a file cannot be read, or holds no template that can be run.
pub fn served_template(
    config: &Config,
    checkpoint: Option<&Checkpoint>,
    tokenizer: Option<&Tokenizer>,
) -> Result<ChatTemplate, LoadError> {
    let (choice, steps) = (&config.model.chat_template, config.limits.chat_template_steps);
    let files = match checkpoint {
        Some(checkpoint) if *choice != ChatTemplateSource::Plain => checkpoint.chat_files()?,
        _ => ChatFiles::default(),
    };
    let (origin, text) = match (choice, &files.template) {
        (ChatTemplateSource::File(path), _) => (path.display().to_string(), read_text(path)?),
        (ChatTemplateSource::Checkpoint, Some(template)) => {
            let folder = checkpoint.map(|checkpoint| checkpoint.origin().join(template.file));
            (folder.unwrap_or_default().display().to_string(), template.text.clone())
        }
        (ChatTemplateSource::Plain, _) | (ChatTemplateSource::Checkpoint, None) => {
            return Ok(ChatTemplate::plain(steps));
        }
    };
    let special_tokens = special_tokens(files, checkpoint.map(Checkpoint::config), tokenizer);
    ChatTemplate::compile(&text, special_tokens, steps)
        .map_err(|problem| LoadError::ChatTemplate { origin, problem: Box::new(problem) })
}

fn read_text(path: &Path) -> Result<String, LoadError> {
    model::input::read_settings(path).map_err(|source| LoadError::UnreadableTemplate { path: path.to_owned(), source })
}

/// The checkpoint's special tokens. Where it names no start or end token, the model's own go by those names.
fn special_tokens(
    files: ChatFiles,
    config: Option<&ModelConfig>,
    tokenizer: Option<&Tokenizer>,
) -> Vec<(String, String)> {
    let mut tokens = files.special_tokens;
    let (Some(config), Some(tokenizer)) = (config, tokenizer) else { return tokens };
    let end = config.end_tokens.first().copied();
    for (name, id) in [("bos_token", Some(config.start_token)), ("eos_token", end)] {
        let text = id.and_then(|id| tokenizer.piece_bytes(id)).and_then(|bytes| std::str::from_utf8(bytes).ok());
        if let Some(text) = text
            && !tokens.iter().any(|(other, _)| other == name)
        {
            tokens.push((name.to_owned(), text.to_owned()));
        }
    }
    tokens
}
