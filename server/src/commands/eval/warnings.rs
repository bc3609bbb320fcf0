//! Warnings about a checkpoint, collected for the printed object instead of the log.
//!
//! Called by `eval --json`: programs that parse the object often capture standard error with it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::Level;

/// Lines of a log that only this thread writes.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

/// Does `work`, and returns its result with the warnings that this thread gave meanwhile.
pub fn collected<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt()
        .with_max_level(Level::WARN)
        .with_level(false)
        .with_target(false)
        .without_time()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let done = tracing::subscriber::with_default(log, work);
    let text = String::from_utf8_lossy(&lines.bytes()).into_owned();
    (done, text.lines().map(|line| line.trim().to_owned()).collect())
}

impl Lines {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_warning_is_a_line_and_what_is_less_is_none() {
        let (done, warnings) = collected(|| {
            tracing::info!("nothing of interest");
            tracing::warn!(file = "x", "the first");
            tracing::warn!("the second");
            7
        });
        assert_eq!((done, warnings), (7, vec!["the first file=\"x\"".to_owned(), "the second".to_owned()]));
    }
}
