//! The server whole: HTTP, engine, kernels and the demo checkpoint.

#![allow(clippy::unwrap_used, reason = "clippy takes the client and the fake model for more than tests")]

mod answer;
mod answers;
mod app;
mod batching;
mod demo;
mod engine;
mod fake;
mod sources;
