//! Text in, events out: HTTP, scheduler, engine thread, telemetry, command line.

pub mod allocator;
pub mod api;
pub mod cli;
pub mod commands;
pub mod config;
pub mod connection;
pub mod engine;
pub mod evaluation;
pub mod held_body;
pub mod liveness;
pub mod loading;
pub mod log;
pub mod memory;
pub mod notify;
pub mod peer;
pub mod progress;
pub mod request;
pub mod resources;
pub mod scheduler;
pub mod serve;
pub mod service;
pub mod startup;
pub mod telemetry;
pub mod terminal;
pub mod tokenize;
