//! The event streams of a request's prompts, read as one.
//!
//! Used by `answer`. Dropping it cancels whatever still runs.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use crate::engine::Generation;
use crate::request::{FinishReason, GenerationEvent};

/// One stream per prompt; closed ones are empty places.
#[derive(Debug)]
pub struct Generations {
    streams: Vec<Option<Stream>>,
    /// Where the next look begins, so that a busy stream does not hide the others.
    first: usize,
}

#[derive(Debug)]
struct Stream {
    generation: Generation,
    /// An event that was looked at and is still to be told.
    ahead: Option<GenerationEvent>,
}

/// An event of a prompt.
#[derive(Debug)]
pub struct PromptEvent {
    /// Index of the prompt.
    pub prompt: usize,
    /// The engine's event; `None` when the engine is gone.
    pub event: Option<GenerationEvent>,
}

impl Generations {
    /// Reads these streams, in the order of the prompts.
    pub fn new(streams: Vec<Generation>) -> Self {
        let stream = |generation| Some(Stream { generation, ahead: None });
        Self { streams: streams.into_iter().map(stream).collect(), first: 0 }
    }

    /// The next event of any open stream; `None` when all are closed. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<PromptEvent> {
        poll_fn(|context| self.poll(context)).await
    }

    /// Returns when there is an event, which [`Self::next`] then gives, or none is to come.
    pub async fn arrived(&mut self) {
        poll_fn(|context| match self.poll(context) {
            Poll::Ready(Some(PromptEvent { prompt, event })) => {
                if let Some(stream) = &mut self.streams[prompt] {
                    stream.ahead = event;
                }
                Poll::Ready(())
            }
            Poll::Ready(None) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        })
        .await;
    }

    /// Why a choice ended, when its end is the next event of its prompt and there already.
    pub fn take_finish(&mut self, prompt: usize, ended: u32) -> Option<FinishReason> {
        let stream = self.streams[prompt].as_mut()?;
        match stream.ahead.take().or_else(|| stream.generation.try_next())? {
            GenerationEvent::Finished { choice, reason } if choice == ended => Some(reason),
            other => {
                stream.ahead = Some(other);
                None
            }
        }
    }

    /// Reads this stream no further; what still runs of it is cancelled.
    pub fn close(&mut self, prompt: usize) {
        self.streams[prompt] = None;
    }

    /// Ends one choice of a prompt.
    pub fn cancel_choice(&self, prompt: usize, choice: u32) {
        if let Some(stream) = &self.streams[prompt] {
            stream.generation.cancel_choice(choice);
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<PromptEvent>> {
        let count = self.streams.len();
        let mut any_open = false;
        for prompt in (0..count).map(|offset| (self.first + offset) % count) {
            let Some(stream) = &mut self.streams[prompt] else { continue };
            any_open = true;
            let next = match stream.ahead.take() {
                Some(event) => Poll::Ready(Some(event)),
                None => pin!(stream.generation.next()).poll(context),
            };
            if let Poll::Ready(event) = next {
                self.first = prompt + 1;
                return Poll::Ready(Some(PromptEvent { prompt, event }));
            }
        }
        if any_open { Poll::Pending } else { Poll::Ready(None) }
    }
}
