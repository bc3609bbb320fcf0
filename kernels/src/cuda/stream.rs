//! The order of work on a device: steps, work aside, waiting.

use super::backend::Cuda;
use super::device::Device;
use crate::backend::{KernelCost, Stream};

impl<D: Device> Stream for Cuda<D> {
    fn describe(&self) -> String {
        self.main.device().describe()
    }

    fn wait(&self) {
        self.main.device().wait();
        self.side.device().wait();
    }

    fn rows_at_once(&self) -> usize {
        8192
    }

    fn replays_steps(&self) -> bool {
        true
    }

    fn step(&self, ops: impl FnOnce()) {
        self.main.step(ops);
    }

    fn timed_step(&self, ops: impl FnOnce()) -> Option<Vec<Vec<KernelCost>>> {
        Some(self.main.timed_step(ops))
    }

    fn mark(&self) {
        self.main.mark();
    }

    fn aside(&self, ops: impl FnOnce()) {
        self.side.device().follow(self.main.device());
        let _aside = self.turn_aside();
        ops();
    }

    fn join(&self) {
        self.main.device().follow(self.side.device());
    }
}
