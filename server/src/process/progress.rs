//! Progress bars on standard error.
//!
//! Called by the code that loads or rewrites a model; the loader itself only reports bytes. Nothing is drawn if
//! standard error is not a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Progress in bytes, drawn on standard error if that is a terminal. Dropping it removes the bar.
#[derive(Debug)]
pub struct LoadProgress {
    bar: ProgressBar,
}

impl LoadProgress {
    /// A bar for `total_bytes`; `action` names what is done with them, such as "loading".
    pub fn new(action: &'static str, total_bytes: u64) -> Self {
        Self::drawn_on(action, total_bytes, ProgressDrawTarget::stderr())
    }

    /// Adds `bytes` that have been processed.
    pub fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// Takes back `bytes` that have to be processed once more.
    pub fn retreat(&self, bytes: u64) {
        self.bar.dec(bytes);
    }

    /// Removes the bar, so that the next output starts on a clean line.
    pub fn finish(self) {
        drop(self);
    }

    fn drawn_on(action: &'static str, total_bytes: u64, target: ProgressDrawTarget) -> Self {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes} of {total_bytes}, {eta} left")
            .expect("the template names only fields that a bar has");
        Self { bar: ProgressBar::with_draw_target(Some(total_bytes), target).with_style(style).with_message(action) }
    }
}

impl Drop for LoadProgress {
    fn drop(&mut self) {
        // A failed load returns through `?`; its message must not be written into a half-drawn bar.
        self.bar.finish_and_clear();
    }
}

/// Progress in rows of data, drawn like [`LoadProgress`]. Dropping it removes the bar.
#[derive(Debug)]
pub struct RowProgress {
    bar: ProgressBar,
}

impl RowProgress {
    /// A bar for `rows` rows; `action` names what is done with them, such as "evaluating".
    pub fn new(action: &'static str, rows: u64) -> Self {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos} of {len} rows, {per_sec}, {eta} left")
            .expect("the template names only fields that a bar has");
        let target = ProgressDrawTarget::stderr();
        Self { bar: ProgressBar::with_draw_target(Some(rows), target).with_style(style).with_message(action) }
    }

    /// Adds one row.
    pub fn advance(&self) {
        self.advance_by(1);
    }

    /// Adds rows.
    pub fn advance_by(&self, rows: u64) {
        self.bar.inc(rows);
    }
}

impl Drop for RowProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_counts_bytes_and_ends_when_it_is_finished() {
        let progress = LoadProgress::drawn_on("loading", 100, ProgressDrawTarget::hidden());
        progress.advance(30);
        progress.advance(20);
        let bar = progress.bar.clone();
        assert_eq!((bar.position(), bar.length(), bar.is_finished()), (50, Some(100), false));
        progress.finish();
        assert!(bar.is_finished());
    }

    #[test]
    fn a_load_that_fails_halfway_takes_the_bar_away() {
        let progress = LoadProgress::drawn_on("loading", 100, ProgressDrawTarget::hidden());
        progress.advance(50);
        let bar = progress.bar.clone();
        drop(progress);
        assert!(bar.is_finished());
    }
}
