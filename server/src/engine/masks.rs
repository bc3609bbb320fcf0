//! Threads that find the masks of constrained rows beside a step.
//!
//! Used by the step loop: asked when a plan is made, waited for before anything is drawn. There are no threads until
//! the first request with a constraint comes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};

use kernels::DrawRules;

use crate::scheduler::MaskAsk;

/// Threads, and what they were asked for.
pub(super) struct MaskThreads {
    threads: usize,
    pool: Option<rayon::ThreadPool>,
    found: (Sender<Found>, Receiver<Found>),
    waiting: usize,
    /// Lists of words that no mask needs now.
    spare: Vec<Vec<u32>>,
}

/// A mask that was found.
struct Found {
    ask: MaskAsk,
    words: Vec<u32>,
}

impl MaskThreads {
    /// No masks were asked for yet.
    pub fn new(threads: usize) -> Self {
        Self { threads, pool: None, found: channel(), waiting: 0, spare: Vec::new() }
    }

    /// Begins to find the masks of a plan.
    pub fn start(&mut self, asked: &[MaskAsk]) {
        for ask in asked {
            let (ask, mut words) = (ask.clone(), self.spare.pop().unwrap_or_default());
            let found = self.found.0.clone();
            let find = move || {
                // The library catches its own panics; one more would end the process with everybody's requests.
                let outcome = catch_unwind(AssertUnwindSafe(|| ask.find(&mut words)));
                match outcome {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!(%error, "a request with a constraint cannot go on"),
                    Err(_) => words.fill(0),
                }
                // The step loop waits for it, unless its thread is gone.
                let _ = found.send(Found { ask, words });
            };
            match self.pool() {
                Some(pool) => pool.spawn(find),
                None => find(),
            }
        }
        self.waiting = asked.len();
    }

    /// Waits for the masks that were asked for, and gives them to their rules.
    pub fn finish(&mut self, rules: &mut DrawRules) {
        for _ in 0..std::mem::take(&mut self.waiting) {
            let Ok(Found { ask, words }) = self.found.1.recv() else { return };
            ask.settle(&words, rules);
            self.spare.push(words);
        }
    }

    /// The threads; without any, masks are found on the engine's own.
    fn pool(&mut self) -> Option<&rayon::ThreadPool> {
        if self.pool.is_none() {
            let builder = rayon::ThreadPoolBuilder::new().num_threads(self.threads);
            match builder.thread_name(|index| format!("mask-{index}")).build() {
                Ok(pool) => self.pool = Some(pool),
                Err(error) => tracing::warn!(%error, "there are no threads for masks"),
            }
        }
        self.pool.as_ref()
    }
}
