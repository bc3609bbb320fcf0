//! How requests end, as metrics and logs tell it.
//!
//! Decided by `api`.

/// How an HTTP request for a model ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Answered whole.
    Completed,
    /// The client went away first.
    #[default]
    Cancelled,
    /// The request was at fault (4xx).
    Refused,
    /// Turned away because the server had no room or no time for it (429).
    Overloaded,
    /// Turned away because its client had used up its quota (429).
    OverQuota,
    /// Turned away or cut off because its client wanted the answer within less time than it takes (503 or 504).
    Late,
    /// Turned away because the server is not ready yet or shutting down, or cut off by its end (503).
    Unavailable,
    /// The server was at fault (any other 5xx, or an error inside a stream).
    Failed,
}

impl Outcome {
    pub(super) const ALL: [Self; 8] = [
        Self::Completed,
        Self::Cancelled,
        Self::Refused,
        Self::Overloaded,
        Self::OverQuota,
        Self::Late,
        Self::Unavailable,
        Self::Failed,
    ];

    /// The value of the label `outcome`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
            Self::Overloaded => "overloaded",
            Self::OverQuota => "over_quota",
            Self::Late => "late",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
        }
    }
}
