//! Ctrl-C while a model is trained. The first one ends the run after its step, the second at once. Before the first
//! step, while rows are tokenised, the first one ends it at once.
//!
//! Called by the command. Listens on a thread of its own: the run occupies all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, process, thread};

use crate::process::signals::EndSignals;
use crate::process::terminal::say;

/// Exit code of a process that an interrupt ended, as shells report it.
const INTERRUPTED: i32 = 130;

/// Threads that listen for signals.
pub(super) const THREADS: usize = 1;

/// State that the run and the listening thread share.
#[derive(Debug, Default)]
pub(super) struct Stopping {
    /// Whether the run must end after its step.
    pub asked: AtomicBool,
    /// Whether steps have begun. Before that nothing needs saving, and the process may end at once.
    pub begun: AtomicBool,
}

/// Listens until the process ends.
///
/// # Errors
/// When the system gives no thread, or does not let the process listen to its signals.
pub(super) fn listen() -> io::Result<Arc<Stopping>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _context = runtime.enter();
        EndSignals::listen()?
    };
    let stopping = Arc::new(Stopping::default());
    let shared = Arc::clone(&stopping);
    let listen = move || {
        let signal = runtime.block_on(signals.next());
        if !shared.begun.load(Ordering::Relaxed) {
            say(&format!("{signal}: ended before the first step; the same command goes on from here"));
            process::exit(0);
        }
        shared.asked.store(true, Ordering::Relaxed);
        say(&format!("{signal}: the run ends after this step, with a checkpoint; once more ends it at once, without"));
        runtime.block_on(signals.next());
        process::exit(INTERRUPTED);
    };
    thread::Builder::new().name("signals".to_owned()).spawn(listen)?;
    Ok(stopping)
}
