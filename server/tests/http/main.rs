//! The HTTP layer as clients see it, over a scripted engine.

#![allow(clippy::unwrap_used, reason = "clippy takes the client and the scripted engine for more than tests")]

mod access;
mod app;
mod bad_requests;
mod connections;
mod offsets;
mod overload;
mod paths;
mod strangers;
mod streamed_answers;
mod whole_answers;
