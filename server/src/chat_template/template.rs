//! A chat template, compiled once and rendered for each conversation, within limits.
//!
//! It follows transformers: Jinja with trimmed blocks, the methods of Python's texts and dictionaries, and variables:
//! `messages`, `tools`, `documents`, `add_generation_prompt` and the special tokens. It includes no other file.

use std::error::Error as _;
use std::sync::Arc;

use minijinja::{Environment, Error, ErrorKind, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::conversation::{ChatMessage, Conversation};
use super::functions::{Raised, add_functions};
use super::limited_writer::LimitedWriter;

/// The form of a conversation for models without a chat template: its messages as paragraphs, with names of the
/// speakers where there are several turns.
pub const PLAIN: &str = "\
{%- set turns = messages | rejectattr('role', 'equalto', 'system') | list -%}
{%- for message in messages -%}
    {%- if not loop.first %}{{ '\\n\\n' }}{% endif -%}
    {%- if turns | length > 1 and message.role != 'system' %}{{ message.role | capitalize }}: {% endif -%}
    {{- message.content -}}
{%- endfor -%}
{%- if add_generation_prompt and turns | length > 1 %}{{ '\\n\\nAssistant:' }}{% endif -%}";

/// Bytes of a template's text. Published ones take some KiB.
const TEMPLATE_BYTES: usize = 1 << 20;
/// Characters of one of its lines: the library's positions in a line are 16 bits wide, and overflow beyond.
const LINE_CHARACTERS: usize = 65_000;
/// Calls inside one another.
const RECURSION: usize = 100;
const NAME: &str = "chat";

/// A compiled template. Clones share it.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Arc<Environment<'static>>,
    special_tokens: Arc<[(String, String)]>,
    /// Instructions of one rendering, at most.
    steps: u64,
    is_plain: bool,
}

/// Why a template cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// It is longer than any template.
    #[error("it has {bytes} bytes; at most {TEMPLATE_BYTES} are taken")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// One of its lines is longer than the library can name places in.
    #[error("one of its lines has {characters} characters; at most {LINE_CHARACTERS} are taken: break it inside a tag")]
    LongLine {
        /// Length of the line.
        characters: usize,
    },
    /// It is no template that this program can run.
    #[error("{0}")]
    Syntax(#[from] Error),
}

/// Why a conversation has no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The template refuses it.
    #[error("{0}")]
    Raised(String),
    /// The text is longer than the limit.
    #[error("the text has more than {limit_bytes} bytes")]
    TooLong {
        /// The limit.
        limit_bytes: usize,
    },
    /// The template takes more instructions than allowed.
    #[error("it takes more than {steps} steps (limits.chat_template_steps)")]
    TooManySteps {
        /// The limit.
        steps: u64,
    },
    /// The template failed.
    #[error("{0}")]
    Failed(String),
}

impl ChatTemplate {
    /// Compiles a checkpoint's template, which writes special tokens such as `bos_token` itself. A rendering takes at
    /// most `steps` of its instructions.
    ///
    /// # Errors
    /// When it is too long, or no template that can be run.
    pub fn compile(text: &str, special_tokens: Vec<(String, String)>, steps: u64) -> Result<Self, CompileError> {
        if text.len() > TEMPLATE_BYTES {
            return Err(CompileError::TooLong { bytes: text.len() });
        }
        let longest = text.split('\n').map(|line| line.chars().count()).max().unwrap_or(0);
        if longest > LINE_CHARACTERS {
            return Err(CompileError::LongLine { characters: longest });
        }
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_recursion_limit(RECURSION);
        environment.set_fuel(Some(steps));
        environment.set_unknown_method_callback(unknown_method_callback);
        // A conversation is no HTML, whatever the name of its template.
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        add_functions(&mut environment);
        environment.add_template_owned(NAME, without_generation_tags(text))?;
        let (environment, special_tokens) = (Arc::new(environment), special_tokens.into());
        Ok(Self { environment, special_tokens, steps, is_plain: false })
    }

    /// The template of models that have none. Its text has no special tokens.
    pub fn plain(steps: u64) -> Self {
        let compiled = Self::compile(PLAIN, Vec::new(), steps).expect("a test compiles it");
        Self { is_plain: true, ..compiled }
    }

    /// Whether the tokenizer has to frame the text, because the template writes no special tokens.
    pub const fn needs_frame(&self) -> bool {
        self.is_plain
    }

    /// The text of a conversation, of at most `limit_bytes` bytes.
    ///
    /// # Errors
    /// When the template refuses it, fails, or goes beyond a limit.
    pub fn render(&self, conversation: &Conversation, limit_bytes: usize) -> Result<String, RenderError> {
        let Conversation { messages, add_generation_prompt, variables, .. } = conversation;
        let tokens = self.special_tokens.iter().map(|(name, token)| (name.as_str(), Value::from(token.as_str())));
        let own = [
            ("messages", Value::from(messages.iter().map(message_value).collect::<Vec<_>>())),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(*add_generation_prompt)),
        ];
        let further = variables.iter().map(|(name, value)| (name.as_str(), Value::from(value)));
        let context: Value = tokens.chain(further).chain(own).collect();
        let template = self.environment.get_template(NAME).expect("it was added");
        let mut out = LimitedWriter::new(limit_bytes);
        let rendered = template.render_captured_to(context, &mut out).map(|_| ());
        match rendered {
            Ok(()) => Ok(out.into_text()),
            Err(_) if out.is_full => Err(RenderError::TooLong { limit_bytes }),
            Err(error) if error.kind() == ErrorKind::OutOfFuel => Err(RenderError::TooManySteps { steps: self.steps }),
            Err(error) => Err(failure(&error)),
        }
    }
}

fn message_value(message: &ChatMessage) -> Value {
    let fields = [("role", &message.role), ("content", &message.content)];
    let name = message.name.iter().map(|name| ("name", name));
    fields.into_iter().chain(name).map(|(name, text)| (name, Value::from(text.as_str()))).collect()
}

/// The error of a template, or what it raised itself.
fn failure(error: &Error) -> RenderError {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(Raised(message)) = inner.downcast_ref() {
            return RenderError::Raised(message.clone());
        }
        cause = inner.source();
    }
    RenderError::Failed(error.to_string())
}

/// The template with the tags `generation` and `endgeneration`, which mark answers for training, as plain conditions:
/// what is between them stays, and so do the marks of trimmed spaces.
fn without_generation_tags(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("{%") {
        let Some(end) = rest[start + 2..].find("%}").map(|end| start + 2 + end) else { break };
        let inside = &rest[start + 2..end];
        let word = inside.trim_matches(|c: char| c.is_whitespace() || "-+".contains(c));
        let replaced = match word {
            "generation" => inside.replacen("generation", "if true", 1),
            "endgeneration" => inside.replacen("endgeneration", "endif", 1),
            _ => inside.to_owned(),
        };
        out.push_str(&rest[..start + 2]);
        out.push_str(&replaced);
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
