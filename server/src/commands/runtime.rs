//! The threads that answer requests: all of them are started at once, so that none is missing later.
//!
//! Used by the commands that answer requests as the server does.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use tokio::runtime::Runtime;

use super::error::{CommandError, io};
use crate::config::Configs;
use crate::process::resources::{ShortOf, blocking_threads, check_threads};

/// Threads that do not start within this time are not there to be had.
const THREADS_START: Duration = Duration::from_secs(10);
/// Longer than any server runs; the largest duration would overflow the clock.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Starts the threads.
///
/// # Errors
/// When the system does not give as many as are needed.
pub fn start_runtime(configs: &Configs) -> Result<Runtime, CommandError> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    check_threads(configs, workers)?;
    let blocking = blocking_threads(configs.first());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(blocking)
        .thread_keep_alive(FOR_EVER)
        .enable_all()
        .build()
        .map_err(io("start the threads that answer requests"))?;
    let started =
        runtime.block_on(async { tokio::time::timeout(THREADS_START, start_blocking_threads(blocking)).await });
    started.map_err(|_| ShortOf::Threads { given: workers, needed: workers + blocking })?;
    Ok(runtime)
}

/// Has the runtime start its threads that block, all of which then stay: one that could not be had later would leave
/// its request waiting for ever.
async fn start_blocking_threads(count: usize) {
    let all = Arc::new(Barrier::new(count));
    let started: Vec<_> = (0..count)
        .map(|_| {
            let all = Arc::clone(&all);
            tokio::task::spawn_blocking(move || _ = all.wait())
        })
        .collect();
    for thread in started {
        // Nothing in it can fail.
        let _ = thread.await;
    }
}
