//! The processor as a device: instruction set, threads, working memory.
//!
//! Made by `server` and by tests. `ops` has what it does.

use std::sync::{Arc, Mutex};

use super::bandwidth;
use super::choose::ScreenSpace;
use super::pool::Pool;
use super::weight_memory::WeightMemory;
use super::words::Words;
use crate::backend::{Bandwidth, SpeedMeter, Stream};
use crate::error::Result;
use crate::isa::Isa;

/// Ops on the machine's own processor.
pub struct Cpu {
    pub(super) isa: Isa,
    pub(super) pool: Arc<Pool>,
    pub(super) weights: WeightMemory,
    /// Packed keys and values of an encoder batch.
    pub(super) packed_kv: Mutex<Words>,
    pub(super) screen_space: Mutex<ScreenSpace>,
}

/// Threads for one device or for several, whose ops take turns at them. Clones are the same threads.
#[derive(Clone)]
pub struct Threads(Arc<Pool>);

impl Threads {
    /// So many threads in all, that of the caller included; 0 takes every core.
    pub fn new(count: usize) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Pool::new(if count == 0 { cores() } else { count })))
    }
}

impl Cpu {
    /// A backend with `threads` threads of its own in all; 0 takes every core.
    pub fn new(isa: Isa, threads: usize) -> Self {
        Self::on(isa, &Threads::new(threads))
    }

    /// A backend on threads that others may use as well.
    pub fn on(isa: Isa, threads: &Threads) -> Self {
        let pool = Arc::clone(&threads.0);
        Self {
            isa,
            pool,
            weights: WeightMemory::default(),
            packed_kv: Mutex::default(),
            screen_space: Mutex::default(),
        }
    }

    /// Threads that share the work.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }
}

impl Stream for Cpu {
    fn describe(&self) -> String {
        let threads = self.threads();
        format!("cpu ({}, {threads} thread{})", self.isa.level().name(), if threads == 1 { "" } else { "s" })
    }
}

impl Bandwidth for Cpu {
    fn speed_meter(&self) -> Result<SpeedMeter> {
        let (isa, pool) = (self.isa, Arc::clone(&self.pool));
        Ok(Box::new(move || bandwidth::read_bytes_per_s(isa, &pool)))
    }
}
