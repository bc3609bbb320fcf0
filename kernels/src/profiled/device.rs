//! The measured backend: how an op's time and bytes are taken down.
//!
//! The files beside it say what each op must move.

use std::sync::Mutex;
use std::time::Instant;

use super::profile::{Cost, Op, Profile, locked};
use crate::backend::{Backend, Bandwidth, SpeedMeter, Stream};
use crate::error::Result;

/// Another backend's ops, measured.
pub struct Profiled<B> {
    pub(super) inner: B,
    profile: Profile,
    /// The ops of the step that is being asked for.
    step: Mutex<Option<Vec<MeasuredOp>>>,
}

/// An op of a step.
struct MeasuredOp {
    op: Op,
    cost: Cost,
}

impl<B: Backend> Profiled<B> {
    /// Measures the ops of `inner`, by the device's clock where it has one. Nothing goes aside, and no step is
    /// replayed.
    pub fn new(inner: B, profile: Profile) -> Self {
        Self { inner, profile, step: Mutex::new(None) }
    }

    /// Measures an op that must move `bytes`.
    pub(super) fn measure(&self, op: Op, bytes: usize, run: impl FnOnce(&B)) {
        if locked(&self.step).is_none() {
            return self.step(|| self.measure(op, bytes, run));
        }
        let began = Instant::now();
        run(&self.inner);
        self.inner.mark();
        let cost = Cost { calls: 1, time: began.elapsed(), bytes: bytes as u64 };
        locked(&self.step).get_or_insert_default().push(MeasuredOp { op, cost });
    }

    /// Measures what the host gives or gets.
    pub(super) fn measure_copy<T>(&self, name: &'static str, bytes: usize, run: impl FnOnce(&B) -> T) -> T {
        let began = Instant::now();
        let done = run(&self.inner);
        self.inner.wait();
        self.profile.add(Op::of(name), Cost { calls: 1, time: began.elapsed(), bytes: bytes as u64 });
        done
    }
}

impl<B: Bandwidth> Bandwidth for Profiled<B> {
    fn speed_meter(&self) -> Result<SpeedMeter> {
        self.inner.speed_meter()
    }
}

impl<B: Backend> Stream for Profiled<B> {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn rows_at_once(&self) -> usize {
        self.inner.rows_at_once()
    }

    fn wait(&self) {
        self.inner.wait();
    }

    fn replays_steps(&self) -> bool {
        self.inner.replays_steps()
    }

    fn step(&self, ops: impl FnOnce()) {
        *locked(&self.step) = Some(Vec::new());
        let times = self.inner.timed_step(ops);
        let costs = locked(&self.step).take().expect("a step has one end");
        if times.is_some() {
            self.profile.set_by_device();
        }
        for (i, MeasuredOp { op, cost }) in costs.into_iter().enumerate() {
            match &times {
                Some(times) => self.profile.add_kernels(op, cost.bytes, &times[i]),
                None => self.profile.add(op, cost),
            }
        }
    }
}
