//! Puts load on an OpenAI-style server and measures its answers.
//!
//! A stranger to the rest of the repository: it imports none of the other crates and speaks only HTTP.

pub mod arrivals;
pub mod cli;
pub mod client;
pub mod command;
pub mod error;
pub mod measurement;
pub mod report;
pub mod run;
pub mod scenario;
pub mod scrape;
pub mod thresholds;
pub mod workload;
