//! Threads and file descriptors that the process needs, acquired once for a test before anything is announced.
//!
//! Called by the commands. Libraries panic or wait for ever if a thread or a descriptor cannot be had later.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Config, Configs};

/// Descriptors beside those of connections: listeners, timers and signals, standard streams, files.
const OTHER_DESCRIPTORS: u64 = 64;
/// Files that a batch which is run has open.
const BATCH_DESCRIPTORS: u64 = 4;
/// Most descriptors that a command without connections has open at once, beside those that it was started with.
const COMMAND_DESCRIPTORS: usize = 16;
/// Threads of an engine beside those of its model.
pub const ENGINE_THREADS: usize = 1;
/// Threads beside the configured ones and those of engines: two of the runtime for blocking work.
const OTHER_THREADS: usize = 2;
/// Time that the system may take to remove threads that have ended.
const PUT_AWAY: Duration = Duration::from_millis(200);

/// The system allows too little.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShortOf {
    /// File descriptors.
    #[error(
        "the system allows {allowed} file descriptors and limits.connections = {connections} needs {needed}: \
         raise the limit (ulimit -n, LimitNOFILE) or set limits.connections to {possible} or less"
    )]
    Descriptors {
        /// Descriptors allowed after raising the limit as far as possible.
        allowed: u64,
        /// Descriptors needed for the configured connections.
        needed: u64,
        /// Configured connections.
        connections: usize,
        /// Connections for which the descriptors suffice.
        possible: u64,
    },
    /// File descriptors for a single connection.
    #[error("the system allows {allowed} file descriptors, too few for any connection: raise the limit (ulimit -n)")]
    AnyDescriptors {
        /// Descriptors allowed.
        allowed: u64,
    },
    /// File descriptors for a command without connections.
    #[error(
        "the system gives this process {given} more file descriptors and it needs {needed}: raise the limit (ulimit -n)"
    )]
    CommandDescriptors {
        /// Number that could be had at once.
        given: usize,
        /// Number needed at once.
        needed: usize,
    },
    /// Threads, or the address space for their stacks.
    #[error(
        "the system gives this process {given} more threads and it needs {needed}: raise the limit (ulimit -u, \
         pids.max, ulimit -v) or lower the number of threads (--threads, model.threads, server.tokenizer_threads)"
    )]
    Threads {
        /// Number that could be had at once.
        given: usize,
        /// Number needed at once.
        needed: usize,
    },
}

/// Threads of the runtime that may block: for tokenising, parsing and loading.
pub fn blocking_threads(config: &Config) -> usize {
    2 * config.server.tokenizer_threads + 2
}

/// Raises the limit of file descriptors as far as needed and allowed, and checks it.
///
/// # Errors
/// When it stays too low for the configured connections.
pub fn claim_descriptors(config: &Config) -> Result<(), ShortOf> {
    let needed = per_connection(config) * config.limits.connections as u64 + other_descriptors(config);
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: Some(now.maximum.map_or(needed, |most| most.min(needed))), maximum: now.maximum };
    let allowed = match now.current {
        Some(current) if current < needed => {
            // If the limit cannot be raised, the present one decides.
            let was_raised = setrlimit(Resource::Nofile, raised).is_ok();
            if was_raised { raised.current } else { now.current }
        }
        enough => enough,
    };
    match allowed {
        Some(allowed) if allowed < needed => Err(short_of_descriptors(config, allowed, needed)),
        _ => Ok(()),
    }
}

/// Descriptors except those of connections for requests.
fn other_descriptors(config: &Config) -> u64 {
    let listeners = if config.server.probe_address.is_empty() { 1 } else { 2 };
    OTHER_DESCRIPTORS
        + listeners * config.limits.reserved_connections as u64
        + BATCH_DESCRIPTORS * batch_threads(config) as u64
}

/// Descriptors for a connection: where files are kept, it may send or receive one.
fn per_connection(config: &Config) -> u64 {
    if config.batches.folder.is_some() { 2 } else { 1 }
}

/// Threads that run batches.
fn batch_threads(config: &Config) -> usize {
    if config.batches.folder.is_some() { config.batches.running + 1 } else { 0 }
}

