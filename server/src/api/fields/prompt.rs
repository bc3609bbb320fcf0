//! A prompt as a body gives it, and the name under which errors tell of it.
//!
//! Read by `prompts` and `decoder_prompt`.

/// A source, or the beginning of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Text to be tokenised.
    Text(String),
    /// Ids that are taken as they are.
    Ids(Vec<u32>),
}

impl Prompt {
    /// Number of start tokens that it brings, 0 or 1: that one is left out, because the engine adds it.
    pub fn start_tokens(&self, start_token: u32) -> usize {
        match self {
            Self::Text(_) => 0,
            Self::Ids(ids) => usize::from(ids.first() == Some(&start_token)),
        }
    }
}

/// Names of a request's prompts in errors: made of the name of their field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptNames {
    /// One string or one list of ids, such as `prompt`.
    Single(&'static str),
    /// `prompt[0]` and so on, though there may be only one.
    Listed(&'static str),
}

impl PromptNames {
    /// The name of their field.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Single(field) | Self::Listed(field) => field,
        }
    }

    /// The name of one of them.
    pub fn of(self, index: usize) -> String {
        match self {
            Self::Single(field) => field.to_owned(),
            Self::Listed(field) => format!("{field}[{index}]"),
        }
    }
}
