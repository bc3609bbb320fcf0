//! Starting, watching and joining the engine thread.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::executor::Executor;
use super::handle::EngineHandle;
use super::limits::EngineLimits;
use super::open_requests::OpenRequests;
use super::step_loop::{StepLoop, StepParts};
use super::worker::Worker;
use crate::scheduler::{BoundaryTokens, Scheduler};
use crate::telemetry::{EngineMetrics, in_model_span};

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    /// The door for requests.
    pub handle: EngineHandle,
    thread: JoinHandle<()>,
    ended: oneshot::Receiver<Infallible>,
}

/// Settings of an engine, beside its executor.
#[derive(Debug)]
pub struct EngineSettings {
    /// How much the engine takes and holds at once.
    pub limits: EngineLimits,
    /// Start and end tokens of the model.
    pub tokens: BoundaryTokens,
    /// Where to count.
    pub metrics: Arc<EngineMetrics>,
}

impl Engine {
    /// Starts the thread. `executor` must have room for what `settings` allow.
    ///
    /// # Errors
    /// When the system gives no thread.
    ///
    /// # Panics
    /// When the executor's pages have other pieces than `settings` say.
    pub fn start(executor: Box<dyn Executor>, settings: EngineSettings) -> std::io::Result<Self> {
        let EngineSettings { limits, tokens, metrics } = settings;
        let (dealt, read) = (limits.steps.pool.pieces, executor.page_pieces());
        assert_eq!(dealt, read, "the scheduler deals out the pieces that pages have");
        let (sender, commands) = channel();
        let handle = EngineHandle::new(sender, limits);
        let (open, model) = (OpenRequests::new(&metrics.model, handle.slots()), metrics.model.clone());
        let parts = StepParts { scheduler: Scheduler::new(limits.steps, tokens), executor, queue: handle.slots() };
        let steps = StepLoop::new(parts, limits.masks, metrics);
        let worker = Worker::new(&handle, commands, steps, open);
        let (alive, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("engine".into()).spawn(move || {
            let _held_to_the_end = alive;
            in_model_span(&model, || worker.run_or_abort());
        })?;
        Ok(Self { handle, thread, ended })
    }

    /// Returns when the engine's thread has ended, for whatever reason.
    pub async fn ended(&mut self) {
        // Nothing is ever sent: the thread drops the sender when it ends.
        let _ = (&mut self.ended).await;
    }

    /// Waits until the engine has finished the requests it had at [`EngineHandle::drain`].
    pub fn join(self) {
        // A thread that panicked has ended the process.
        let _ = self.thread.join();
    }
}
