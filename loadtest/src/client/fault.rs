//! Faults of answers, by class.

use std::fmt;

/// Why an answer is not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Class, which is counted.
    pub class: FaultClass,
    /// The evidence, for people.
    pub detail: String,
}

/// Classes of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultClass {
    /// No connection could be made.
    Connect,
    /// The connection ended before the answer began.
    Closed,
    /// The answer ended before it was whole.
    Cut,
    /// The answer was not whole in time.
    Timeout,
    /// The server answered with another status than 200.
    Status(u16),
    /// The server reported an error within a stream.
    ErrorEvent,
    /// The answer is not what the endpoint answers with.
    Unparseable,
    /// A choice has no `finish_reason`.
    Unfinished,
    /// Fewer or more choices, or vectors, than were asked for.
    Choices,
    /// An answer under a JSON schema is not JSON.
    Schema,
}

impl fmt::Display for FaultClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => formatter.write_str("connect"),
            Self::Closed => formatter.write_str("closed"),
            Self::Cut => formatter.write_str("cut"),
            Self::Timeout => formatter.write_str("timeout"),
            Self::Status(status) => write!(formatter, "status_{status}"),
            Self::ErrorEvent => formatter.write_str("error_event"),
            Self::Unparseable => formatter.write_str("unparseable"),
            Self::Unfinished => formatter.write_str("unfinished"),
            Self::Choices => formatter.write_str("choices"),
            Self::Schema => formatter.write_str("schema"),
        }
    }
}

impl Fault {
    /// A fault of `class`, with what was seen.
    pub fn new(class: FaultClass, detail: impl fmt::Display) -> Self {
        Self { class, detail: detail.to_string() }
    }
}
