//! The scheduler against a model without numbers.

mod ahead;
mod alone;
mod automaton;
mod beams;
mod cancellation;
mod constrained_beams;
mod constraints;
mod controls;
mod decoding;
mod drafts;
mod encoder;
mod encodings;
mod fake_model;
mod not_finite;
mod one_of;
mod plain_controls;
mod pressure;
mod priority;
mod rhythm;
mod shared_prompts;
mod sharing;
mod stop_pair;
mod threads;
mod traces;
mod turns;
mod world;
