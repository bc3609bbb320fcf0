//! Files and batches that the server keeps: in a folder, across restarts, within limits, each for the key that it
//! belongs to.
//!
//! Asked by `api`, started by the `serve` command. Runs batches with `batch`. Every record is a file of its own, which
//! is replaced as a whole.

mod batch_record;
mod clock;
mod ending;
mod error;
mod failing;
mod file_record;
mod folder;
mod jobs;
mod runner;
mod running;
mod share;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod upload;
mod validation;

pub use batch_record::{BatchRecord, BatchStatus, LineFault, RequestCounts};
pub use error::StoreError;
pub use failing::WITHDRAWAL;
pub use file_record::FileRecord;
pub use runner::{Runner, RunnerParts};
pub use share::Bound;
pub use store::{BatchStore, NewBatch, Owner, StoreLimits};
pub use upload::{Upload, UploadName};
