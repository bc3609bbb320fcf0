//! Batches: files of requests, each line of which is answered by a route, and the file of their results.
//!
//! Run by the `batch` command and by `batch_store`. A run can be ended at any moment: results are appended whole, and
//! the next run answers the requests that have none. Knows no model: requests go to a router.

mod answer;
mod beforehand;
mod error;
mod finished;
mod line_reader;
mod remaining;
mod request_line;
mod requests;
mod result_line;
mod results_file;
mod run;
mod shard;
#[cfg(test)]
mod tests;

pub use answer::Destination;
pub use beforehand::{CheckedLine, check_lines};
pub use error::BatchError;
pub use line_reader::LineReader;
pub use remaining::{Reason, refuse_remaining};
pub use request_line::BatchRequest;
pub use result_line::{BatchResult, Outcome, is_success};
pub use results_file::ResultsFile;
pub use run::{Batch, BatchCounts, Pace, run};
pub use shard::Shard;
