//! Checkpoints of a hub: fetched with resume and checksums into the folder that huggingface_hub uses, or found there.
//!
//! Called by `loading` and by `server pull`. Knows files and checksums, not what a checkpoint holds.

mod cache;
mod checkpoint_files;
mod checksum;
mod client;
mod download;
mod error;
mod fetch;
mod partial_file;
mod repository;
#[cfg(test)]
mod tests;

pub use error::HubError;
pub use fetch::fetch;
