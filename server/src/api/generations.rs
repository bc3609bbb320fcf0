//! The event streams of a request's prompts, read as one.
//!
//! Used by `completion`. Dropping it cancels whatever still runs.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use crate::engine::{Generation, GenerationEvent};

/// One stream per prompt; closed ones are empty places.
#[derive(Debug)]
pub struct Generations {
    streams: Vec<Option<Generation>>,
    /// Where the next look begins, so that a busy stream does not hide the others.
    first: usize,
}

/// Something happened to a prompt.
#[derive(Debug)]
pub struct PromptEvent {
    /// Index of the prompt.
    pub prompt: usize,
    /// What the engine says; nothing when it is gone.
    pub event: Option<GenerationEvent>,
}

impl Generations {
    /// In the order of the prompts.
    pub fn new(streams: Vec<Generation>) -> Self {
        Self { streams: streams.into_iter().map(Some).collect(), first: 0 }
    }

    /// The next event of any open stream; `None` when all are closed. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<PromptEvent> {
        poll_fn(|context| self.poll(context)).await
    }

    /// Reads this stream no further; what still runs of it is cancelled.
    pub fn close(&mut self, prompt: usize) {
        self.streams[prompt] = None;
    }

    /// Ends one choice of a prompt.
    pub fn cancel_choice(&self, prompt: usize, choice: u32) {
        if let Some(stream) = &self.streams[prompt] {
            stream.cancel_choice(choice);
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<PromptEvent>> {
        let count = self.streams.len();
        let mut any_open = false;
        for prompt in (0..count).map(|offset| (self.first + offset) % count) {
            let Some(stream) = &mut self.streams[prompt] else { continue };
            any_open = true;
            if let Poll::Ready(event) = pin!(stream.next()).poll(context) {
                self.first = prompt + 1;
                return Poll::Ready(Some(PromptEvent { prompt, event }));
            }
        }
        if any_open { Poll::Pending } else { Poll::Ready(None) }
    }
}
