//! The log: lines go through a bounded queue to a thread that writes them, so that a log that cannot be written never
//! fails, delays or ends anything else. Lines that do not fit into the queue are dropped and counted.
//!
//! Started by `main`; everything else logs through `tracing`.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Most lines that wait to be written: a few seconds of a busy server.
const QUEUED_LINES: usize = 4096;
/// Interval at which a flush checks whether it is done.
const FLUSH_POLL: Duration = Duration::from_millis(1);

/// The log of the process, once [`start`] was called.
static LOG: OnceLock<LogWriter> = OnceLock::new();

/// Starts the log of the process, which is written to standard error.
pub fn start() -> LogWriter {
    LOG.get_or_init(|| LogWriter::new(Box::new(io::stderr()))).clone()
}

/// Makes a write beyond the limit on file size fail as on a full disk, instead of ending the process by a signal.
///
/// # Errors
/// When the system does not allow it.
pub fn survive_file_limits() -> io::Result<()> {
    const SIGXFSZ: i32 = 25;
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(|_| ())
}

/// Waits until all earlier lines are written, or `patience` is over.
pub fn flush(patience: Duration) {
    if let Some(log) = LOG.get() {
        log.flush(patience);
    }
}

/// Number of lines dropped since the start.
pub fn dropped_lines() -> u64 {
    LOG.get().map_or(0, LogWriter::dropped_lines)
}

/// Reports panics in the log, so that a panic never waits for a reader of standard error.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(thread = std::thread::current().name(), %panic, %backtrace, "a thread panicked");
    }));
}

/// Takes lines; cheap to clone.
#[derive(Debug, Clone)]
pub struct LogWriter {
    sink: Arc<Sink>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    taken: AtomicU64,
    /// Lines that have been written or could not be.
    done: AtomicU64,
    dropped: AtomicU64,
}

enum Sink {
    Thread(SyncSender<Vec<u8>>),
    /// The system gave no thread: whoever has a line writes it.
    Direct(Mutex<Box<dyn Write + Send>>),
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Thread(_) => "Thread",
            Self::Direct(_) => "Direct",
        })
    }
}

impl LogWriter {
    /// Writes to `output`, on a thread of its own if there is one to be had.
    pub fn new(output: Box<dyn Write + Send>) -> Self {
        let counts = Arc::<Counts>::default();
        let (lines, queued) = sync_channel(QUEUED_LINES);
        // The thread gets the output when it runs: otherwise it would be lost with a thread that cannot be had.
        let (give, given) = sync_channel(1);
        let counted = Arc::clone(&counts);
        let write = move || {
            if let Ok(output) = given.recv() {
                write_lines(output, &queued, &counted);
            }
        };
        let sink = match std::thread::Builder::new().name("log".into()).spawn(write) {
            Ok(_) => {
                give.send(output).expect("the thread waits for its output");
                Sink::Thread(lines)
            }
            Err(_) => Sink::Direct(Mutex::new(output)),
        };
        Self { sink: Arc::new(sink), counts }
    }

    /// Lines that were dropped because they could not be written, or not as fast as they came.
    pub fn dropped_lines(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Waits until all earlier lines are written, or `patience` is over.
    pub fn flush(&self, patience: Duration) {
        let (began, taken) = (Instant::now(), self.counts.taken.load(Ordering::Acquire));
        while self.counts.done.load(Ordering::Acquire) < taken && began.elapsed() < patience {
            std::thread::sleep(FLUSH_POLL);
        }
    }

    fn take(&self, line: &[u8]) {
        match &*self.sink {
            Sink::Thread(lines) => {
                self.counts.taken.fetch_add(1, Ordering::AcqRel);
                match lines.try_send(line.to_vec()) {
                    Ok(()) => {}
                    Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.counts.drop_one(),
                }
            }
            Sink::Direct(output) => {
                self.counts.taken.fetch_add(1, Ordering::AcqRel);
                let written = output.lock().unwrap_or_else(PoisonError::into_inner).write_all(line);
                self.counts.finish(written);
            }
        }
    }
}

impl Counts {
    fn finish(&self, written: io::Result<()>) {
        match written {
            Ok(()) => _ = self.done.fetch_add(1, Ordering::AcqRel),
            Err(_) => self.drop_one(),
        }
    }

    fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        self.done.fetch_add(1, Ordering::AcqRel);
    }
}

fn write_lines(mut output: Box<dyn Write + Send>, queued: &Receiver<Vec<u8>>, counts: &Counts) {
    for line in queued {
        counts.finish(output.write_all(&line));
    }
}

/// One event's way into the log.
#[derive(Debug)]
pub struct Line<'a>(&'a LogWriter);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.take(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Fails every time, as a full disk or a pipe without a reader does.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Takes nothing until the other end is dropped, as a pipe does that nobody reads.
    struct Stuck(Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_harm_nobody() {
        let log = LogWriter::new(Box::new(Full));
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!("one");
            tracing::error!("two");
        });
        log.flush(PATIENCE);
        assert_eq!(log.dropped_lines(), 2);
    }

    #[test]
    fn a_log_that_nobody_reads_holds_nobody_up() {
        let (stuck, reader) = sync_channel(0);
        let log = LogWriter::new(Box::new(Stuck(reader)));
        for _ in 0..2 * QUEUED_LINES {
            log.take(b"a line\n");
        }
        assert!(log.dropped_lines() >= QUEUED_LINES as u64 - 1);
        log.flush(Duration::from_millis(5));
        drop(stuck);
        log.flush(PATIENCE);
        assert!(log.dropped_lines() <= QUEUED_LINES as u64, "what waited is written after all");
    }
}
