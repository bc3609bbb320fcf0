//! Text in, events out: HTTP, scheduler, engine thread, telemetry, command line.

pub mod access;
pub mod api;
pub mod batch;
pub mod batch_store;
pub mod chat_template;
pub mod cli;
pub mod client_connection;
pub mod commands;
pub mod config;
pub mod constraint;
pub mod engine;
pub mod evaluation;
pub mod fair_turns;
pub mod http_server;
pub mod hub;
pub mod job_pool;
pub mod loading;
pub mod overload;
pub mod process;
pub mod registry;
pub mod request;
pub mod scheduler;
pub mod source_sharing;
pub mod telemetry;
pub mod traces;
pub mod turns;
