//! The settings under `[batches]`: where files and batches are kept, and how many.
//!
//! Read by `config`.

use std::path::PathBuf;
use std::time::Duration;

use super::GIB;
use super::error::KeyValue;
use super::reader::Reader;
use crate::batch_store::StoreLimits;

/// Where files and batches are kept, and how many. `config.toml` has the reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchesConfig {
    /// The folder; none if no files are kept.
    pub folder: Option<PathBuf>,
    /// Bounds of what is kept.
    pub limits: StoreLimits,
    /// Batches that are run at once.
    pub running: usize,
}

impl BatchesConfig {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let folder = reader.text("batches.folder");
        let file_bytes: u64 = reader.integer("batches.file_bytes", 1024..=1024 * GIB);
        let total_bytes: u64 = reader.integer("batches.total_bytes", 1024..=1024 * 1024 * GIB);
        reader.ordered(
            KeyValue { key: "batches.file_bytes", value: file_bytes },
            KeyValue { key: "batches.total_bytes", value: total_bytes },
        );
        Self {
            folder: (!folder.is_empty()).then(|| folder.into()),
            limits: StoreLimits {
                file_bytes,
                total_bytes,
                lines: reader.integer("batches.lines", 1..=10_000_000),
                files: reader.integer("batches.files", 1..=1_000_000),
                unfinished: reader.integer("batches.unfinished", 1..=10_000),
                key_percent: reader.integer("batches.key_percent", 1..=100),
                keep: Duration::from_secs(reader.integer("batches.keep_s", 3600..=315_360_000)),
            },
            running: reader.integer("batches.running", 1..=64),
        }
    }
}
