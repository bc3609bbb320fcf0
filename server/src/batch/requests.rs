//! The requests of a file that have no result yet, and results of lines that are no requests.

use std::io::{self, BufRead};

use super::finished::{Finished, Known};
use super::line_reader::{Line, LineReader};
use super::request_line::{BatchRequest, LineProblem};
use super::result_line::{BatchResult, Outcome};
use super::shard::Shard;

/// A line that has no result yet.
#[derive(Debug)]
pub enum Pending {
    /// A request, with its line.
    Request {
        /// The line, counted from 1.
        line: u64,
        /// The request.
        request: BatchRequest,
    },
    /// The result of a line that is no request.
    Known(BatchResult),
    /// A line that has a result already, or is of another shard.
    Passed,
}

impl Pending {
    /// Bytes of the body.
    pub const fn body_bytes(&self) -> usize {
        match self {
            Self::Request { request, .. } => request.body.len(),
            Self::Known(_) | Self::Passed => 0,
        }
    }
}

/// Reads requests one after the other. Each line yields an item, so that whoever reads them stays free to do something
/// else while many lines are passed over.
pub struct Requests<'a, R> {
    /// Lines of the file.
    pub lines: LineReader<R>,
    /// The part of them that is wanted.
    pub shard: Shard,
    /// Most bytes of a line.
    pub line_bytes: usize,
    /// Requests that have a result.
    pub finished: &'a mut Finished,
}

impl<R: BufRead> Requests<'_, R> {
    fn pending(&mut self, line: Line) -> Option<Pending> {
        let Line { number, bytes } = line;
        let read = bytes.as_deref().map_or(Err(LineProblem::TooLong { limit: self.line_bytes }), BatchRequest::read);
        let name = match &read {
            Ok(request) => Some(request.custom_id.clone()),
            Err(_) => bytes.as_deref().and_then(BatchRequest::name_in),
        };
        let known = name.as_deref().map(|name| self.finished.see(name));
        match (name, known) {
            (Some(_), Some(Known::Finished)) => None,
            (Some(custom_id), Some(Known::Repeated)) => self.unnamed(number, &LineProblem::Repeated { custom_id }),
            (None, _) => self.unnamed(number, &read.err()?),
            (custom_id, _) => Some(match read {
                Ok(request) => Pending::Request { line: number, request },
                Err(problem) => refused(number, custom_id, &problem),
            }),
        }
    }

    fn unnamed(&self, line: u64, problem: &LineProblem) -> Option<Pending> {
        (!self.finished.has_line(line)).then(|| refused(line, None, problem))
    }
}

fn refused(line: u64, custom_id: Option<String>, problem: &LineProblem) -> Pending {
    let outcome = Outcome::Refused { code: "invalid_line", message: format!("line {line}: {problem}") };
    Pending::Known(BatchResult { line, custom_id, outcome })
}

impl<R: BufRead> Iterator for Requests<'_, R> {
    type Item = io::Result<Pending>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self.lines.next()? {
            Err(error) => Err(error),
            Ok(line) if !self.shard.holds(line.number) => Ok(Pending::Passed),
            Ok(line) => Ok(self.pending(line).unwrap_or(Pending::Passed)),
        })
    }
}
