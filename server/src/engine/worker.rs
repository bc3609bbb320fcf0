//! The engine thread: takes commands, runs steps, delivers messages, and sleeps when there is nothing to do.
//!
//! If the thread panics the process ends: without it no request would ever be answered again.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use super::encoding::EncodeSubmission;
use super::generation::{Command, Submission};
use super::handle::EngineHandle;
use super::heartbeat::Heartbeat;
use super::messages::News;
use super::open_requests::{OpenRequests, Reply};
use super::slots::QueueSlots;
use super::step_loop::StepLoop;
use crate::process::log;
use crate::request::{FailureKind, RequestId};

/// A permit that is dropped unused sends no message, so draining polls.
const DRAIN_POLL: Duration = Duration::from_millis(5);
/// Time between two heartbeats of an idle engine.
const IDLE_BEAT: Duration = Duration::from_millis(250);
/// Time for the log to be written before a process that cannot go on ends.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// State of the engine thread.
pub(super) struct Worker {
    steps: StepLoop,
    commands: Receiver<Command>,
    slots: QueueSlots,
    open: OpenRequests,
    heartbeat: Heartbeat,
    draining: bool,
}

impl Worker {
    /// A worker for `handle`, whose commands arrive on `commands`.
    pub fn new(handle: &EngineHandle, commands: Receiver<Command>, mut steps: StepLoop, open: OpenRequests) -> Self {
        steps.report();
        let (slots, heartbeat) = (handle.slots(), handle.heartbeat());
        Self { steps, commands, slots, open, heartbeat, draining: false }
    }

    /// Runs until the engine is drained. A panic aborts the process.
    pub fn run_or_abort(self) {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run()));
        if outcome.is_err() {
            tracing::error!("the engine thread panicked: no request can be answered any more");
            // Nothing may keep the process from its end, least of all a log that cannot be written.
            log::flush(LAST_WORDS);
            std::process::abort();
        }
    }

    fn run(mut self) {
        while self.listen() {
            self.steps.run();
            for message in self.steps.take_messages() {
                self.open.deliver(message.request, message.news);
            }
        }
        self.steps.check_pages();
    }

    /// Takes all commands; sleeps until the next one when idle. Returns false when the engine is to end.
    fn listen(&mut self) -> bool {
        loop {
            self.heartbeat.beat();
            if self.steps.is_idle() {
                // The check walks all pages; it delays no request while the engine is idle.
                self.steps.check_pages();
                if self.draining && self.slots.close() {
                    return false;
                }
                match self.wait() {
                    Ok(command) => self.obey(command),
                    // Overload is over after a while, whether or not anybody comes.
                    Err(RecvTimeoutError::Timeout) => self.steps.report(),
                    // No handle is left, so no request can come any more.
                    Err(RecvTimeoutError::Disconnected) => return false,
                }
                continue;
            }
            match self.commands.try_recv() {
                Ok(command) => self.obey(command),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn wait(&self) -> Result<Command, RecvTimeoutError> {
        self.commands.recv_timeout(if self.draining { DRAIN_POLL } else { IDLE_BEAT })
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Submit(submission) => self.submit(submission),
            Command::Encode(submission) => self.encode(submission),
            Command::Cancel { id, choice } => self.cancel(id, choice),
            Command::Drain => self.draining = true,
        }
        self.steps.report();
    }

    fn submit(&mut self, submission: Submission) {
        let Submission { id, request, events, slot, span } = submission;
        let caller = slot.caller().clone();
        self.open.insert(id, &request, slot, Reply { events, span });
        if let Err(refusal) = self.steps.submit(id, &caller, request) {
            self.open.deliver(id, News::Failed { message: refusal.to_string(), kind: FailureKind::Lasting });
        }
    }

    fn encode(&mut self, submission: EncodeSubmission) {
        let EncodeSubmission { id, request, events, slot, span } = submission;
        let caller = slot.caller().clone();
        self.open.insert_encoding(id, slot, Reply { events, span });
        self.steps.submit_encoding(id, &caller, request);
    }

    fn cancel(&mut self, id: RequestId, choice: Option<u32>) {
        if self.open.cancel(id, choice) {
            self.steps.cancel(id, choice);
        }
    }
}
