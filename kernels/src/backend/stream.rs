//! The order of a device's work: steps, waiting, measuring.
//!
//! Implemented by each backend; the defaults are those of a device whose ops are done when they return.

use std::time::Duration;

use crate::error::Result;

/// Cost of one launch of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelCost {
    /// Its name, or that of the library it belongs to.
    pub kernel: &'static str,
    /// Time since the previous kernel ended.
    pub time: Duration,
    /// Bytes that it must read or write; `None` for the bytes of the op, where the op has no other kernel.
    pub bytes: Option<u64>,
}

/// A device's stream of work.
pub trait Stream {
    /// Name of the device and instruction set, for people.
    fn describe(&self) -> String;

    /// Waits until all that was asked for is done. Ops that return numbers wait by themselves. Other ops may still
    /// run when they return, in the order in which they were asked for.
    fn wait(&self) {}

    /// Preferred number of rows per call for wide temporaries: as many as stay in a cache, or keep a device busy.
    fn rows_at_once(&self) -> usize {
        512
    }

    /// Whether a step that repeats an earlier one costs less, so that it pays to make steps alike.
    fn replays_steps(&self) -> bool {
        false
    }

    /// Runs ops as one step. They return no numbers to the host and copy none from it; a backend may put them all off
    /// to the end of the step.
    fn step(&self, ops: impl FnOnce()) {
        ops();
    }

    /// Runs ops as one step and measures it once, where the device has a clock: for each [`Self::mark`], the cost of
    /// each kernel since the mark before.
    fn timed_step(&self, ops: impl FnOnce()) -> Option<Vec<Vec<KernelCost>>> {
        ops();
        None
    }

    /// Within [`Self::timed_step`]: measures what was asked for so far apart from what follows.
    fn mark(&self) {}

    /// Runs ops that may overlap with ops outside, until [`Self::join`]. Neither may touch what the others write.
    fn aside(&self, ops: impl FnOnce()) {
        ops();
    }

    /// Later ops wait for those that went aside.
    fn join(&self) {}
}

/// Speed of a device's memory: the floor that a decode step is measured against.
pub trait Bandwidth {
    /// Measures the memory whenever it is asked to, also when a model has the device.
    ///
    /// # Errors
    /// When there is no memory to measure with.
    fn speed_meter(&self) -> Result<SpeedMeter>;

    /// Bytes a second, measured now; takes about half a second.
    ///
    /// # Errors
    /// When there is no memory to measure with.
    fn bytes_per_s(&self) -> Result<f64> {
        self.speed_meter()?()
    }
}

/// Tells the speed of a device's memory in bytes a second. An error says that there is no memory to measure with.
pub type SpeedMeter = Box<dyn Fn() -> Result<f64> + Send>;
