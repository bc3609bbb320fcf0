//! Ctrl-C while a model is trained: the first ends the run after its step, the second at once. Before there are steps,
//! while rows become ids, the first ends it at once.
//!
//! Called by the command. Listens on a thread of its own, as the run has all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, process, thread};

use crate::process::signals::EndSignals;
use crate::process::terminal::say;

/// What a shell reports of a process that an interrupt ended.
const INTERRUPTED: i32 = 130;

/// Threads that listen.
pub(super) const THREADS: usize = 1;

/// What the run and the thread that listens tell each other.
#[derive(Debug, Default)]
pub(super) struct Stopping {
    /// Whether the run is to end after its step.
    pub asked: AtomicBool,
    /// Whether steps are taken: until then there is nothing to save, and the process may end at once.
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
