//! The HTTP layer as clients see it, over a scripted engine.

#![allow(clippy::unwrap_used, reason = "clippy takes the client and the scripted engine for more than tests")]

mod access;
mod answer;
mod app;
mod bad_bodies;
mod bad_requests;
mod batches;
mod beginnings;
mod best_of;
mod chat;
mod compressed_bodies;
mod connection_places;
mod controls;
mod deadlines;
mod defaults;
mod description;
mod embeddings;
mod encoder_routes;
mod every_field;
mod framing;
mod keys;
mod large_answers;
mod large_bodies;
mod leaving_clients;
mod listening;
mod neutral_fields;
mod offsets;
mod overload;
mod page;
mod paths;
mod render;
mod responses;
mod scoring;
mod scripted_engine;
mod shutdown;
mod strangers;
mod streamed_answers;
mod structured_outputs;
mod tls;
mod tokens;
mod traces;
mod truncation;
mod unable_models;
mod whole_answers;
