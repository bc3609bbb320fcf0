//! Rows without an answer that can be counted, by their lines.
//!
//! Filled while rows are answered. One such row fails the evaluation: figures of the others are not those of the file.

use std::path::Path;

use super::error::EvalError;

/// Most lines that are named; the others are counted.
const NAMED_LINES: usize = 10;

/// Unanswered rows so far.
#[derive(Debug, Default)]
pub struct Unanswered {
    count: usize,
    lines: Vec<usize>,
    problem: String,
}

impl Unanswered {
    /// Counts the row of a line.
    pub fn add(&mut self, line: usize, problem: String) {
        if self.count == 0 {
            self.problem = problem;
        }
        self.count += 1;
        if self.lines.len() < NAMED_LINES {
            self.lines.push(line);
        }
    }

    /// Checks that all `rows` rows of the file were answered.
    ///
    /// # Errors
    /// When one was not; the error names the first lines and the first problem.
    pub fn check(self, path: &Path, rows: usize) -> Result<(), EvalError> {
        let Self { count, lines, problem } = self;
        if count == 0 {
            return Ok(());
        }
        Err(EvalError::Unanswered { path: path.to_owned(), lines, count, rows, problem })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_are_named_and_all_are_counted() {
        let message = |lines: std::ops::Range<usize>| {
            let mut unanswered = Unanswered::default();
            lines.for_each(|line| unanswered.add(line, format!("problem {line}")));
            unanswered.check("rows.jsonl".as_ref(), 20).map_err(|error| error.to_string())
        };
        message(4..4).unwrap();
        let one = "rows.jsonl: the model has no answer to 1 of 20 rows (line 4): problem 4";
        assert_eq!(message(4..5).unwrap_err(), one);
        let many = "rows.jsonl: the model has no answer to 12 of 20 rows \
                    (lines 4, 5, 6, 7, 8, 9, 10, 11, 12, 13 and 2 more): problem 4";
        assert_eq!(message(4..16).unwrap_err(), many);
    }
}
