//! `server batch`: a file of requests, answered by the routes of the server without a socket.
//!
//! Called by `main`. Models are loaded as `serve` loads them; `batch` has the run itself.

mod ending;
mod routes;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use axum::http::{Extensions, HeaderMap};

use super::error::CommandError;
use super::runtime::start_runtime;
use crate::batch::{Batch, BatchCounts, BatchError, Destination, Pace, ResultsFile, Shard, run};
use crate::cli::BatchOptions;
use crate::config::Configs;
use crate::process::progress::RowProgress;
use crate::process::terminal::say;
use ending::Ending;
use routes::Routes;

/// Requests under way for each row that is decoded at once, so that a finished request is followed by the next without
/// a pause.
const WAITING_FACTOR: usize = 2;

/// Answers the requests that have no result yet, and says how many there were.
///
/// # Errors
/// When the models cannot be loaded, a file cannot be read or written, or the process is asked to end. Results that
/// were written stay, and the next run goes on after them.
pub fn batch(configs: &Configs, options: &BatchOptions, trial_program: Option<PathBuf>) -> Result<(), CommandError> {
    // What is wrong with the files is said before models are loaded.
    let lines = count_lines(&options.requests)?;
    let results = ResultsFile::open(&options.results, &options.requests)?;
    let earlier = results.counts();
    let runtime = start_runtime(configs)?;
    let routes = Routes::start(configs, trial_program, &runtime)?;
    let limits = &configs.first().limits;
    let pace = Pace {
        requests: WAITING_FACTOR * configs.iter().map(|config| config.limits.running_rows as usize).sum::<usize>(),
        bytes: limits.unparsed_body_bytes,
        body_bytes: limits.body_bytes,
        is_ordered: options.ordered,
    };
    let counts = runtime.block_on(async {
        let ending = Ending::listen()?;
        let destination =
            Destination { router: routes.router.clone(), extensions: Extensions::new(), headers: HeaderMap::new() };
        let (requests, is_ending) = (options.requests.clone(), ending.is_asked());
        let batch = Batch { requests, shard: options.shard, results, destination, pace, is_ending };
        let progress = RowProgress::new("answering", options.shard.share_of(lines));
        progress.advance_by(earlier.finished());
        tokio::select! {
            counts = run(batch, |_| progress.advance()) => counts.map_err(CommandError::from),
            () = ending.asked_again() => Err(BatchError::CutOff.into()),
        }
    });
    // What still runs was asked by nobody any more.
    runtime.shutdown_background();
    let counts = counts?;
    say(&summary(counts, earlier, options));
    Ok(())
}

/// One line about the end.
fn summary(counts: BatchCounts, earlier: BatchCounts, options: &BatchOptions) -> String {
    let before = match earlier.finished() {
        0 => String::new(),
        finished => format!(" ({finished} of them by an earlier run)"),
    };
    let part = if options.shard == Shard::ALL { String::new() } else { format!(" of shard {}", options.shard) };
    let (finished, failed, file) = (counts.finished(), counts.failed, options.results.display());
    format!("{finished} requests{part} have their results in {file}{before}: {failed} failed")
}

/// Number of lines of a file.
fn count_lines(path: &Path) -> Result<u64, BatchError> {
    let failed = |source| BatchError::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(BatchError::NotRegular { path: path.to_owned() });
    }
    let mut lines = BufReader::with_capacity(1 << 20, file);
    let (mut count, mut is_open) = (0, false);
    loop {
        let piece = lines.fill_buf().map_err(|source| BatchError::Read { path: path.to_owned(), source })?;
        let Some(last) = piece.last() else { return Ok(count + u64::from(is_open)) };
        is_open = *last != b'\n';
        count += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
        let read = piece.len();
        lines.consume(read);
    }
}
