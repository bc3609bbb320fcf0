//! Files of prompts: JSON Lines, one prompt each; and JSON files of schemas.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::LoadtestError;

/// Largest file of prompts, in bytes: it is held in memory.
const MOST_BYTES: u64 = 1 << 30;

/// A source, or the messages of a chat.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Prompt {
    /// A text.
    Text(String),
    /// Token ids.
    Ids(Vec<u32>),
    /// Messages of a chat.
    Messages(Vec<serde_json::Map<String, Value>>),
}

impl Prompt {
    /// The prompt as `prompt` or `input` of a body. Messages become the text of their contents, a line each.
    pub fn source(&self) -> Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Ids(ids) => ids.as_slice().into(),
            Self::Messages(messages) => {
                let contents = messages.iter().filter_map(|message| message.get("content")?.as_str());
                contents.collect::<Vec<_>>().join("\n").into()
            }
        }
    }

    /// The prompt as `messages` of a body. A text is one message of the user.
    pub fn messages(&self) -> Value {
        match self {
            Self::Messages(messages) => json!(messages),
            Self::Text(_) | Self::Ids(_) => json!([{"role": "user", "content": self.source()}]),
        }
    }
}

/// A prompt of a file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Row {
    /// The prompt, also as `messages`, `input`, `text` or `source`.
    #[serde(alias = "messages", alias = "input", alias = "text", alias = "source")]
    pub prompt: Prompt,
    /// Most tokens of the answer, also as `output_tokens`; without it, the scenario's.
    #[serde(alias = "output_tokens")]
    pub max_tokens: Option<u32>,
}

/// The prompts of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompts {
    /// Prompts in the order of the file, at least one.
    pub rows: Vec<Row>,
}

impl Prompts {
    /// Reads a JSON Lines file. Empty lines are skipped, and further fields of a line are left unread.
    ///
    /// # Errors
    /// A file that cannot be read, is too large or has no prompt, or a line that is none.
    pub fn read(path: &Path) -> Result<Self, LoadtestError> {
        let text = read_text(path)?;
        let fault = |fault| LoadtestError::Content { path: path.to_owned(), fault };
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let row = |(index, line): (usize, &str)| {
            serde_json::from_str::<Row>(line).map_err(|error| {
                let form = "{\"prompt\": \"...\", \"max_tokens\": 16}";
                fault(format!("line {} is no prompt ({error}); a line is {form}", index + 1))
            })
        };
        let rows = lines.map(row).collect::<Result<Vec<_>, _>>()?;
        if rows.is_empty() {
            return Err(fault("holds no prompt; give it a line for each".to_owned()));
        }
        Ok(Self { rows })
    }
}

/// Reads a JSON file.
///
/// # Errors
/// A file that cannot be read, is too large, or is not JSON.
pub fn read_json(path: &Path) -> Result<Value, LoadtestError> {
    let fault = |error: serde_json::Error| LoadtestError::Content {
        path: path.to_owned(),
        fault: format!("is not JSON ({error}); correct it"),
    };
    serde_json::from_str(&read_text(path)?).map_err(fault)
}

fn read_text(path: &Path) -> Result<String, LoadtestError> {
    let cannot = |source| LoadtestError::ReadFile { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(cannot)?.len() > MOST_BYTES {
        let fault = format!("is larger than {} MiB; give a part of it", MOST_BYTES >> 20);
        return Err(LoadtestError::Content { path: path.to_owned(), fault });
    }
    std::fs::read_to_string(path).map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Prompts, LoadtestError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Prompts::read(file.path())
    }

    #[test]
    fn a_line_is_a_text_ids_or_messages() {
        let text = "{\"prompt\": \"a\", \"id\": 4}\n\n{\"prompt\": [1, 2], \"output_tokens\": 7}\n\
                    {\"messages\": [{\"role\": \"user\", \"content\": \"b\"}]}\n";
        let rows = read(text).unwrap().rows;
        assert_eq!(
            rows.iter().map(|row| row.prompt.source()).collect::<Vec<_>>(),
            [json!("a"), json!([1, 2]), json!("b")]
        );
        assert_eq!(rows.iter().map(|row| row.max_tokens).collect::<Vec<_>>(), [None, Some(7), None]);
        assert_eq!(rows[0].prompt.messages(), json!([{"role": "user", "content": "a"}]));
    }

    #[test]
    fn a_line_that_is_no_prompt_is_named() {
        let error = read("{\"prompt\": \"a\"}\n{\"question\": 1}\n").unwrap_err().to_string();
        assert!(error.contains("line 2 is no prompt"), "{error}");
        assert!(read("\n").unwrap_err().to_string().contains("holds no prompt"));
    }
}
