//! The speed of a device's memory.
//!
//! Measured by benchmarks.

use std::time::Instant;

use super::backend::Cuda;
use super::device::Device;
use super::memory::Memory;
use crate::backend::{Bandwidth, Result, SpeedMeter, Stream};

/// Bytes of one measured copy.
const MEASURED_BYTES: usize = 1 << 30;
const MEASURED_COPIES: u32 = 16;

impl<D: Device> Bandwidth for Cuda<D> {
    /// The speed of copies, which read each byte and write it. It is measured once: a GPU is seldom shared.
    fn speed_meter(&self) -> Result<SpeedMeter> {
        let room = || Memory::new(&self.heap, MEASURED_BYTES, "measuring the memory");
        let (from, to) = (room()?, room()?);
        let run = |copies| {
            let start = Instant::now();
            (0..copies).for_each(|_| self.main.copy(&from, &to));
            self.wait();
            start.elapsed().as_secs_f64()
        };
        run(1);
        let bytes_per_s = (2 * MEASURED_BYTES) as f64 * f64::from(MEASURED_COPIES) / run(MEASURED_COPIES);
        Ok(Box::new(move || Ok(bytes_per_s)))
    }
}
