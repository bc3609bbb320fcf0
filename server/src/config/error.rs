//! What can be wrong with configuration files and flags, and how it is said.
//!
//! Built by `config`; printed by `main`.

use std::path::PathBuf;

/// Why there is no [`Config`].
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{origin} is not valid TOML: line {line}: {message}")]
    Syntax {
        /// The file.
        origin: String,
        /// Line of the mistake, from 1.
        line: usize,
        /// What was expected there.
        message: String,
    },
    /// Keys or values cannot be used; all of them are listed.
    #[error("invalid configuration: {}", list(problems))]
    Invalid {
        /// At least one.
        problems: Vec<Problem>,
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
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no such key or section.
    #[error("unknown (there are: {})", known.join(", "))]
    Unknown {
        /// What there is in its place.
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
        /// Given.
        value: i64,
        /// Smallest allowed.
        least: i64,
        /// Largest allowed.
        most: i64,
    },
    /// A name that means nothing here.
    #[error("must be one of {}, is {value:?}", choices.join(", "))]
    NotOneOf {
        /// Given.
        value: String,
        /// Allowed.
        choices: Vec<&'static str>,
    },
    /// An empty string where there must be one.
    #[error("must not be empty")]
    Empty,
    /// A list of anything but numbers in ascending order.
    #[error("must be whole numbers from {least} to {most} in ascending order")]
    NotAscending {
        /// Smallest allowed.
        least: i64,
        /// Largest allowed.
        most: i64,
    },
    /// A list of anything but strings that are not empty.
    #[error("must be a list of strings, none of them empty")]
    NotTexts,
    /// The other key is given as well.
    #[error("excludes {other}; give one of them")]
    Excludes {
        /// The other key.
        other: &'static str,
    },
    /// Two keys whose values contradict each other.
    #[error("{} ({}) must be at most {} ({})", smaller.0, smaller.1, larger.0, larger.1)]
    OutOfOrder {
        /// The key that must not exceed the other, and its value.
        smaller: (&'static str, u64),
        /// The key that bounds it, and its value.
        larger: (&'static str, u64),
    },
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}
