//! The network that is trained, the rows it is fed, and whole runs on the tiny checkpoints.
#![allow(clippy::unwrap_used)]

#[path = "../fixture/mod.rs"]
mod fixture;
#[path = "../runner/mod.rs"]
mod runner;
#[path = "../trained/mod.rs"]
mod trained;

mod network;
mod network_kinds;
mod run;
mod training_feed;
mod training_rows;
