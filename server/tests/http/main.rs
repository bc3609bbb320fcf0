//! The HTTP layer as clients see it, over a scripted engine.

mod app;
mod bad_requests;
mod connections;
mod overload;
mod streamed_answers;
mod whole_answers;
