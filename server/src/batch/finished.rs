//! Which requests of a file have a result, and which names were seen: some twenty bytes for each, whatever its length.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};

use super::result_line::{FinishedLine, RequestRef};

/// Bytes that stand for a name: no two names of a file have the same.
type Name = [u8; 16];

/// Requests that have a result, or were seen in this run.
#[derive(Debug, Default)]
pub struct Finished {
    /// Whether a name was seen in this run. One that is here and was not seen has a result of an earlier run.
    names: HashMap<Name, bool>,
    /// Lines without a name that have a result.
    lines: HashSet<u64>,
}

/// Knowledge of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    New,
    /// It has a result.
    Finished,
    /// An earlier line has it.
    Repeated,
}

impl Finished {
    /// Notes a result of an earlier run.
    pub fn note(&mut self, line: FinishedLine) {
        match line.request {
            RequestRef::Named(name) => _ = self.names.insert(short(&name), false),
            RequestRef::Line(line) => _ = self.lines.insert(line),
        }
    }

    /// Notes that a line has this name. Says what was known of it before.
    pub fn see(&mut self, name: &str) -> Known {
        match self.names.insert(short(name), true) {
            None => Known::New,
            Some(false) => Known::Finished,
            Some(true) => Known::Repeated,
        }
    }

    /// Whether a line without a name has a result.
    pub fn has_line(&self, line: u64) -> bool {
        self.lines.contains(&line)
    }
}

fn short(name: &str) -> Name {
    let digest = Sha256::digest(name);
    *digest.first_chunk().expect("a digest has 32 bytes")
}
