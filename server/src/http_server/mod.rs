//! The HTTP server: listening sockets, its life from loading to the last answer, and the models it answers from.
//!
//! Built by the `serve` command and by tests. Requests are `api`'s, single connections `client_connection`'s.

mod deployment;
mod listener;
mod server;

pub use deployment::{Deployment, ModelToServe, body_limits};
pub use server::{ConnectionLimits, HttpServer, ServerShared};
