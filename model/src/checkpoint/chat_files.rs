//! Parts of a checkpoint that its chat template needs: the template's text, and the names of special tokens.
//!
//! Read from `tokenizer_config.json` and `chat_template.jinja`. Nothing is compiled here.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::open_checkpoint::OpenCheckpoint;
use crate::error::{Error, Result};
use crate::input::strip_mark;

const SETTINGS: &str = "tokenizer_config.json";
pub(super) const TEMPLATE: &str = "chat_template.jinja";
/// Name of the template that is used where a checkpoint has several.
const DEFAULT: &str = "default";

/// The text of a chat template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateText {
    /// Name of the file that it is in.
    pub file: &'static str,
    /// The template.
    pub text: String,
}

/// Parts of a checkpoint that chat needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChatFiles {
    /// The chat template, if there is one. As in transformers, a file of its own wins over `tokenizer_config.json`.
    pub template: Option<TemplateText>,
    /// Special tokens by the names that templates have for them, such as `bos_token`.
    pub special_tokens: Vec<(String, String)>,
}

/// The fields that are read of `tokenizer_config.json`.
#[derive(Deserialize)]
struct Settings {
    chat_template: Option<Templates>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// One template, or several with names.
#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

impl Templates {
    /// The template for conversations without tools.
    fn into_default(self) -> Option<String> {
        match self {
            Self::One(text) => Some(text),
            Self::Named(list) => list.into_iter().find(|one| one.name == DEFAULT).map(|one| one.template),
        }
    }
}

impl ChatFiles {
    /// Reads the contents of `tokenizer_config.json` and of `chat_template.jinja`. Errors say that they are in
    /// `folder`.
    ///
    /// # Errors
    /// When the former is no JSON of the right types, or the latter no UTF-8.
    pub fn parse(folder: &Path, settings: Option<&[u8]>, template: Option<&[u8]>) -> Result<Self> {
        let settings: Option<Settings> = settings
            .map(serde_json::from_slice)
            .transpose()
            .map_err(|source| Error::Json { path: folder.join(SETTINGS), source })?;
        let (in_settings, others) = settings.map_or((None, Map::new()), |read| (read.chat_template, read.others));
        let own = template.map(|bytes| {
            String::from_utf8(strip_mark(bytes.to_vec()))
                .map_err(|_| Error::WrongKind { path: folder.join(TEMPLATE), expected: "text in UTF-8" })
        });
        let template = match own.transpose()? {
            Some(text) => Some(TemplateText { file: TEMPLATE, text }),
            None => in_settings.and_then(Templates::into_default).map(|text| TemplateText { file: SETTINGS, text }),
        };
        let special_tokens = others.into_iter().filter_map(|(name, value)| {
            let token = special(&name, &value)?;
            Some((name, token))
        });
        Ok(Self { template, special_tokens: special_tokens.collect() })
    }
}

/// The text of a special token that is given as such or as an object.
fn special(name: &str, value: &Value) -> Option<String> {
    let text = value.as_str().or_else(|| value.get("content")?.as_str());
    text.filter(|_| name.ends_with("_token")).map(str::to_owned)
}

impl<C> OpenCheckpoint<C> {
    /// The parts that chat needs; there may be none.
    ///
    /// # Errors
    /// When a file cannot be read or is not what it should be.
    pub fn chat_files(&self) -> Result<ChatFiles> {
        let (settings, template) = (self.other_file(SETTINGS)?, self.other_file(TEMPLATE)?);
        ChatFiles::parse(self.origin(), settings.as_deref(), template.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(settings: &str, template: Option<&str>) -> Result<ChatFiles> {
        ChatFiles::parse(Path::new("/m"), Some(settings.as_bytes()), template.map(str::as_bytes))
    }

    #[test]
    fn a_template_of_its_own_wins_and_of_several_the_default_one_is_taken() {
        let text = |files: Result<ChatFiles>| files.unwrap().template.map(|template| (template.file, template.text));
        let named = r#"{"chat_template": [{"name": "tools", "template": "t"}, {"name": "default", "template": "d"}]}"#;
        assert_eq!(text(parse(r#"{"chat_template": "x"}"#, None)), Some((SETTINGS, "x".to_owned())));
        assert_eq!(text(parse(named, None)), Some((SETTINGS, "d".to_owned())));
        assert_eq!(text(parse(named, Some("\u{feff}own"))), Some((TEMPLATE, "own".to_owned())));
        assert_eq!(text(parse("{}", None)), None);
        assert_eq!(text(parse(r#"{"chat_template": [{"name": "tools", "template": "t"}]}"#, None)), None);
    }

    #[test]
    fn special_tokens_are_texts_or_objects() {
        let settings = r#"{"bos_token": "<bos>", "eos_token": {"content": "<eos>", "lstrip": false}, "pad_token": null,
                           "add_bos_token": true, "unk_token": 7, "tokenizer_class": "GemmaTokenizer"}"#;
        let pair = |name: &str, token: &str| (name.to_owned(), token.to_owned());
        assert_eq!(
            parse(settings, None).unwrap().special_tokens,
            [pair("bos_token", "<bos>"), pair("eos_token", "<eos>")]
        );
    }

    #[test]
    fn files_that_are_not_what_they_should_be_are_named() {
        assert!(parse("{", None).unwrap_err().to_string().contains("/m/tokenizer_config.json"));
        assert!(parse(r#"{"chat_template": 7}"#, None).is_err());
        let broken = ChatFiles::parse(Path::new("/m"), None, Some(&[0xff]));
        assert!(broken.unwrap_err().to_string().contains("/m/chat_template.jinja"));
    }
}
