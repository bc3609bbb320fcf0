//! Calls that are shed: refused, or taken from the queue, before any work is done for them.
//!
//! Decided by `overload`, told to clients by `api`.

use std::time::Duration;

/// A call was shed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Shed {
    /// Why.
    pub reason: ShedReason,
    /// Time after which the same call may be taken.
    pub retry_after: Duration,
}

impl Shed {
    /// For when nothing is known of the pace at which calls are answered.
    pub const RETRY: Duration = Duration::from_secs(1);

    /// A call for which the queue has no places.
    pub const fn full(queued_rows: u32) -> Self {
        Self { reason: ShedReason::Full { queued_rows }, retry_after: Self::RETRY }
    }
}

/// Why a call was shed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShedReason {
    /// Its sequences do not fit the queue.
    #[error("the server is overloaded: its queue of {queued_rows} sequences has no room for this request")]
    Full {
        /// Sequences that the queue holds.
        queued_rows: u32,
    },
    /// It would wait for too long.
    #[error("the server is overloaded: this request would wait about {} seconds for its turn", seconds(*.expected))]
    LongWait {
        /// Time until its first sequence would run.
        expected: Duration,
    },
    /// It waited in a queue that became too long, behind those that stay, or whose places others had to get.
    #[error("the server is overloaded: this request was taken from its queue, which had become too long")]
    Recalled,
    /// It cannot be answered in time.
    #[error(
        "this request cannot be answered within its timeout: its turn and the least that it asks for take about {} \
         seconds; give it more time or try again later",
        seconds(*.needed)
    )]
    Deadline {
        /// Time until it could be answered.
        needed: Duration,
    },
    /// Its client has used up its quota.
    #[error(
        "this client has used up its quota of {tokens_per_minute} tokens a minute (sources and the most that targets \
         may have); try again later"
    )]
    Quota {
        /// The quota.
        tokens_per_minute: u64,
    },
}

impl ShedReason {
    /// Names of the reasons that a model has, in the order of [`Self::index`].
    pub const NAMES: [&str; 4] = ["full", "long_wait", "recalled", "deadline"];

    /// Its place in [`Self::NAMES`]; none of a quota, which no model has.
    pub const fn index(self) -> Option<usize> {
        match self {
            Self::Full { .. } => Some(0),
            Self::LongWait { .. } => Some(1),
            Self::Recalled => Some(2),
            Self::Deadline { .. } => Some(3),
            Self::Quota { .. } => None,
        }
    }
}

/// Seconds with as many digits as matter.
fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 10.0 { format!("{seconds:.2}") } else { format!("{seconds:.0}") }
}
