//! Training runs on the tiny checkpoints: their steps, their ends, and what being killed does to them (nothing).

mod ends;
mod objectives;
mod refusals;
mod resumption;
mod steps;
mod trial;
