//! Text in, events out: HTTP, scheduler, engine thread, telemetry, command line.

pub mod api;
pub mod engine;
pub mod serve;
pub mod telemetry;
pub mod tokenize;
