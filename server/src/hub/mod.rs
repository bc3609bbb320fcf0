//! Checkpoints of a hub: fetched with resume and checksums into the folder that huggingface_hub uses, or found there.
//!
//! Called by `loading` and by the commands that take checkpoints. Knows files and checksums, not what a checkpoint
//! holds.

mod address;
mod cache;
mod checkpoint_files;
mod checksum;
mod client;
mod download;
mod error;
mod fetch;
mod parallel;
mod partial_file;
mod proxy;
mod repository;
mod roots;
mod stop;
#[cfg(test)]
mod tests;

pub use error::HubError;
pub use fetch::{fetch, folder_of};
