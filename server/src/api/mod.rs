//! HTTP: OpenAI's API over the engine's door.
//!
//! [`router`] is the entry. Nothing here knows pages, steps or tensors; the engine is reached through its handle.

mod answers;
mod arrival;
mod batches;
mod chat;
mod completions;
mod controls;
mod encodings;
mod fields;
mod generation;
mod health;
mod http;
mod json;
mod load;
mod models;
mod openapi;
mod page;
mod quota_book;
mod reading;
mod responses;
mod results;
mod router;
mod scoring;
mod state;
mod structure;
mod texts;
mod tokens;
mod turn;

pub use answers::AnswerBudget;
pub use http::{
    AccessLog, ApiError, BodyLimits, BodyPace, Budget, BudgetLimits, Entrance, Guard, GuardSettings, KeyCheck,
    OpenRequests,
};
pub use quota_book::QuotaBook;
pub use router::{admin_router, batch_router, loading_routes, probe_router, router};
pub use state::{Api, ApiLimits};
pub use structure::StructureBounds;
