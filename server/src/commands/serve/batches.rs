//! Files and batches of the server: the folder that they are kept in, and the threads that run them.
//!
//! Called by `serve`.

use std::sync::Arc;

use crate::api::{Api, batch_router};
use crate::batch::Pace;
use crate::batch_store::{BatchStore, Runner, RunnerParts, WITHDRAWAL};
use crate::commands::error::{CommandError, io};
use crate::config::{Config, Configs};
use crate::telemetry::Metrics;

/// Requests under way for each row that is decoded at once, so that a finished request is followed by another.
const WAITING_FACTOR: usize = 2;
/// Part of the queue, and of the memory of bodies, that batches take at most: one of so many.
const SHARE: usize = 4;

/// Opens the folder, if the settings name one.
///
/// # Errors
/// When the folder cannot be had, or another server uses it.
pub fn open_store(config: &Config, metrics: &Metrics) -> Result<Option<BatchStore>, CommandError> {
    let Some(folder) = &config.batches.folder else { return Ok(None) };
    let failed = |source| CommandError::BatchFolder { path: folder.clone(), source };
    BatchStore::open(folder, config.batches.limits, metrics.clone()).map(Some).map_err(failed)
}

/// Lets requests reach the store, and goes on with its batches.
///
/// # Errors
/// When the system gives no threads.
pub fn start_batches(configs: &Configs, api: &Arc<Api>, store: BatchStore) -> Result<Runner, CommandError> {
    let (limits, at_once) = (&configs.first().limits, configs.first().batches.running);
    let rows: usize = configs.iter().map(|config| config.limits.running_rows as usize).sum();
    let places = configs.iter().map(|config| config.limits.queued_rows as usize).min().unwrap_or_default();
    let requests = (WAITING_FACTOR * rows).min(places / SHARE);
    let pace = Pace {
        requests: (requests / at_once).max(1),
        bytes: (limits.unparsed_body_bytes / SHARE / at_once).max(1),
        body_bytes: limits.body_bytes,
        is_ordered: false,
    };
    let _ = api.batches.set(store.clone());
    let (router, keys) = (batch_router(Arc::clone(api)), api.entrance.keys.keys.clone());
    let parts = RunnerParts { store, router, keys, withdrawal: WITHDRAWAL, pace, at_once };
    Runner::start(&parts).map_err(io("start the threads that run batches"))
}