fn short_of_descriptors(config: &Config, allowed: u64, needed: u64) -> ShortOf {
    let connections = config.limits.connections;
    match allowed.checked_sub(other_descriptors(config)) {
        None | Some(0) => ShortOf::AnyDescriptors { allowed },
        Some(rest) => {
            let possible = rest / per_connection(config);
            ShortOf::Descriptors { allowed, needed, connections, possible }
        }
    }
}

/// Checks that all threads that the server will start can be had at once.
///
/// # Errors
/// When they cannot.
pub fn check_threads(configs: &Configs, runtime_threads: usize) -> Result<(), ShortOf> {
    let own = runtime_threads + batch_threads(configs.first()) + OTHER_THREADS;
    threads_at_once(own + model_threads(configs) + blocking_threads(configs.first()))
}

/// Threads that compute, and those of the engines. Models with the same number of threads share them.
fn model_threads(configs: &Configs) -> usize {
    let shared: BTreeSet<_> = configs.iter().map(|config| config.model.threads).collect();
    shared.into_iter().sum::<usize>() + ENGINE_THREADS * configs.iter().len()
}

/// Checks that a command without connections can have `threads` threads and its descriptors.
///
/// # Errors
/// When it cannot.
pub fn check_command(threads: usize) -> Result<(), ShortOf> {
    descriptors_at_once(COMMAND_DESCRIPTORS)?;
    threads_at_once(threads)
}

/// Number of threads of libraries that are not told how many to start: one for each core.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Opens `needed` descriptors at once, and closes them.
fn descriptors_at_once(needed: usize) -> Result<(), ShortOf> {
    let mut pipes = Vec::with_capacity(needed.div_ceil(2));
    while 2 * pipes.len() < needed {
        match std::io::pipe() {
            Ok(pipe) => pipes.push(pipe),
            Err(_) => return Err(ShortOf::CommandDescriptors { given: 2 * pipes.len(), needed }),
        }
    }
    Ok(())
}

/// Starts `needed` threads, and ends them when all have begun or one could not.
fn threads_at_once(needed: usize) -> Result<(), ShortOf> {
    let before = threads_now();
    let (hold, held) = sync_channel::<()>(0);
    let held = Arc::new(std::sync::Mutex::new(held));
    let start = |_| {
        let held = Arc::clone(&held);
        std::thread::Builder::new().name("probe".into()).spawn(move || wait(&held)).ok()
    };
    let threads: Vec<_> = (0..needed).map_while(start).collect();
    let given = threads.len();
    drop(hold);
    threads.into_iter().for_each(|thread| _ = thread.join());
    // A joined thread counts until the system has removed it.
    let began = Instant::now();
    while threads_now() > before && began.elapsed() < PUT_AWAY {
        std::thread::sleep(Duration::from_micros(100));
    }
    if given < needed { Err(ShortOf::Threads { given, needed }) } else { Ok(()) }
}

/// Number of threads of this process; 0 if the system does not tell.
fn threads_now() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
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
    use crate::config::{Environment, Layer};

    #[test]
    fn a_limit_that_is_too_low_names_the_connections_it_is_enough_for() {
        let config = Config::from_layers(Vec::new()).unwrap();
        let text = short_of_descriptors(&config, 1024, 1104).to_string();
        assert!(text.contains("limits.connections = 1024 needs 1104"), "{text}");
        assert!(text.contains("set limits.connections to 944 or less"), "{text}");
        assert_eq!(short_of_descriptors(&config, 64, 1104), ShortOf::AnyDescriptors { allowed: 64 });
    }

    #[test]
    fn every_engine_has_a_thread_and_equal_numbers_of_threads_are_shared() {
        let threads = |text: &str| {
            let layer = Layer::parse("test", text).unwrap();
            model_threads(&Configs::from_layers(vec![layer], &Environment::default()).unwrap())
        };
        let model = |name: &str, threads| format!("[[model]]\npath = \"{name}\"\nthreads = {threads}\n");
        assert_eq!(threads(&model("a", 4)), 5);
        assert_eq!(threads(&(model("a", 4) + &model("b", 4))), 6);
        assert_eq!(threads(&(model("a", 4) + &model("b", 2) + &model("c", 4))), 9);
    }

    #[test]
    fn descriptors_that_can_be_had_are_given_back() {
        assert_eq!(descriptors_at_once(16), Ok(()));
    }

    #[test]
    fn threads_that_can_be_had_are_given_back() {
        assert_eq!(threads_at_once(8), Ok(()));
    }
}
