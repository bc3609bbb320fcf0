//! The server whole: HTTP, engine, kernels and the demo checkpoint.

#![allow(clippy::unwrap_used, reason = "clippy takes the client and the fake model for more than tests")]

mod adapt;
mod answer;
mod answers;
mod app;
mod bad_requests;
mod batch;
mod batching;
mod beams;
mod bodies;
mod byte_order_mark;
mod cancellation;
mod chat;
mod checkpoints;
mod command_line;
mod controls;
mod demo;
mod encoder;
mod engine;
mod eval;
mod fake;
mod generation_config;
mod grammar_trials;
mod hub_ids;
mod idle;
mod keys;
mod loading;
mod logs;
mod outputs;
mod overload;
mod process;
mod quantize;
mod responses;
mod said;
mod scarcity;
mod scoring;
mod several_models;
mod several_started;
mod shutdown;
mod sources;
mod structured_outputs;
mod target_floods;
mod token_ids;
mod train;
mod unwritable;
