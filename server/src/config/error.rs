//! Errors of configuration files and flags.
//!
//! Built by `config`; printed by `main`.

use std::path::PathBuf;

/// An error that leaves no [`Config`].
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{origin} is not valid TOML: line {line}: {message}")]
    Syntax {
        /// The file.
        origin: String,
        /// Line of the mistake, from 1.
        line: usize,
        /// The parser's message.
        message: String,
    },
    /// Keys or values that cannot be used, all of them.
    #[error("invalid configuration: {}", list(problems))]
    Invalid {
        /// The problems, at least one.
        problems: Vec<Problem>,
    },
    /// A command that runs one model was given several.
    #[error(
        "this command runs one model, and the settings name {}: {}; name one with --model",
        names.len(),
        names.join(", ")
    )]
    SeveralModels {
        /// Names of the models.
        names: Vec<String>,
    },
}

/// One key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {key}: {fault}")]
pub struct Problem {
    /// The file's path or "command line".
    pub origin: String,
    /// Full name of the key, or the name of a section.
    pub key: String,
    /// The problem.
    pub fault: Fault,
}

/// Problem of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no such key or section.
    #[error("unknown (there are: {})", known.join(", "))]
    Unknown {
        /// A key or section that exists and was probably meant.
        known: Vec<String>,
    },
    /// The value is of another TOML type.
    #[error("must be of type {expected}, is {found}")]
    WrongType {
        /// TOML type of the default.
        expected: &'static str,
        /// TOML type given.
        found: &'static str,
    },
    /// A number outside its range.
    #[error("must be between {least} and {most}, is {value}")]
    OutOfRange {
        /// The given value.
        value: i64,
        /// Smallest allowed.
        least: i64,
        /// Largest allowed.
        most: i64,
    },
    /// A name that is not one of the allowed ones.
    #[error("must be one of {}, is {value:?}", choices.join(", "))]
    NotOneOf {
        /// The given value.
        value: String,
        /// The allowed names.
        choices: Vec<&'static str>,
    },
    /// An empty string where a text is required.
    #[error("must not be empty")]
    Empty,
    /// An address that is not one of HTTP.
    #[error("must begin with http:// or https://, is {value:?}")]
    NoUrl {
        /// The given value.
        value: String,
    },
    /// An address with a user before its host. It is not shown: it may hold a password.
    #[error("must name no user or password before the host: give a token in HF_TOKEN")]
    UserInUrl,
    /// A list that is not of ascending numbers.
    #[error("must be whole numbers from {least} to {most} in ascending order")]
    NotAscending {
        /// Smallest allowed.
        least: i64,
        /// Largest allowed.
        most: i64,
    },
    /// A list that is not of nonempty strings.
    #[error("must be a list of strings, none of them empty")]
    NotTexts,
    /// A list with an entry of another form.
    #[error("each must be {form}, and {value:?} is not")]
    NotEach {
        /// The form of each.
        form: &'static str,
        /// The first entry of another.
        value: String,
    },
    /// A text that is no quota of a key.
    #[error("must be a list of texts such as \"NAME:100000\": the name of an API key, and its tokens a minute")]
    NoQuota,
    /// An empty value of a key that another one needs.
    #[error("must not be empty when {other} is set so")]
    NeededBy {
        /// The other key.
        other: &'static str,
    },
    /// Another key that excludes this one is given as well.
    #[error("excludes {other}; give one of them")]
    Excludes {
        /// The other key.
        other: &'static str,
    },
    /// A name or an alias that another model has, or the same one twice.
    #[error("`{name}` is a name or an alias already: give each model its own (served_name, --model NAME=PATH)")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Two keys whose values contradict each other.
    #[error("{smaller} must be at most {larger}")]
    OutOfOrder {
        /// The key that must not exceed the other, and its value.
        smaller: KeyValue,
        /// The key that bounds it, and its value.
        larger: KeyValue,
    },
}

/// A key with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyValue {
    /// The key, such as `limits.prompts`.
    pub key: &'static str,
    /// Its value.
    pub value: u64,
}

impl std::fmt::Display for KeyValue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.key, self.value)
    }
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}
