//! The scheduler: a synchronous state machine between the engine thread and the model.
//!
//! The engine thread submits and cancels requests, then repeats: plan a step, run it, commit it. The scheduler knows
//! token ids and page indices; it has no clock, channel, text or arithmetic.
//!
//! Invariants between any two calls:
//! - Running sequences are ordered by priority, then by id, that is, by when they had their turn; so are waiting ones.
//!   Those of a priority that run are older than those that wait.
//! - A source has an entry in the cache exactly as long as it has pages.
//! - Every page has as many references as owners, and a page without an owner is free.
//! - Every piece is free or belongs to one page that has an owner. A page lacks pieces only where no row to come reads
//!   them.
//! - A page that several owners share is not written, except by the encoder before anybody reads it. A branch that has
//!   to write one gets a copy first. Choices share whole pages of their decoder prompt, which one of them writes in the
//!   step in which the others first read them, or before.
//! - Pages that a plan under way reads or writes do not change hands before a plan that is run after it.
//! - A sequence runs no row while something is awaited at one of its places in a constraint.

mod accounts;
mod admission;
mod beams;
mod cancellation;
mod commit;
mod conservation;
mod draft_lengths;
mod drafter;
mod drafts;
mod encoder_lane;
mod encoder_queue;
mod event;
mod expansion;
mod history;
mod idle;
mod limits;
mod memory;
mod ngrams;
mod page_pool;
mod place;
mod plan;
mod pool_size;
mod preemption;
mod queue;
mod rows;
mod rules;
mod running;
mod searching;
mod sequence;
mod shared_prompts;
mod source;
mod source_cache;
mod state;
mod stems;
mod step;
mod submission;
#[cfg(test)]
mod tests;
mod windows;

pub use accounts::{PageCounts, SchedulerCounters};
pub use commit::Found;
pub use conservation::Imbalance;
pub use event::{Event, HeldScore, NoToken, ScoreAt, TokenScoreAt};
pub use limits::{BoundaryTokens, SchedulerLimits};
pub use page_pool::{PageId, PageImbalance};
pub use place::{MaskAsk, Move, Moved, Need, PlaceId, Seen};
pub use plan::{EncodeWork, Lane, Output, Plan, TargetBatch};
pub use pool_size::PoolSize;
pub use sequence::SequenceId;
pub use state::Scheduler;
