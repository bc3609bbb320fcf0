//! A file, as clients see it: OpenAI's fields.

use serde::Serialize;
use utoipa::ToSchema;

use crate::batch_store::FileRecord;

/// A file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = File)]
pub struct FileMessage {
    id: String,
    object: &'static str,
    bytes: u64,
    created_at: u64,
    expires_at: u64,
    filename: String,
    purpose: String,
    status: &'static str,
    status_details: Option<String>,
}

/// Some files.
#[derive(Debug, Serialize, ToSchema)]
pub struct FileList {
    object: &'static str,
    data: Vec<FileMessage>,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}

/// A file that was deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeletedFile {
    id: String,
    object: &'static str,
    deleted: bool,
}

impl From<FileRecord> for FileMessage {
    fn from(file: FileRecord) -> Self {
        let FileRecord { id, bytes, created_at, expires_at, filename, purpose, owner: _ } = file;
        let (object, status, status_details) = ("file", "processed", None);
        Self { id, object, bytes, created_at, expires_at, filename, purpose, status, status_details }
    }
}

impl FileList {
    /// A page of files, after which there are more or not.
    pub fn new(files: Vec<FileRecord>, has_more: bool) -> Self {
        let (first_id, last_id) = (files.first().map(|file| file.id.clone()), files.last().map(|file| file.id.clone()));
        Self { object: "list", data: files.into_iter().map(FileMessage::from).collect(), first_id, last_id, has_more }
    }
}

impl DeletedFile {
    /// The message about the file with this id.
    pub const fn new(id: String) -> Self {
        Self { id, object: "file", deleted: true }
    }
}
