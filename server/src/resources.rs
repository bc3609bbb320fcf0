//! What the process needs of the system, asked for before anything is announced: threads and file descriptors.
//!
//! Called by `serve`. Libraries below panic, or wait for ever, when a thread cannot be had later.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Config, Limits};

/// Descriptors beside those of connections: listeners, timers and signals, standard streams, files that are read.
const OTHER_DESCRIPTORS: u64 = 64;
/// Threads beside those that are configured: the engine, and two of the runtime for whatever blocks.
const OTHER_THREADS: usize = 3;

/// The system allows too little.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShortOf {
    /// File descriptors.
    #[error(
        "the system allows {allowed} file descriptors and limits.connections = {connections} needs {needed}: \
         raise the limit (ulimit -n, LimitNOFILE) or set limits.connections to {possible} or less"
    )]
    Descriptors {
        /// Allowed, after the limit was raised as far as it may be.
        allowed: u64,
        /// Needed for the configured connections.
        needed: u64,
        /// Configured.
        connections: usize,
        /// Connections for which the descriptors are enough.
        possible: u64,
    },
    /// File descriptors for a single connection.
    #[error("the system allows {allowed} file descriptors, too few for any connection: raise the limit (ulimit -n)")]
    AnyDescriptors {
        /// Allowed.
        allowed: u64,
    },
    /// Threads, or the address space for their stacks.
    #[error(
        "the system gives this process {given} more threads and it needs {needed}: raise the limit (ulimit -u, \
         pids.max, ulimit -v) or lower model.threads and server.tokenizer_threads"
    )]
    Threads {
        /// Could be had at once.
        given: usize,
        /// Needed at once.
        needed: usize,
    },
}

/// Threads of the runtime that may block: those that tokenise, those that parse, and the loading.
pub fn blocking_threads(config: &Config) -> usize {
    2 * config.server.tokenizer_threads + 2
}

/// Raises the limit of file descriptors as far as it has to be and may be, and checks it.
///
/// # Errors
/// When it stays too low for the configured connections.
pub fn claim_descriptors(limits: &Limits) -> Result<(), ShortOf> {
    let connections = (limits.connections + limits.reserved_connections) as u64;
    let needed = connections + OTHER_DESCRIPTORS;
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: Some(now.maximum.map_or(needed, |most| most.min(needed))), maximum: now.maximum };
    let allowed = match now.current {
        Some(current) if current < needed => {
            // When it cannot be raised, what there is decides.
            let was_raised = setrlimit(Resource::Nofile, raised).is_ok();
            if was_raised { raised.current } else { now.current }
        }
        enough => enough,
    };
    match allowed {
        Some(allowed) if allowed < needed => Err(short_of_descriptors(limits, allowed, needed)),
        _ => Ok(()),
    }
}

fn short_of_descriptors(limits: &Limits, allowed: u64, needed: u64) -> ShortOf {
    let (connections, others) = (limits.connections, OTHER_DESCRIPTORS + limits.reserved_connections as u64);
    match allowed.checked_sub(others) {
        None | Some(0) => ShortOf::AnyDescriptors { allowed },
        Some(possible) => ShortOf::Descriptors { allowed, needed, connections, possible },
    }
}

/// Checks that all threads the server is going to start can be had at once.
///
/// # Errors
/// When they cannot.
pub fn check_threads(config: &Config, runtime_threads: usize) -> Result<(), ShortOf> {
    threads_at_once(runtime_threads + config.model.threads + blocking_threads(config) + OTHER_THREADS)
}

/// Starts so many threads and ends them when all have begun, or one could not.
fn threads_at_once(needed: usize) -> Result<(), ShortOf> {
    let (hold, held) = sync_channel::<()>(0);
    let held = Arc::new(std::sync::Mutex::new(held));
    let mut threads = Vec::with_capacity(needed);
    for given in 0..needed {
        let held = Arc::clone(&held);
        match std::thread::Builder::new().name("probe".into()).spawn(move || wait(&held)) {
            Ok(thread) => threads.push(thread),
            Err(_) => {
                drop(hold);
                threads.into_iter().for_each(|thread| _ = thread.join());
                return Err(ShortOf::Threads { given, needed });
            }
        }
    }
    drop(hold);
    threads.into_iter().for_each(|thread| _ = thread.join());
    Ok(())
}

/// Waits until the other end is dropped.
fn wait(held: &std::sync::Mutex<Receiver<()>>) {
    if let Ok(held) = held.lock() {
        let _ = held.recv();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_too_low_names_the_connections_it_is_enough_for() {
        let limits = Config::from_layers(Vec::new()).unwrap().limits;
        let text = short_of_descriptors(&limits, 1024, 1104).to_string();
        assert!(text.contains("limits.connections = 1024 needs 1104"), "{text}");
        assert!(text.contains("set limits.connections to 944 or less"), "{text}");
        assert_eq!(short_of_descriptors(&limits, 64, 1104), ShortOf::AnyDescriptors { allowed: 64 });
    }

    #[test]
    fn threads_that_can_be_had_are_given_back() {
        assert_eq!(threads_at_once(8), Ok(()));
    }
}
