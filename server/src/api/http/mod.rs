//! The stages of every request around its handler: name, access log, guard, body, budgets, errors.
//!
//! Knows no model's answers. The HTTP status of an error is decided in `error_face`.

mod access_log;
mod body;
mod budget;
mod content_coding;
mod cross_origin;
mod entrance;
mod error;
mod error_face;
mod error_response;
mod error_statuses;
mod form_error;
mod guard;
mod inflate;
mod key_check;
mod layers;
mod open_requests;
mod priority_header;
mod random;
mod request_account;
mod request_name;
mod routes;
mod sequence_error;
mod spanned_body;
mod timeout_header;
mod trace_facts;
mod visit;

pub use access_log::AccessLog;
pub use body::{BodyLimits, BodyPace, BodyReader, Pace, Queues, ReceivedBody, SMALL_BODY_BYTES, broken, discard_body};
pub use budget::{Budget, BudgetLimits, Full, Share};
pub use entrance::Entrance;
pub use error::ApiError;
pub use error_response::ErrorObject;
pub use error_statuses::ERROR_STATUSES;
pub use guard::{Guard, GuardSettings};
pub use key_check::{KeyCheck, client_of};
pub use layers::{behind, behind_without_keys};
pub use open_requests::{OpenRequest, OpenRequests};
pub use random::{random_name, random_u64};
pub use request_account::RequestAccount;
pub use routes::{Route, ask, nothing, read, read_and_ask, read_and_delete, router_of};
pub use sequence_error::TargetNames;
pub use timeout_header::{LONGEST_S, SHORTEST_S, asked_timeout};
#[cfg(test)]
pub use visit::PROBES;
pub use visit::{AskedOutput, Completed, Visit};
