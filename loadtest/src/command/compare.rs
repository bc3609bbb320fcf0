//! The comparison of two runs.

use std::path::Path;

use serde_json::Value;

use crate::cli::CompareFlags;
use crate::error::LoadtestError;
use crate::report::{Comparison, RunFigures};

/// Prints the figures of both runs, and gives whether none is worse than the flags allow.
///
/// # Errors
/// A file that is no result of a run.
pub fn compare(flags: &CompareFlags) -> Result<bool, LoadtestError> {
    if flags.worse_by.is_some_and(|percent| !(percent >= 0.0 && percent.is_finite())) {
        let fault = "give a number of percent of at least 0".to_owned();
        return Err(LoadtestError::Flag { flag: "worse-by", fault });
    }
    let comparison = Comparison::new(&read(&flags.before)?, &read(&flags.after)?);
    print!("{}", comparison.text());
    let worse = flags.worse_by.map(|percent| comparison.worse_by(percent)).unwrap_or_default();
    for figure in &worse {
        eprintln!("worse: {figure}");
    }
    Ok(worse.is_empty())
}

fn read(path: &Path) -> Result<RunFigures, LoadtestError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| LoadtestError::ReadFile { path: path.to_owned(), source })?;
    let fault = |fault| LoadtestError::Content { path: path.to_owned(), fault };
    let value: Value = serde_json::from_str(&text).map_err(|error| fault(format!("is not JSON ({error})")))?;
    let figures = RunFigures::of_json(&value);
    if figures.is_empty() {
        return Err(fault("holds no figures; give a file that --json has written".to_owned()));
    }
    Ok(figures)
}
