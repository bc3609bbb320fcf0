//! Why a batch did not come to its end. Whatever it has finished by then stays in the file of results.

use std::io;
use std::path::PathBuf;

/// Why a batch did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// A file cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file is a folder, a pipe or a device.
    #[error("{} must be a regular file, because it is read more than once", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// The file of results is the file of requests.
    #[error("{} is the file of requests: name another file for the results", path.display())]
    SameFile {
        /// The file.
        path: PathBuf,
    },
    /// Another process writes the file of results.
    #[error("another process writes {}: wait for its end, or name another file", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The file of results holds something else.
    #[error("line {line} of {} is not a result of a batch: name another file for the results", path.display())]
    NotResults {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The parser's message, if the parser has one.
        source: Option<serde_json::Error>,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A result cannot be written.
    #[error("cannot write to {}: make room and repeat the command, which goes on from there", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The run was asked to end before all requests were answered.
    #[error("ended early, after {finished} finished requests: repeat the command to go on from there")]
    Interrupted {
        /// Requests with a result.
        finished: u64,
    },
    /// The run was asked twice to end.
    #[error("cut off: repeat the command to go on from the results that are written")]
    CutOff,
}
