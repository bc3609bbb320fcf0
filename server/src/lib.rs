//! Text in, events out: HTTP, scheduler, engine thread, telemetry, command line.

pub mod engine;
pub mod scheduler;
