//! Training runs on the tiny checkpoints: their steps, their ends, and what being killed does to them (nothing).
#![allow(clippy::unwrap_used)]

#[path = "../fixture/mod.rs"]
mod fixture;
#[path = "../runner/mod.rs"]
mod runner;
#[path = "../trained/mod.rs"]
mod trained;

mod ends;
mod refusals;
mod resumption;
mod steps;
mod trial;
