//! Ctrl-C while a model is trained: the first ends the run after its step, the second at once.
//!
//! Called by the command. Listens on a thread of its own, as the run has all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, process, thread};

use crate::serve::EndSignals;

/// What a shell reports of a process that an interrupt ended.
const INTERRUPTED: i32 = 130;

/// A flag that is set once the process is asked to end.
///
/// # Errors
/// When the system gives no thread, or does not let the process listen to its signals.
pub(super) fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _context = runtime.enter();
        EndSignals::listen()?
    };
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let listen = move || {
        let signal = runtime.block_on(signals.next());
        flag.store(true, Ordering::Relaxed);
        eprintln!("{signal}: the run ends after this step, with a checkpoint; once more ends it at once, without");
        runtime.block_on(signals.next());
        process::exit(INTERRUPTED);
    };
    thread::Builder::new().name("signals".to_owned()).spawn(listen)?;
    Ok(stop)
}
