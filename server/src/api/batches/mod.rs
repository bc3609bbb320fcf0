//! `/v1/files` and `/v1/batches`: files of requests, and batches that answer them on what other requests leave.
//!
//! Asked by the router. `batch_store` keeps and runs them.

mod asker;
mod batch;
mod batch_fields;
mod batch_message;
mod file;
mod file_message;
mod form;
mod list_query;
mod upload;
mod window;

#[cfg(test)]
pub use asker::ENDPOINTS;
pub use batch::{cancel, create, list as list_batches, retrieve as retrieve_batch};
pub use batch_fields::BATCH_FIELDS;
pub use batch_message::{BatchList, BatchMessage};
pub use file::{content, delete, list as list_files, retrieve as retrieve_file};
pub use file_message::{DeletedFile, FileList, FileMessage};
pub use list_query::{BATCH_QUERY, FILE_QUERY, QueryField};
pub use upload::{upload, upload_schema};
