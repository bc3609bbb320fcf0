//! Text in, events out: HTTP, scheduler, engine thread, telemetry, command line.

pub mod cli;
pub mod config;
pub mod engine;
pub mod progress;
pub mod scheduler;
pub mod startup;
